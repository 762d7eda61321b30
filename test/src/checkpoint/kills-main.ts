/** `npm run test:kills`: kills 20 saving processes within a flush. After each kill, a complete and exact step must remain. */
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
