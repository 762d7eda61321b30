/**
 * The invariants I1 to I9 of the design. Each invariant has a state machine of its own. The machine checks what peers
 * send, write and compute. No check calls the node's code to decide what is right. I2 and I3 are about one history of
 * epochs, so each incarnation of the run has its own machines (`HISTORY_INVARIANTS`).
 */
import { type Change, propose } from '../../protocols/agreement.ts'
import { KEPT } from '../../protocols/copies.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { type Ballot, heartbeat, type Member, type Roster } from '../../protocols/membership.ts'
import type { Json, PeerId } from '../../protocols/network.ts'
import type { Entry } from '../../src/base/journal.ts'
import type { Finished } from '../../src/membership/member-events.ts'
import type { Run } from '../../src/run/run.ts'
import { initialWeights, sumsOf, updatedWeights } from '../world/cost-stage.ts'
import type { Served } from './tap.ts'

/** Reports that an invariant is broken, and how. */
type Violate = (what: string) => void

/** An update that a peer has made. */
interface Updated {
  readonly peer: PeerId
  readonly stage: number
  readonly before: readonly number[]
  readonly sums: readonly number[]
  /** True for an agreed commit without an update: sound holders could not compute the step's data. */
  readonly isSkipped: boolean
}

export interface Checker {
  served?(served: Served): void
  /** A peer knows this roster. */
  roster?(peer: PeerId, roster: Roster): void
  updated?(update: Updated): void
  /** Called with the weights of a stage that a peer has just taken. */
  built?(peer: PeerId, stage: number, strategy: string, weights: readonly number[]): void
  /** Called with the weights that a peer held when its run ended. */
  kept?(peer: PeerId, stage: number, weights: readonly number[], finished: Finished): void
  read?(peer: PeerId, step: number, index: number): void
  wrote?(entry: Entry): void
  end?(entries: readonly Entry[], committed: number): void
}

type Invariant = (run: Run, violate: Violate) => Checker

/** What an incarnation takes over from the one before: the weights that are known, and the step that each peer is at. */
interface Weights {
  readonly made: Map<string, (readonly number[])[]>
  readonly rebuilt: Map<string, (readonly number[])[]>
  readonly committed: Map<PeerId, number>
}

/** A checker of one incarnation's history. It begins where the history of the incarnation before was left. */
type HistoryChecker = (
  run: Run,
  violate: Violate,
  before: {
    /** Step after which the incarnation begins. */
    readonly step: number
    readonly weights: Weights | null
    readonly steps: ReadonlySet<number> | null
  },
) => Checker & { readonly weights?: Weights; readonly decided?: ReadonlySet<number> }

/** Strategies that restore a stage exactly as it is after the last step. */
const EXACT: ReadonlySet<string> = new Set(['replica', 'redundant', 'seed', 'checkpoint'])

