/**
 * `npm run test:kills`: kills 20 processes that save checkpoints, and 20 that write states to their disks, within a flush.
 * After each kill, a complete and exact step must remain.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Survival, stateSurvivals, survivals } from './kills.ts'

const KILLS = 20

async function count(what: string, kind: (folder: string) => AsyncIterable<Survival>) {
  const folder = mkdtempSync(join(tmpdir(), 'gensyn-test-'))
  let survived = 0
  for await (const { changes, committed, complete, exact } of kind(folder)) {
    const good = exact && complete >= committed
    if (good) survived++
    console.log(
      `${what}: killed at change ${changes}: committed ${committed}, complete ${complete}, ` +
        `${exact ? 'exact' : 'NOT what was saved'}`,
    )
  }
  rmSync(folder, { recursive: true })
  console.log(`${what}: ${survived} of ${KILLS} kills left a complete earlier state`)
  if (survived < KILLS) process.exitCode = 1
}

await count('checkpoint', (folder) => survivals(folder, KILLS))
await count('disk', (folder) => stateSurvivals(folder, KILLS))
