/**
 * The journal of a run: a list of events. Real and simulated nodes write the same events. Tables, reports and the demo's
 * figures are made from the journal only. `journal-file.ts` keeps the events of a real node on its disk.
 */
import type { Roster } from '../../protocols/membership.ts'
import type { Donor } from '../../protocols/step.ts'

/** A strategy of the recovery policy that could not be used, and the reason. */
export interface Skipped {
  readonly strategy: string
  readonly reason: string
}

/** An event of the journal. Times are in seconds unless the name says otherwise. */
type Event =
  | { type: 'started'; run: string; pid: number; addresses: readonly string[] }
  | { type: 'notice'; message: string }
  | { type: 'founded' }
  | { type: 'joined'; coordinator: string }
  /** Another member is the coordinator from now on. */
  | { type: 'elected'; coordinator: string; reason: string }
  /** Every process of the run had ended. The peers that came back continue it from what is on their disks. */
  | {
      type: 'returned'
      /** Id of the incarnation of the run, and of the one that it continues. */
      id: string
      ancestor: string
      /** Number of the incarnation of the run. */
      number: number
      /** Committed step from which the run continues. */
      step: number
      founder: string
      members: readonly string[]
      /** Stages that are on no disk, so that the run's policy brings them back; null at a peer that did not found. */
      missing: readonly number[] | null
      /** Peers that were in the run, and did not come back. */
      absent: readonly string[]
    }
  /** The roster does not name this peer any more. The peer joins again. */
  | { type: 'dropped'; reason: string }
  | { type: 'roster'; roster: Roster; reason: string }
  | { type: 'waiting'; stages: readonly number[]; reason: string }
  | { type: 'lost'; lost: string; stage: number | null; reason: string }
  | {
      type: 'held'
      stage: number
      /** Peer that holds the stage now. */
      by: string
      /**
       * `lost`: the stage had lost its last holder. `empty`: the stage had no holder before. `replica`: the stage has other
       * holders. `rollback`: the swarm went back to a checkpoint, so that every stage got its holder anew.
       */
      cause: 'lost' | 'empty' | 'replica' | 'rollback'
      strategy: string
      donors: readonly Donor[]
      /** Gradient norms by which the donors' weights were averaged. */
      norms: readonly number[]
      skipped: readonly Skipped[]
      bytes: number
      seconds: number
      /** Time from the detection of the loss until the stage was held again. */
      secondsSinceLoss: number | null
      learningRateScale: number
      /** Committed step of the weights. A copy has an earlier one than the last committed step. */
      ofStep: number
      lossBefore: number | null
    }
  | {
      type: 'step'
      step: number
      epoch: number
      /** Mean training loss of the step's microbatches, in nats a token. */
      loss: number
      learningRate: number
      tokens: number
      seconds: number
      /** Number of microbatches that each stage counted, from stage 0 on. */
      counted: readonly number[]
      /** Gradient norm of each stage before clipping, from stage 0 on. */
      norms: readonly number[]
      busySeconds: readonly number[]
      peers: number
    }
  /** A holder sent copies of its stage's state to other members. */
  | {
      type: 'copied'
      /** Strategy that uses the copies. */
      strategy: string
      stage: number
      step: number
      to: readonly string[]
      /** Number of members that did not accept the copy. */
      failed: number
      bytes: number
      seconds: number
    }
  /** This peer has written its stage's state, and the copies that it keeps, to its disk. */
  | {
      type: 'stored'
      /** Null for a peer without a stage. */
      stage: number | null
      step: number
      /** Bytes that were written; 0 if nothing was new. */
      bytes: number
      seconds: number
    }
  | { type: 'holding'; stage: number; strategy: string; bytes: number; seconds: number }
  | {
      type: 'committed'
      step: number
      stage: number
      loss: number
      learningRate: number
      gradientScale: number
    }
  /** A checkpoint is complete in the store. */
  | {
      type: 'checkpoint'
      step: number
      /** Bytes that all holders wrote. */
      bytes: number
      /** Time from the step's commit until the checkpoint was complete. */
      seconds: number
      /** Longest time for which a holder's training waited for the checkpoint. */
      stalledSeconds: number
    }
  /** The swarm goes back to a checkpoint. Steps `step + 1` to `from` are abandoned and made again. */
  | {
      type: 'rollback'
      step: number
      from: number
      /** Stages without a holder. Every other stage is loaded from the checkpoint, too. */
      stages: readonly number[]
      lossBefore: number | null
      /** Time to find a checkpoint and to check its digests. */
      seconds: number
    }
  /**
   * The run continues as another run with fewer body stages, from the checkpoint of `step`. Steps `step + 1` to
   * `committed` are abandoned.
   */
  | {
      type: 'resharded'
      run: { from: string; to: string }
      stages: { from: number; to: number }
      step: number
      /** Last committed step; null for a newcomer, which does not know it. */
      committed: number | null
      reason: string
    }
  /** The members that were left without a majority go on by themselves, from step `step` on. */
  | {
      type: 'incarnated'
      id: string
      /** Number of the incarnation. The run was founded in incarnation 0. */
      number: number
      /** Id of the incarnation before. */
      ancestor: string
      step: number
      founder: string
      members: readonly string[]
      /** Members of the incarnation before that are not in this one. */
      absent: readonly string[]
    }
  /** Another incarnation of the run has made more steps. This one is over, and its members enter the other. */
  | {
      type: 'superseded'
      /** Numbers of the incarnations. */
      from: number
      to: number
      /** Coordinator of the incarnation that stays. */
      coordinator: string
      /** Last committed step of the incarnation that is over. */
      committed: number
      /** Number of its steps that are lost. */
      lostSteps: number
    }
  | { type: 'evaluation'; step: number; loss: number }
  /** A holder was lost within a step, and the step continues. Its microbatches are driven again. */
  | { type: 'amended'; step: number; epoch: number; driven: readonly number[]; reason: string }
  /** A step was committed without an update, because sound holders cannot compute some of its microbatches. */
  | {
      type: 'skipped'
      step: number
      /** Indices of the microbatches; empty if only their sum is known to be at fault. */
      microbatches: readonly number[]
      /** Peers that could not compute them. */
      producers: readonly string[]
      reason: string
      /** Number of steps that were skipped since this peer coordinates. */
      total: number
    }
  | { type: 'aborted'; step: number; epoch: number; code: string; reason: string }
  /** `unwritten` is the number of refusals since the last entry that were too many to be written. */
  | {
      type: 'refused'
      from: string
      protocol: string
      code: string
      reason: string
      unwritten?: number
    }
  | { type: 'saved'; stage: number; path: string }
  /** `left` is true if the peer left before the end of the run and handed over its stage. */
  | { type: 'finished'; committed: number; failure: string | null; left?: boolean }

/** An event with its time and its author. */
export type Entry = Event & {
  /** Time of the node's clock, in milliseconds. */
  at: number
  peer: string
}

/** Writes the events of one peer. */
export interface Journal {
  write(event: Event): void
}

/** Creates a journal that adds time and peer to each event and passes the entry to every sink, in their order. */
export function createJournal(
  peer: string,
  now: () => number,
  sinks: readonly ((entry: Entry) => void)[],
): Journal {
  return {
    write(event) {
      const entry = { at: now(), peer, ...event }
      for (const sink of sinks) sink(entry)
    },
  }
}
