/** Builds a stage for a peer that is to hold it: sessions, state from donors, and for the ends the text. */
import type { Origin } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { HoldQuestion } from '../../protocols/step.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { restoreStage } from '../checkpoint/restore.ts'
import type { Store } from '../checkpoint/store.ts'
import { checkpoint } from '../recovery/checkpoint.ts'
import { resume } from '../recovery/resume.ts'
import type { BatchSource } from '../run/batch-source.ts'
import type { RestoredState } from '../run/stage-state.ts'
import { ActiveStage, type ActiveStageOptions } from './active-stage.ts'
import { gatherStage } from './gather.ts'
import { ReplicaSync } from './replica-sync.ts'
import { loadResumed, type Resume } from './resume.ts'

export interface BuildOptions
  extends Pick<
    ActiveStageOptions,
    'run' | 'runId' | 'network' | 'clock' | 'ownId' | 'peerOf' | 'onTrouble'
  > {
  createStage(stage: number, isSecond?: boolean): Promise<AnyStage>
  loadData(donors: () => readonly PeerId[]): Promise<BatchSource>
  /** What this peer can read a checkpoint from. */
  readonly resume?: Resume | undefined
  /** The checkpoint that the swarm was started from, if it was. */
  origin(): Origin | null
  /** The members of the run, of whom any may have what is needed of the data. */
  donors(): readonly PeerId[]
  readonly signal: AbortSignal
  readonly checkpoints?: Store | null
}

const IDLE_DATA: BatchSource = {
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
): Promise<{ holding: ActiveStage; gathered: RestoredState }> {
  const { signal } = options
  return withStage(question.stage, options, async (stage, data) => {
    const gathered = await stateOf(question, stage, options)
    signal.throwIfAborted()
    const { learningRateScale, norm, updates } = gathered
    const state = { learningRateScale, norm, updates }
    const stageIndex = question.stage
    return { holding: new ActiveStage({ ...options, ...state, stage, stageIndex, data }), gathered }
  })
}

function stateOf(
  question: HoldQuestion,
  stage: AnyStage,
  options: BuildOptions,
): Promise<RestoredState> {
  const { network, run, signal } = options
  switch (question.strategy) {
    case resume.name:
      return resumeStage(stage, question, options)
    case checkpoint.name:
      return restoreStage(options, stage, question.step)
    default:
      return gatherStage({ network, stage, question, run, signal })
  }
}

/** With what the checkpoint has of it that the swarm was started from. */
async function resumeStage(
  stage: AnyStage,
  { stage: index, step: ofStep }: HoldQuestion,
  { resume, origin }: BuildOptions,
): Promise<RestoredState> {
  const loaded = await loadResumed(resume, origin(), index)
  const { weights, optimizer, learningRateScale, gradientNorm: norm } = loaded
  await stage.load(weights, optimizer)
  return { bytes: 0, norms: [], learningRateScale, ofStep, norm, updates: optimizer.updates }
}

/** With its initial weights, for one that will fetch the state while others go on. */
export function buildReplicaSync(index: number, options: BuildOptions): Promise<ReplicaSync> {
  return withStage(index, options, async (stage, data) => {
    return new ReplicaSync({ ...options, stage, stageIndex: index, data })
  })
}

/** With its initial weights, for one that keeps the state beside that of the stage that it holds. */
export async function buildUnderstudy(index: number, options: BuildOptions): Promise<ReplicaSync> {
  const idle = { ...options, loadData: async () => IDLE_DATA }
  const createStage = (stage: number) => options.createStage(stage, true)
  return buildReplicaSync(index, { ...idle, createStage })
}

async function withStage<T>(
  index: number,
  { createStage, loadData, donors, signal }: BuildOptions,
  use: (stage: AnyStage, data: BatchSource) => Promise<T>,
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