export const INVARIANTS = {
  /** Exactly once: each update is made of every microbatch of its step, once. A skipped step has none of them. */
  I1: ({ microbatches }, violate) => ({
    updated({ peer, stage, sums, isSkipped }) {
      if (isSkipped && sums.every((sum) => sum === 0)) return
      const step = sums[1]! / sums[0]!
      const expected = sumsOf(step, Array(microbatches).keys())
      if (same(sums, expected)) return
      violate(`${peer} updates stage ${stage} with sums ${sums}; step ${step} has ${expected}`)
    },
  }),

  /** Bounds: a peer's inbox has a limit, and no message is too large to be sent. */
  I5: ({ microbatches, evaluation }, violate) => {
    const most = 6 * Math.max(microbatches, evaluation.microbatches) + 1
    return {
      served({ protocol, peer, outcome }) {
        if (protocol !== heartbeat.protocol || !('answer' in outcome)) return
        const { queuedWork } = heartbeat.answer.parse(outcome.answer)
        if (queuedWork > most) violate(`${queuedWork} microbatches wait at ${peer}`)
      },
      wrote(entry) {
        if (entry.type === 'refused' && entry.code === 'TOO_LARGE') violate(entry.reason)
      },
    }
  },

  /** Data: the tokens of a step are a function of the step, and their number is constant. */
  I7: ({ steps, microbatches, microbatch }, violate) => {
    const tokens = microbatches * microbatch.batch * microbatch.context
    return {
      read(peer, step, index) {
        if (step >= 1 && step <= steps && index >= 0 && index < microbatches) return
        violate(`${peer} reads microbatch ${index} of step ${step}`)
      },
      wrote(entry) {
        if (entry.type !== 'step' || entry.tokens === tokens) return
        violate(`step ${entry.step} has ${entry.tokens} tokens, not ${tokens}`)
      },
    }
  },

  /** Nothing unchecked: a peer that rejects a message answers with a code, and writes a journal entry. */
  I8: (_, violate) => {
    const unwritten = new Map<string, number>()
    const count = (key: string, by: number) => unwritten.set(key, (unwritten.get(key) ?? 0) + by)
    return {
      served({ peer, from, protocol, outcome }) {
        if (!('error' in outcome)) return
        const { error } = outcome
        if (!(error instanceof ProtocolError)) {
          violate(`${peer} fails on ${protocol} with ${(error as Error).stack ?? error}`)
        } else if (error.definite) {
          const key = `${peer} ${from} ${protocol} ${error.code}`
          count(key, -1)
          if (unwritten.get(key)! < 0) violate(`not in the journal: ${key} ${error.message}`)
        }
      },
      wrote(entry) {
        if (entry.type !== 'refused') return
        const { peer, from, protocol, code } = entry
        count(`${peer} ${from} ${protocol} ${code}`, 1)
      },
    }
  },

  /** One record: every entry can be read again, and every decided step has one entry. */
  I9: (_, violate) => {
    const decided = new Set<number>()
    return {
      roster: (_, { committed }) => decided.add(committed),
      wrote(entry) {
        const text = JSON.stringify(entry)
        if (canonical(JSON.parse(text)) !== canonical(entry as unknown as Json)) {
          violate(`does not survive being written: ${text}`)
        }
      },
      end(entries) {
        const written = new Set(
          entries.flatMap((entry) => (entry.type === 'committed' ? entry.step : [])),
        )
        for (const step of decided) {
          if (step > 0 && !written.has(step)) violate(`no journal has step ${step}`)
        }
      },
    }
  },
} satisfies Record<string, Invariant>

