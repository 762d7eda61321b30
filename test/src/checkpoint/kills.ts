/** Kills saving processes within a flush, and checks the remaining checkpoint. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { DirectoryStore } from '../../../src/checkpoint/directory-store.ts'
import { StageDisk } from '../../../src/checkpoint/stage-disk.ts'
import { latestComplete } from '../../../src/checkpoint/steps.ts'
import { holdsState } from './small-state.ts'
import { holdsSmallStep, saveSmallStep } from './small-step.ts'

const SAVER = fileURLToPath(new URL('./saver.ts', import.meta.url))
const STATE_SAVER = fileURLToPath(new URL('./state-saver.ts', import.meta.url))

export interface Survival {
  /** Number of changes to the store that the process had begun before the kill. */
  readonly changes: number
  /** Last step that a process had committed before the kill, and last step that is complete after it. */
  readonly committed: number
  readonly complete: number
  /** True if the complete step has the expected content bit for bit. */
  readonly exact: boolean
}

/** Kills one process after another on the same folder, each a little later. */
export async function* survivals(folder: string, kills: number): AsyncGenerator<Survival> {
  const store = new DirectoryStore(folder)
  await saveSmallStep(store, 1)
  let committed = 1
  for (let kill = 0; kill < kills; kill++) {
    const changes = 3 + Math.floor((38 * kill) / kills)
    const child = fork(SAVER, [folder, String(committed + 1)])
    committed = Math.max(committed, await killAfter(child, changes))
    const manifest = await latestComplete(store, { depth: 'content' })
    const complete = manifest?.step ?? 0
    const exact = manifest !== null && (await holdsSmallStep(store, manifest))
    yield { changes, committed, complete, exact }
    committed = Math.max(committed, complete)
  }
}

/** Kills processes that write states to a disk, one after another on the same folder. */
export async function* stateSurvivals(folder: string, kills: number): AsyncGenerator<Survival> {
  let committed = 0
  for (let kill = 0; kill < kills; kill++) {
    // Each step writes one state, and removes the one before the last.
    const changes = 2 + kill
    committed = Math.max(
      committed,
      await killAfter(fork(STATE_SAVER, [folder, String(committed + 1)]), changes),
    )
    const disk = new StageDisk({ store: new DirectoryStore(folder), pause: async () => {} })
    await disk.scanned
    const complete = Math.max(0, ...disk.holdings.map(({ step }) => step))
    yield { changes, committed, complete, exact: await holdsState(disk, complete) }
    committed = Math.max(committed, complete)
  }
}

/** Kills a process when it begins change number `changes` to its store. @returns last step that it had committed */
async function killAfter(child: ChildProcess, changes: number): Promise<number> {
  let begun = 0
  let committed = 0
  child.on('message', (message: { committed?: number }) => {
    if (message.committed !== undefined) committed = message.committed
    else if (++begun === changes) child.kill('SIGKILL')
  })
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.on('exit', (...end) => resolve(end)),
  )
  if (signal !== 'SIGKILL') throw new Error(`the saver ended by itself, with code ${code}`)
  return committed
}
