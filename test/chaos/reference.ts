/** The losses of the same training in one undisturbed process. */
import { createSingleProcess } from '../../bench/single-process.ts'
import { splitText } from '../../src/data/corpus.ts'
import type { Run } from '../../src/run/run.ts'
import { sampleText } from '../fixtures/text.ts'

/** Losses of steps 1 to `steps`. */
export async function undisturbed(run: Run, steps: number): Promise<number[]> {
  const single = await createSingleProcess(run, splitText(run, Buffer.from(sampleText())), 1)
  const losses: number[] = []
  for (let step = 1; step <= steps; step++) losses.push(await single.step(step))
  await single.close()
  return losses
}