/** The invariants of one history of epochs. */
export const HISTORY_INVARIANTS = {
  /**
   * Same bits: the weights of a stage's holders follow from its first weights and the sequence of steps. A rollback to a
   * checkpoint gives steps up. A step that was given up may have another result the next time, if a stage was rebuilt in
   * between.
   */
  I2: (run, violate, { step: first, weights }) => {
    /** Weights by stage and step: after the step, or as rebuilt before any holder made a step of them. */
    const made = new Map(weights && upTo(first, weights.made))
    const rebuilt = new Map(weights && upTo(first, weights.rebuilt))
    const committed = new Map(weights?.committed)
    /** Steps that were given up. Such a step may have two results. */
    const givenUp = new Set<number>()
    for (let stage = 0; weights === null && stage <= run.stages; stage++) {
      made.set(`${stage}/0`, [initialWeights(stage)])
    }
    const isIn = (among: readonly (readonly number[])[] = [], weights: readonly number[]) =>
      among.some((each) => same(each, weights))
    const known = (stage: number, step: number, weights: readonly number[]) => {
      const key = `${stage}/${step}`
      return isIn(made.get(key), weights) || isIn(rebuilt.get(key), weights)
    }
    return {
      weights: { made, rebuilt, committed },
      roster(peer, roster) {
        for (let step = committed.get(peer) ?? 0; step > roster.committed; step--) {
          givenUp.add(step)
        }
        committed.set(peer, roster.committed)
      },
      updated({ peer, stage, before, sums, isSkipped }) {
        const step = isSkipped ? (committed.get(peer) ?? 0) + 1 : sums[1]! / sums[0]!
        if (!known(stage, step - 1, before)) {
          violate(`${peer} makes step ${step} of other weights of stage ${stage}: ${before}`)
        }
        const after = [...updatedWeights(before, sums)]
        const key = `${stage}/${step}`
        const others = made.get(key) ?? []
        if (isIn(others, after)) return
        made.set(key, [...others, after])
        if (others.length > 0 && !givenUp.has(step)) {
          violate(`after step ${step} ${peer} has ${after} for stage ${stage}, others ${others[0]}`)
        }
      },
      built(peer, stage, strategy, weights) {
        const step = committed.get(peer) ?? 0
        if (
          strategy === KEPT &&
          !isIn(
            upTo(step, made).flatMap(([, each]) => each),
            weights,
          )
        ) {
          violate(`${peer} takes stage ${stage} from a disk as it never was: ${weights}`)
        }
        if (!EXACT.has(strategy)) {
          const key = `${stage}/${step}`
          rebuilt.set(key, [...(rebuilt.get(key) ?? []), weights])
        } else if (!known(stage, step, weights)) {
          violate(`${peer} takes stage ${stage} after step ${step} with other weights: ${weights}`)
        }
      },
      kept(peer, stage, weights, finished) {
        if (known(stage, finished.committed, weights)) return
        violate(`${peer} ends after step ${finished.committed} with ${weights} for stage ${stage}`)
      },
    }
  },

  /**
   * No fork: each epoch has one roster, and each step has one outcome. A quorum of the previous roster's voters accepts the
   * roster under a ballot of the proposer. Steps follow each other, or all members go back to a checkpoint. Long
   * because both callbacks share its tables of rosters and ballots.
   */
  I3: (_, violate, { steps: earlier }) => {
    const rosters = new Map<number, { readonly text: string; readonly roster: Roster }>()
    const steps = new Map<number, string>()
    /** Committed steps of this incarnation, and of those before it. */
    const decided = new Set(earlier)
    /** Accepted changes by epoch and ballot, with the peers that accepted them. */
    const accepted = new Map<
      string,
      Map<string, { ballot: Ballot; change: string; by: Set<PeerId> }>
    >()
    const chosen = ({ epoch }: Roster): boolean => {
      const before = rosters.get(epoch - 1)?.roster
      if (before === undefined) return true
      for (const { by } of accepted.get(`${epoch}`)?.values() ?? []) {
        const voters = votersOf(before)
        const present = voters.filter(({ peer }) => by.has(peer))
        if (2 * present.length > voters.length) return true
        const half = 2 * present.length === voters.length
        if (half && present.some(({ id }) => id === before.coordinator)) return true
      }
      return false
    }
    return {
      decided,
      served({ protocol, peer, from, question, outcome }) {
        if (protocol !== propose.protocol || !('answer' in outcome)) return
        const { epoch, ballot, change } = question as {
          epoch: number
          ballot: Ballot
          change: Change
        }
        const owner = rosters.get(epoch - 1)?.roster.members.find(({ id }) => id === ballot.id)
        if (owner !== undefined && owner.peer !== from) {
          violate(`${from} proposes epoch ${epoch} under a ballot of ${owner.peer}`)
        }
        if (!(outcome.answer as { accepted: boolean }).accepted) return
        const text = canonical(change as Json)
        const key = `${ballot.round}/${ballot.id}`
        const ballots = accepted.get(`${epoch}`) ?? new Map()
        accepted.set(`${epoch}`, ballots)
        const known = ballots.get(key) ?? { ballot, change: text, by: new Set<PeerId>() }
        ballots.set(key, known)
        if (known.change !== text) {
          violate(`two changes for epoch ${epoch} under ballot ${key}: ${known.change} and ${text}`)
        }
        known.by.add(peer)
      },
      roster(peer, roster) {
        const known = rosters.get(roster.epoch)
        // Another peer had a roster of the same bytes.
        if (known?.roster === roster) return
        const text = canonical(roster as Json)
        if (known !== undefined) {
          if (known.text === text) return
          violate(`epoch ${roster.epoch} is ${text} to ${peer}, and ${known.text} to another`)
        }
        if (!chosen(roster)) {
          violate(`epoch ${roster.epoch} was not accepted by a quorum, and ${peer} knows it`)
        }
        rosters.set(roster.epoch, { text, roster })
        if (rosters.size === 1 && earlier !== null && !earlier.has(roster.committed)) {
          violate(
            `an incarnation is founded from step ${roster.committed}, which was never decided`,
          )
        }
        decided.add(roster.committed)
        const before = rosters.get(roster.epoch - 1)?.roster
        const moved = before === undefined ? 0 : roster.committed - before.committed
        if (moved > 1 || (moved < 0 && !wentBack(roster))) {
          violate(
            `epoch ${roster.epoch} goes from step ${before!.committed} to ${roster.committed}`,
          )
        }
        const { committed, learningRate, loss } = roster
        // A roster after a rollback has no loss, so the outcome of its step is not compared.
        if (loss === null && committed > 0) return
        const outcome = `learning rate ${learningRate}, loss ${loss}`
        const others = steps.get(committed)
        steps.set(committed, outcome)
        if (others === undefined || others === outcome) return
        violate(`step ${committed} is decided twice: ${outcome}, and ${others}`)
      },
    }
  },
} satisfies Record<string, HistoryChecker>

