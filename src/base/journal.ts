/**
 * The one record of a run: an append-only list of events, one JSON object a line, the same in a real node and in a
 * simulated one. Tables, reports and the demo's figures are made from it and from nothing else.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import type { Roster } from '../../protocols/membership.ts'
import type { Donor } from '../../protocols/step.ts'
import { InputError, systemCode } from './errors.ts'

/** Why a row of the recovery policy was passed over. */
export interface Skipped {
  readonly strategy: string
  readonly reason: string
}

type Event =
  | { type: 'started'; run: string; pid: number; addresses: readonly string[] }
  | { type: 'notice'; message: string }
  | { type: 'founded' }
  | { type: 'joined'; coordinator: string }
  /** Another takes over the coordination. */
  | { type: 'elected'; coordinator: string; reason: string }
  /** Not in the roster any more: joins again. */
  | { type: 'dropped'; reason: string }
  | { type: 'roster'; roster: Roster; reason: string }
  | { type: 'waiting'; stages: readonly number[]; reason: string }
  | { type: 'lost'; lost: string; stage: number | null; reason: string }
  | {
      type: 'held'
      stage: number
      /** The peer that now holds it. */
      by: string
      /**
       * `lost`: it had a holder before. `empty`: it never had. `replica`: it has others. `rollback`: its holder has given it
       * up, since all go back to a checkpoint.
       */
      cause: 'lost' | 'empty' | 'replica' | 'rollback'
      strategy: string
      donors: readonly Donor[]
      /** Gradient norm of each donor, as it weighed in. */
      norms: readonly number[]
      skipped: readonly Skipped[]
      bytes: number
      seconds: number
      /** From noticing the loss until the stage was held again. */
      secondsSinceLoss: number | null
      learningRateScale: number
      /** The committed step that the weights are of: earlier than the last one for one that comes from a copy. */
      ofStep: number
      lossBefore: number | null
    }
  | {
      type: 'step'
      step: number
      epoch: number
      /** Mean training loss of the step's microbatches, nats a token. */
      loss: number
      learningRate: number
      tokens: number
      seconds: number
      /** Microbatches that each stage counted, from stage 0 on. */
      counted: readonly number[]
      /** Gradient norm of each stage before clipping, from stage 0 on. */
      norms: readonly number[]
      busySeconds: readonly number[]
      peers: number
    }
  /** A holder had its stage's state kept by others. */
  | {
      type: 'copied'
      /** What for. */
      strategy: string
      stage: number
      step: number
      to: readonly string[]
      /** Members that did not take it. */
      failed: number
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
  /** A step is complete in the store of checkpoints. */
  | {
      type: 'checkpoint'
      step: number
      /** Of all holders. */
      bytes: number
      /** From its commit until it was complete. */
      seconds: number
      /** For which the holder that it cost most could not go on. */
      stalledSeconds: number
    }
  /** The swarm goes back: the steps from the one after `step` to `from` are given up, and will be made again. */
  | {
      type: 'rollback'
      step: number
      from: number
      /** Without a holder; all others are filled anew, too. */
      stages: readonly number[]
      lossBefore: number | null
      /** To find a checkpoint, and to hold it to its digests. */
      seconds: number
    }
  /**
   * The run ends for this peer, and goes on as another with fewer body stages, from the checkpoint of `step`: the steps from
   * the one after it to `committed` are given up.
   */
  | {
      type: 'resharded'
      run: { from: string; to: string }
      stages: { from: number; to: number }
      step: number
      /** Null for a newcomer, which was told of it. */
      committed: number | null
      reason: string
    }
  | { type: 'evaluation'; step: number; loss: number }
  /** A holder was lost in the middle of a step that goes on: its microbatches are driven again. */
  | { type: 'amended'; step: number; epoch: number; driven: readonly number[]; reason: string }
  | { type: 'aborted'; step: number; epoch: number; code: string; reason: string }
  | { type: 'refused'; from: string; protocol: string; code: string; reason: string }
  | { type: 'saved'; stage: number; path: string }
  /** `left`: it was told to go, and its stage is in other hands. */
  | { type: 'finished'; committed: number; failure: string | null; left?: boolean }

export type Entry = Event & {
  /** Milliseconds of the node's clock. */
  at: number
  peer: string
}

export interface Journal {
  write(event: Event): void
}

/** Gives each event its time and peer, and hands it to every sink in turn. */
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

/** A sink that appends to a JSON Lines file. Each event is one write, so a killed process loses none before it. */
export function openJournalFile(path: string): { sink: (entry: Entry) => void; close(): void } {
  let file: number
  try {
    file = openSync(path, 'a')
  } catch (error) {
    throw new InputError(
      `The journal ${path} cannot be written (${systemCode(error)}). Mend it, or choose another --data-dir.`,
    )
  }
  return {
    sink: (entry) => {
      writeSync(file, `${JSON.stringify(entry)}\n`)
    },
    close: () => closeSync(file),
  }
}
