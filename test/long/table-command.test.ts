/** Checks the command that prints the table of strategies. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../fixtures/folder.ts'

test('the command prints a table, and plays nothing twice', () => {
  const cache = join(temporaryFolder(), 'cache')
  const main = new URL('../../sim/lab/table/main.ts', import.meta.url).pathname
  const play = () => {
    const args = [main, '--quick', '--only', 'checkfree', '--cache', cache]
    return spawnSync(process.execPath, args, { encoding: 'utf8' })
  }
  const first = play()
  expect(first.stderr).toMatch(/4 of 4 runs/)
  expect(first.stdout).toMatch(/\| checkfree +\| 0\.005 \| 1 /)
  expect(first.status).toBe(0)
  const second = play()
  expect(second.stderr).toBe('')
  expect(second.stdout).toBe(first.stdout)
})
