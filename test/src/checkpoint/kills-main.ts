/** `npm run test:kills`: 20 savers killed in the middle of a flush; after each, a complete step is there and exact. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { survivals } from './kills.ts'

const KILLS = 20

const folder = mkdtempSync(join(tmpdir(), 'gensyn-test-'))
let survived = 0
for await (const { changes, committed, complete, exact } of survivals(folder, KILLS)) {
  const good = exact && complete >= committed
  if (good) survived++
  console.log(
    `killed at change ${changes}: committed ${committed}, complete ${complete}, ` +
      `${exact ? 'exact' : 'NOT what was saved'}`,
  )
}
rmSync(folder, { recursive: true })
console.log(`${survived} of ${KILLS} kills left a complete earlier state`)
if (survived < KILLS) process.exitCode = 1
