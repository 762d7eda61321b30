/** Savers that are killed in the middle of a flush, and what they leave behind. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { DirectoryStore } from '../../../src/checkpoint/directory-store.ts'
import { latestComplete } from '../../../src/checkpoint/steps.ts'
import { holdsSmallStep, saveSmallStep } from './small-step.ts'

const SAVER = fileURLToPath(new URL('./saver.ts', import.meta.url))

export interface Survival {
  /** Changes to the store that the saver had begun when it was killed. */
  readonly changes: number
  /** The last step that any saver had committed by then, and the last that is complete now. */
  readonly committed: number
  readonly complete: number
  /** The complete step holds what it must, to the bit. */
  readonly exact: boolean
}

/** Kills one saver after the other, each a little later, all on the same folder. */
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

/** Kills a saver when it begins so many changes to its store. @returns the last step that it had committed */
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
