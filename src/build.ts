/** Builds a stage for a peer that is to hold it: sessions, state from donors, and for the ends the text. */
import type { HoldQuestion } from '../protocols/step.ts'
import type { AnyStage } from '../stages/stage.ts'
import { type Gathered, gatherStage } from './gather.ts'
import { Holding, type HoldingOptions } from './holding.ts'
import type { Data } from './work.ts'

export interface BuildOptions
  extends Pick<HoldingOptions, 'run' | 'network' | 'clock' | 'ownId' | 'peerOf' | 'onTrouble'> {
  createStage(stage: number): Promise<AnyStage>
  loadData(): Promise<Data>
  readonly signal: AbortSignal
}

const IDLE_DATA: Data = {
  training: () => {
    throw new Error('only the driver reads tokens')
  },
  heldOut: () => {
    throw new Error('only the driver reads tokens')
  },
}

export async function build(
  question: HoldQuestion,
  { createStage, loadData, signal, ...options }: BuildOptions,
): Promise<{ holding: Holding; gathered: Gathered }> {
  const stage = await createStage(question.stage)
  try {
    signal.throwIfAborted()
    const { network, run } = options
    const settings = run.recovery
    const gathered = await gatherStage({ network, stage, question, settings, signal })
    const data = stage.kind === 'ends' ? await loadData() : IDLE_DATA
    signal.throwIfAborted()
    const { learningRateScale, norm, updates } = gathered
    const state = { learningRateScale, norm, updates }
    const stageIndex = question.stage
    return { holding: new Holding({ ...options, ...state, stage, stageIndex, data }), gathered }
  } catch (error) {
    await stage.close()
    throw error
  }
}
