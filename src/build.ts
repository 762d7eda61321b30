/** Builds a stage for a peer that is to hold it: sessions, state from donors, and for the ends the text. */
import type { PeerId } from '../protocols/network.ts'
import type { HoldQuestion } from '../protocols/step.ts'
import type { AnyStage } from '../stages/stage.ts'
import { restoreStage } from './checkpoint/restore.ts'
import type { Store } from './checkpoint/store.ts'
import { type Gathered, gatherStage } from './gather.ts'
import { Holding, type HoldingOptions } from './holding.ts'
import { Learner } from './learner.ts'
import type { Data } from './work.ts'

export interface BuildOptions
  extends Pick<
    HoldingOptions,
    'run' | 'runId' | 'network' | 'clock' | 'ownId' | 'peerOf' | 'onTrouble'
  > {
  createStage(stage: number): Promise<AnyStage>
  loadData(donors: () => readonly PeerId[]): Promise<Data>
  /** The members of the run, of whom any may have what is needed of the data. */
  donors(): readonly PeerId[]
  readonly signal: AbortSignal
  readonly checkpoints?: Store | null
}

const IDLE_DATA: Data = {
  training: () => {
    throw new Error('only the driver reads tokens')
  },
  heldOut: () => {
    throw new Error('only the driver reads tokens')
  },
}

/** With the state that a strategy makes. */
export function build(
  question: HoldQuestion,
  options: BuildOptions,
): Promise<{ holding: Holding; gathered: Gathered }> {
  const { network, run, signal } = options
  return withStage(question.stage, options, async (stage, data) => {
    const gathered =
      question.strategy === 'checkpoint'
        ? await restoreStage(options, stage, question.step)
        : await gatherStage({ network, stage, question, run, signal })
    signal.throwIfAborted()
    const { learningRateScale, norm, updates } = gathered
    const state = { learningRateScale, norm, updates }
    const stageIndex = question.stage
    return { holding: new Holding({ ...options, ...state, stage, stageIndex, data }), gathered }
  })
}

/** With its initial weights, for one that will fetch the state while others go on. */
export function buildLearner(index: number, options: BuildOptions): Promise<Learner> {
  return withStage(index, options, async (stage, data) => {
    return new Learner({ ...options, stage, stageIndex: index, data })
  })
}

async function withStage<T>(
  index: number,
  { createStage, loadData, donors, signal }: BuildOptions,
  use: (stage: AnyStage, data: Data) => Promise<T>,
): Promise<T> {
  const stage = await createStage(index)
  try {
    signal.throwIfAborted()
    const data = stage.kind === 'ends' ? await loadData(donors) : IDLE_DATA
    signal.throwIfAborted()
    return await use(stage, data)
  } catch (error) {
    await stage.close()
    throw error
  }
}
