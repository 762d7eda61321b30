/** The verdict on a round: requirements for the journals of its processes under any faults. */
import type { Entry } from '../../src/base/journal.ts'
import type { Run } from '../../src/run/run.ts'
import type { PlannedFault } from './faults.ts'

export interface Hit {
  readonly fault: PlannedFault
  /** Last step that was committed before. */
  readonly step: number
  /** Time of the system's clock, which all processes share, in milliseconds. */
  readonly at: number
  readonly victims: readonly {
    readonly pid: number
    readonly peer: string
    readonly stage: number | null
    readonly coordinated: boolean
  }[]
}

export interface Evidence {
  readonly entries: readonly Entry[]
  readonly run: Run
  readonly hits: readonly Hit[]
  readonly exits: readonly {
    readonly pid: number
    readonly peer: string
    /** True if the last roster names the process. */
    readonly member: boolean
    readonly exit: number | NodeJS.Signals
  }[]
  /** Losses of the undisturbed run, from step 1 on. */
  readonly reference: readonly number[]
}

export interface FaultVerdict {
  readonly signal: NodeJS.Signals
  /** Time from the signal until a member reported the loss or the new coordinator; null if no member did. */
  readonly noticedMs: number | null
  /** Time from the signal until the next step was committed. */
  readonly onMs: number | null
  /** Line for the log. */
  readonly text: string
}

export interface Verdict {
  readonly faults: readonly FaultVerdict[]
  /** Largest relative difference of a loss from the undisturbed run's, in the steps before the loss of a stage. */
  readonly deviation: number
  /** Violated requirements; empty if the round passed. */
  readonly problems: readonly string[]
}

/** Largest relative difference of losses, which comes only from the order in which replicas' gradients are added. */
const LOSS_TOLERANCE = 1e-3
/** Deadline for the detection of a single killed or frozen process on loopback. */
const NOTICED_MS = { SIGKILL: 1_000, SIGSTOP: 10_000 } as const

export function judge(evidence: Evidence): Verdict {
  const faults = evidence.hits.map((hit) => faultVerdict(hit, evidence))
  const { deviation, problem } = lossesOf(evidence)
  const problems = [
    ...problem,
    ...committedOnce(evidence),
    ...endsOf(evidence),
    ...faults.flatMap(({ problems }) => problems),
  ]
  return { faults, deviation, problems }
}

/** Checks that all holders commit every step once, with the same loss, and every stage counts each microbatch once. */
function committedOnce({ entries, run, hits }: Evidence): string[] {
  const problems: string[] = []
  const losses = new Map<number, number>()
  const seen = new Set<string>()
  const stages = new Map<number, Set<number>>()
  for (const entry of entries) {
    if (entry.type !== 'committed' && entry.type !== 'step') continue
    const { step, peer, type, loss } = entry
    const known = losses.get(step) ?? loss
    losses.set(step, known)
    if (loss !== known)
      problems.push(`step ${step} has loss ${loss} at ${peer}, ${known} elsewhere`)
    const key = type === 'step' ? `${step}` : `${step} ${peer}`
    if (seen.has(key)) problems.push(`step ${step} is ${type} twice, the second time by ${peer}`)
    seen.add(key)
    if (type === 'committed') {
      stages.set(step, (stages.get(step) ?? new Set()).add(entry.stage))
    } else if (entry.counted.some((count) => count !== run.microbatches)) {
      problems.push(`step ${step} counted ${entry.counted.join()} microbatches`)
    }
  }
  for (let step = 1; step <= run.steps; step++) {
    const found = stages.get(step) ?? new Set()
    // A stage whose holders were all killed while the step was applied may not have committed it.
    const lost = hits
      .filter((hit) => hit.fault.victims === 'whole stage' && hit.step === step - 1)
      .flatMap(({ victims }) => victims.map(({ stage }) => stage))
    const missing = Array.from({ length: run.stages + 1 }, (_, stage) => stage).filter(
      (stage) => !found.has(stage) && !lost.includes(stage),
    )
    if (missing.length > 0) problems.push(`step ${step} is not committed by stages ${missing}`)
  }
  return problems
}

function lossesOf({ entries, run, hits, reference }: Evidence) {
  const lost = hits.find(({ fault }) => fault.victims === 'whole stage')
  const comparable = lost?.step ?? run.steps
  let deviation = 0
  let last = Number.POSITIVE_INFINITY
  for (const entry of entries) {
    if (entry.type !== 'committed') continue
    const { step, loss } = entry
    const expected = reference[step - 1]!
    if (step <= comparable) deviation = Math.max(deviation, Math.abs(loss - expected) / expected)
    if (step === run.steps) last = loss
  }
  const problem: string[] = []
  if (!(deviation <= LOSS_TOLERANCE)) problem.push(`a loss is ${deviation} off, relative`)
  if (!(last < reference[0]!)) problem.push(`the last loss is ${last}`)
  return { deviation, problem }
}

/** Checks that every member at the end of the run has exit code 0. */
function endsOf({ exits }: Evidence): string[] {
  return exits.flatMap(({ pid, exit, member }) =>
    exit === 0 || exit === 'SIGKILL' || !member ? [] : [`process ${pid} ended with ${exit}`],
  )
}

function faultVerdict(
  hit: Hit,
  { entries, hits }: Evidence,
): FaultVerdict & { problems: string[] } {
  const { fault, victims, at, step } = hit
  const later = entries.filter((entry) => entry.at >= at)
  const noticed = victims.map(({ peer, coordinated }) => {
    // A later loss of the same victim belongs to another fault.
    const next = hits.find((other) => other.at > at && other.step > step)
    const before = later.filter((entry) => next === undefined || entry.at < next.at)
    const sign = before.find((entry) =>
      coordinated
        ? entry.type === 'elected' && entry.coordinator !== peer
        : entry.type === 'lost' && entry.lost === peer,
    )
    return sign === undefined ? null : sign.at - at
  })
  const known = noticed.filter((ms) => ms !== null)
  const noticedMs = known.length === 0 ? null : Math.max(...known)
  const made = later.filter((entry) => entry.type === 'step').sort((a, b) => a.at - b.at)[0]
  const onMs = made === undefined ? null : made.at - at
  const who = victims.map(
    ({ pid, peer, stage, coordinated }) =>
      `${pid} (…${peer.slice(-6)}, stage ${stage ?? 'none'}${coordinated ? ', coordinator' : ''})`,
  )
  const { signal, name, moment } = fault
  const text =
    `step ${step}, ${moment}: ${name}: ${signal} ${who.join(' ')}; ` +
    `noticed after ${seconds(noticedMs)}, next step after ${seconds(onMs)}`
  const problems: string[] = []
  if (victims.length === 0) problems.push(`no process could be chosen: ${name}`)
  if (onMs === null) problems.push(`no step after: ${name}`)
  // If several processes are lost at once, the process that detects losses may be one of them.
  const alone = victims.length === 1 && hits.every((other) => other === hit || other.step !== step)
  const limit = NOTICED_MS[signal]
  const missed = fault.returns === 'missed' || fault.returns === 'never'
  if (alone && missed && !(noticedMs !== null && noticedMs < limit)) {
    problems.push(`noticed after ${seconds(noticedMs)}, not ${limit / 1000} s: ${name}`)
  }
  return { signal, noticedMs, onMs, text, problems }
}

function seconds(ms: number | null): string {
  return ms === null ? 'an unknown time' : `${(ms / 1000).toFixed(2)} s`
}
