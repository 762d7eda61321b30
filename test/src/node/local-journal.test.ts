/** The journal of a real node: what reaches the terminal, and the marks in the folders of the slot and the run. */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { claimSlot } from '../../../src/base/data-dir.ts'
import type { Entry } from '../../../src/base/journal.ts'
import { readJournal } from '../../../src/base/journal-file.ts'
import { JOURNAL_RETRY_MS, REFUSALS_A_SECOND } from '../../../src/base/limits.ts'
import { openLocalJournal } from '../../../src/node/local-journal.ts'
import { parseRun } from '../../../src/run/run.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

const RUN_ID = 'a'.repeat(64)
const manifest = {
  format: 'gensyn-run',
  version: 1,
  data: { source: 'file:text.txt', sha256: '0'.repeat(64), bytes: 100_000 },
}
const run = parseRun(manifest, 'run.json')

function opened() {
  const dataDir = temporaryFolder()
  const slot = claimSlot(dataDir, RUN_ID)
  let now = 1_000_000
  const printed: Entry[] = []
  const silent = () => {}
  const { journal, tookPart } = openLocalJournal({
    ...{
      run,
      runId: RUN_ID,
      dataDir,
      slot,
      peer: 'peer-1',
      addresses: ['/ip4/127.0.0.1/tcp/4001'],
    },
    clock: { now: () => now, sleep: () => Promise.resolve() },
    terminal: {
      ...{ line: silent, text: silent, fail: silent },
      event: (entry) => printed.push(entry as Entry),
    },
  })
  const notices = () => printed.flatMap((entry) => (entry.type === 'notice' ? [entry.message] : []))
  const wait = (ms: number) => {
    now += ms
  }
  const runFolder = join(slot.path, '..', '..')
  return { slot, runFolder, journal, tookPart, printed, notices, wait }
}

const committed = {
  type: 'committed',
  step: 1,
  stage: 1,
  loss: 2,
  learningRate: 1,
  gradientScale: 1,
} as const

test('a slot that cannot be written costs nothing but a notice, and is marked later', () => {
  const { slot, runFolder, journal, tookPart, notices, wait } = opened()
  // The mark cannot replace a folder, also not for the root user.
  const obstacle = join(runFolder, 'took-part')
  mkdirSync(join(obstacle, 'full'), { recursive: true })
  tookPart()
  journal.write(committed)
  tookPart()
  journal.write({ ...committed, step: 2 })
  expect(notices()).toHaveLength(1)
  expect(notices()[0]).toContain(`took-part cannot be written for ${slot.path}`)
  expect(existsSync(join(obstacle, 'full'))).toBe(true)
  rmSync(obstacle, { recursive: true })
  wait(JOURNAL_RETRY_MS)
  journal.write({ ...committed, step: 3 })
  expect(readFileSync(obstacle, 'utf8')).toBe('')
  expect(notices()).toHaveLength(1)
})

test('a slot that is deleted while its peer is in the run gets its lock, mark and addresses again', () => {
  const { slot, runFolder, journal, tookPart, notices, wait } = opened()
  journal.write({ type: 'founded' })
  tookPart()
  const files = ['lock', 'addresses.json'].map((name) => join(slot.path, name))
  const marked = [...files, join(runFolder, 'took-part')]
  const before = marked.map((path) => readFileSync(path, 'utf8'))
  rmSync(runFolder, { recursive: true })
  wait(JOURNAL_RETRY_MS)
  journal.write({ ...committed, step: 2 })
  expect(marked.map((path) => readFileSync(path, 'utf8'))).toEqual(before)
  expect(notices()).toHaveLength(1)
  expect(notices()[0]).toContain('was deleted while this peer runs')
  slot.release()
  expect(existsSync(join(slot.path, 'lock'))).toBe(false)
})

test('refused questions are cut, and those beyond ten a second are counted', () => {
  const { slot, journal, printed, wait } = opened()
  const reason = 'k'.repeat(60_000)
  const refuse = () =>
    journal.write({ type: 'refused', from: 'x', protocol: 'y', code: 'z', reason })
  for (let i = 0; i < 170; i++) refuse()
  wait(1000)
  refuse()
  const refused = readJournal(slot.path).filter((entry) => entry.type === 'refused')
  expect(refused).toHaveLength(REFUSALS_A_SECOND + 1)
  expect(refused.at(-1)).toMatchObject({ unwritten: 160 })
  expect(JSON.stringify(printed).length).toBeLessThan(10_000)
})
