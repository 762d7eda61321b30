/** A small state on a disk whose content follows from a formula, so that any process knows the expected content. */
import { KEPT } from '../../../protocols/copies.ts'
import { bytesOf } from '../../../protocols/weights.ts'
import type { StageDisk } from '../../../src/checkpoint/stage-disk.ts'
import type { SavedState } from '../../../src/checkpoint/state-file.ts'

const ELEMENTS = 5_000

export function stateOf(step: number, overrides: Partial<SavedState> = {}): SavedState {
  const name = { strategy: KEPT, stage: 2, step, shard: 0, run: 'a'.repeat(64) }
  const facts = { norm: step / 3, updates: step, learningRateScale: 1.1 }
  return { ...name, loss: 1 / step, ...facts, ...overrides }
}

/** Weights and moments of the state after `step`. */
export function partsOf(step: number): Uint8Array[] {
  return [0, 1, 2].map((part) =>
    bytesOf(Float32Array.from({ length: ELEMENTS }, (_, i) => step + part / 8 + i / 65_536)),
  )
}

/** Tells whether the disk has the state of `step`, bit for bit. */
export async function holdsState(disk: StageDisk, step: number): Promise<boolean> {
  const holding = disk.holdings.find((each) => each.step === step)
  if (holding === undefined) return false
  const expected = Buffer.concat(partsOf(step))
  const { answer, body } = await disk.read(holding, 0, expected.length)
  return expected.equals(body) && answer.updates === step
}
