/** Builds a stage that this peer is to hold: the stage's programs, its state, and the text if it is the ends. */
import type { Origin } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { HoldQuestion } from '../../protocols/step.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { restoreStage } from '../checkpoint/restore.ts'
import type { Store } from '../checkpoint/store.ts'
import { checkpoint } from '../recovery/checkpoint.ts'
import { resume } from '../recovery/resume.ts'
import type { BatchSource } from '../run/batch-source.ts'
import type { Run } from '../run/run.ts'
import type { RestoredState } from '../run/stage-state.ts'
import { ActiveStage, type ActiveStageOptions } from './active-stage.ts'
import { gatherStage } from './gather.ts'
import { ReplicaSync } from './replica-sync.ts'
import { loadResumed, type Resume } from './resume.ts'
import { StageReplica } from './stage-replica.ts'

export interface BuildOptions extends Omit<ActiveStageOptions, 'replica' | 'data'> {
  readonly run: Run
  readonly runId: string
  /** Builds the stage's programs. @param isSecond true for a stage beside the active one */
  createStage(stage: number, isSecond?: boolean): Promise<AnyStage>
  loadData(donors: () => readonly PeerId[]): Promise<BatchSource>
  /** Reads the checkpoint that the run was started from. */
  readonly resume?: Resume | undefined
  /** The checkpoint that the run was started from; null if it started from its seed. */
  origin(): Origin | null
  /** Members that may have parts of the data. */
  donors(): readonly PeerId[]
  readonly signal: AbortSignal
  readonly checkpoints?: Store | null
}

const NO_DATA: BatchSource = {
  training: () => {
    throw new Error('only the driver reads tokens')
  },
  heldOut: () => {
    throw new Error('only the driver reads tokens')
  },
}

/** Builds a stage with the state that a recovery strategy makes, ready to work. */
export function buildActiveStage(
  question: HoldQuestion,
  options: BuildOptions,
): Promise<{ active: ActiveStage; restored: RestoredState }> {
  const { run, signal } = options
  const { stage: index } = question
  return withStage(index, options, async (stage, data) => {
    const restored = await restoreState(stage, question, options)
    signal.throwIfAborted()
    const replica = new StageReplica({ run, index, stage })
    replica.restored(restored)
    return { active: new ActiveStage({ ...options, replica, data }), restored }
  })
}

function restoreState(
  stage: AnyStage,
  question: HoldQuestion,
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

/** Loads the state from the checkpoint that the run was started from. */
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

/** Builds a stage with its initial weights. Its state is fetched later, while the holders keep training. */
export function buildReplicaSync(index: number, options: BuildOptions): Promise<ReplicaSync> {
  const { run } = options
  return withStage(index, options, async (stage, data) => {
    const replica = new StageReplica({ run, index, stage })
    return new ReplicaSync({ ...options, replica, data })
  })
}

/** Builds a second stage, whose state this peer keeps beside that of its active stage. It computes no microbatch. */
export function buildUnderstudy(index: number, options: BuildOptions): Promise<ReplicaSync> {
  const createStage = (stage: number) => options.createStage(stage, true)
  return buildReplicaSync(index, { ...options, createStage, loadData: async () => NO_DATA })
}

async function withStage<T>(
  index: number,
  { createStage, loadData, donors, signal }: BuildOptions,
  use: (stage: AnyStage, data: BatchSource) => Promise<T>,
): Promise<T> {
  const stage = await createStage(index)
  try {
    signal.throwIfAborted()
    const data = stage.kind === 'ends' ? await loadData(donors) : NO_DATA
    signal.throwIfAborted()
    return await use(stage, data)
  } catch (error) {
    await stage.close()
    throw error
  }
}