export type InvariantName = keyof typeof INVARIANTS | keyof typeof HISTORY_INVARIANTS

/**
 * The voters of a roster: its holders, the coordinator, and then other members, the longest-standing first, fewer than
 * voting holders. All members vote while there is no holder. One network has two votes, or as many as all others together,
 * or any number while no other is known. Who gets no vote for that is asked again in the next round.
 */
export function votersOf({ members, coordinator }: Roster): readonly Member[] {
  const holders = members.filter(({ stage, ready }) => stage !== null && ready)
  let most = holders.length
  const voters: Member[] = []
  const mayVote = ({ host }: Member) => {
    const same = voters.filter((voter) => voter.host === host).length
    const isAlone = voters.every((voter) => voter.host === host || voter.host === '')
    return host === '' || same < 2 || isAlone || 2 * same < voters.length
  }
  const rounds = (candidates: readonly Member[]) => {
    for (let before = -1; before < voters.length; ) {
      before = voters.length
      for (const member of candidates) {
        if (voters.length >= most || voters.includes(member) || !mayVote(member)) continue
        voters.push(member)
      }
    }
  }
  rounds(holders)
  most = holders.length === 0 ? members.length : 2 * voters.length - 1
  const first = members.find(({ id }) => id === coordinator)
  if (first !== undefined && !voters.includes(first)) voters.push(first)
  rounds(members)
  return voters
}

/**
 * True for a roster that rolled back to an earlier step. No member holds later state, and no sum of gradients continues.
 */
function wentBack({ epoch, fenceEpoch, loss, members }: Roster): boolean {
  return fenceEpoch === epoch && loss === null && members.every(({ stage }) => stage === null)
}

/** The weights after steps up to this one. Keys are stage and step. */
function upTo<T>(last: number, weights: ReadonlyMap<string, T>): [string, T][] {
  return [...weights].filter(([key]) => Number(key.split('/')[1]) <= last)
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => Object.is(value, b[i]))
}

/** JSON with sorted keys. Undefined members are left out, as in JSON. */
function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'undefined'
  const keys = Object.keys(value).filter((key) => value[key] !== undefined)
  return `{${keys
    .sort()
    .map((key) => `${key}:${canonical(value[key]!)}`)
    .join()}}`
}
