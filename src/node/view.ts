/** The live view of a run: one line with fixed columns for each step, and a line for each event between steps. */
import type { Entry } from '../base/journal.ts'
import { shortName, withShortNames } from '../base/peer-name.ts'

type Held = Extract<Entry, { type: 'held' }>

const COLUMNS = [
  ['step', 6],
  ['loss', 9],
  ['tokens/s', 9],
  ['seconds', 8],
  ['peers', 6],
  ['epoch', 6],
  ['  stages', 0],
] as const

function row(cells: readonly (string | number)[]): string {
  return cells.map((cell, i) => String(cell).padStart(COLUMNS[i]![1])).join('')
}

const HEADER = row(COLUMNS.map(([name]) => name))

/** Turns the journal entries of one peer into lines for people. */
export class RunView {
  readonly #stageCount: number
  #stages = ''
  #coordinates = false

  /** @param stageCount number of stages, with stage 0 */
  constructor(stageCount: number) {
    this.#stageCount = stageCount
  }

  /**
   * The lines for one entry. A coordinator shows the whole swarm, any other member its own stage.
   */
  show(entry: Entry): string[] {
    return this.#linesOf(entry).map(withShortNames)
  }

  /** The method is long: it is a table with one case for each type of entry. */
  #linesOf(entry: Entry): string[] {
    switch (entry.type) {
      case 'roster': {
        const digits = Array.from({ length: this.#stageCount }, (_, stage) => {
          const holders = entry.roster.members.filter((member) => member.stage === stage).length
          if (holders === 0) return '·'
          return holders === 1 ? String(stage % 10) : `${stage % 10}(${holders})`
        })
        const spares = entry.roster.members.filter(({ stage }) => stage === null).length
        this.#stages = digits.join('') + (spares > 0 ? ` +${spares}` : '')
        return []
      }
      case 'step': {
        const { step, loss, tokens, seconds, peers, epoch } = entry
        const cells = [step, loss.toFixed(4), Math.round(tokens / seconds), seconds.toFixed(2)]
        return [row([...cells, peers, epoch, `  ${this.#stages}`])]
      }
      case 'evaluation':
        return [`${row([entry.step, entry.loss.toFixed(4)])}  on held-out text`]
      case 'lost': {
        const what = entry.stage === null ? 'a spare' : `stage ${entry.stage}`
        return [`  lost ${what} (${shortName(entry.lost)}): ${entry.reason}`]
      }
      case 'held': {
        if (entry.cause === 'replica') {
          return [`  stage ${entry.stage} held by ${shortName(entry.by)} too`]
        }
        if (entry.cause !== 'lost') return [`  stage ${entry.stage} held by ${shortName(entry.by)}`]
        const kib = Math.round(entry.bytes / 1024)
        const since = entry.secondsSinceLoss?.toFixed(2)
        return [
          ...entry.skipped.map(({ strategy, reason }) => `  not ${strategy}: ${reason}`),
          `  stage ${entry.stage} rebuilt by ${shortName(entry.by)}: ${entry.strategy}${originOf(entry)}, ${kib} KiB in ${entry.seconds.toFixed(2)} s, held again ${since} s after the loss`,
        ]
      }
      case 'checkpoint': {
        const { step, bytes, seconds } = entry
        const kib = Math.round(bytes / 1024)
        return [`  checkpoint of step ${step}: ${kib} KiB, complete after ${seconds.toFixed(2)} s`]
      }
      case 'rollback': {
        const { step, from, stages } = entry
        const lost = `stage${stages.length > 1 ? 's' : ''} ${stages.join(', ')}`
        return [`  ${lost} lost: all go back from step ${from} to the checkpoint of step ${step}`]
      }
      case 'resharded': {
        const { step, committed, stages, run, reason } = entry
        const lost = committed ?? step
        const abandoned = lost > step ? `; steps ${step + 1} to ${lost} are abandoned` : ''
        return [
          `  ${reason}: the run continues with ${stages.to} body stages in place of ${stages.from}`,
          `  as run ${run.to.slice(0, 12)}, from the checkpoint of step ${step}${abandoned}`,
        ]
      }
      case 'incarnated': {
        const { number, step, members, absent } = entry
        return [
          `  no majority came back: ${members.length} peers go on by themselves after step ${step}, as incarnation ${number} of the run`,
          `  without ${absent.map(shortName).join(', ')}`,
        ]
      }
      case 'superseded': {
        const { from, to, coordinator, lostSteps } = entry
        return [
          `  incarnation ${to} of the run, which ${shortName(coordinator)} coordinates, stays, and incarnation ${from} is over`,
          `  ${lostSteps} steps of it are lost; this peer joins the other`,
        ]
      }
      case 'returned': {
        const { members, step, missing, absent } = entry
        const others = absent.length > 0 ? `, without ${absent.map(shortName).join(', ')}` : ''
        const stages =
          missing !== null && missing.length > 0
            ? [`  stages ${missing.join(', ')} are on no disk: the policy brings them back`]
            : []
        return [
          `  ${members.length} peers came back${others}: the run continues after step ${step} from their disks`,
          ...stages,
        ]
      }
      case 'waiting':
        return entry.stages.length === 0
          ? [`  waiting: ${entry.reason}`]
          : [`  waiting for stages ${entry.stages.join(', ')}: ${entry.reason}`]
      case 'amended': {
        const { step, driven, reason } = entry
        return [`  step ${step} continues, ${driven.length} microbatches driven again: ${reason}`]
      }
      case 'elected':
        this.#coordinates = entry.coordinator === entry.peer
        return [`  ${shortName(entry.coordinator)} is the coordinator now: ${entry.reason}`]
      case 'dropped':
        this.#coordinates = false
        return [`  this peer is not in the roster any more (${entry.reason}): it joins again`]
      case 'aborted':
        return [`  step ${entry.step} starts over: ${entry.reason}`]
      case 'skipped': {
        // A notice to all has the reason.
        const { step, total } = entry
        return [`  step ${step} is skipped, the model stays as it is (${total} skipped so far)`]
      }
      case 'refused':
        // Messages of an abandoned step are frequent and harmless.
        if (entry.code === 'STALE') return []
        return [`  refused ${shortName(entry.from)}: ${entry.reason}`]
      case 'notice':
        return [`  ${entry.message}`]
      case 'finished':
        if (entry.left) return [`  left after ${entry.committed} steps without the loss of a stage`]
        return [
          entry.failure === null
            ? `  done: ${entry.committed} steps`
            : `  ended after ${entry.committed} steps: ${entry.failure}`,
        ]
      case 'founded':
        this.#coordinates = true
        return [HEADER]
      case 'joined':
        return [`  joined the run; the coordinator is ${shortName(entry.coordinator)}`, HEADER]
      case 'holding': {
        const { stage, strategy, bytes, seconds } = entry
        const kib = Math.round(bytes / 1024)
        const how = `${strategy}, ${kib} KiB fetched, ${seconds.toFixed(2)} s`
        return this.#coordinates ? [] : [`  holds stage ${stage} (${how})`]
      }
      case 'committed':
        return this.#coordinates ? [] : [row([entry.step, entry.loss.toFixed(4)])]
      case 'saved':
        return [`  stage ${entry.stage} saved as ${entry.path}`]
      case 'copied':
      case 'stored':
      case 'started':
        return []
      default:
        return entry satisfies never
    }
  }
}

/** The donors of a rebuilt stage, for people; '' if there was none. */
export function originOf({ donors, ofStep }: Pick<Held, 'donors' | 'ofStep'>): string {
  if (donors.length === 0) return ''
  if (donors.some(({ copy }) => copy != null)) return ` from its copy of step ${ofStep}`
  const stages = [...new Set(donors.map(({ stage }) => stage))]
  return ` from ${stages.length === 1 ? 'stage' : 'stages'} ${stages.join(' and ')}`
}
