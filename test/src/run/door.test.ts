/** The keys of a run's network: who has them, and what a wrong one says. */
import { statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  digestOfSecret,
  doorOf,
  newSecret,
  openDoor,
  secretPathOf,
  writeSecret,
} from '../../../src/run/door.ts'
import { runId, withStages } from '../../../src/run/run.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'
import { tinyRun } from '../../fixtures/swarm.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

test('the door of a run with fewer stages is the same, so that its successors stay in one network', () => {
  const run = tinyRun()
  expect(doorOf(withStages(run, 2, 'test'), null)).toEqual(doorOf(run, null))
})

test('another setting or another secret is another door', () => {
  const run = tinyRun()
  const doors = [doorOf(run, null), doorOf({ ...run, seed: 2 }, null)]
  doors.push(doorOf(run, 'a'), doorOf(run, 'b'))
  expect(new Set(doors.map(({ prologue }) => hex(prologue))).size).toBe(4)
  expect(new Set(doors.map(({ group }) => group)).size).toBe(4)
})

test('the name for the local network contains nothing of the run id or of the prologue', () => {
  const run = tinyRun()
  const { group, prologue } = doorOf(run, null)
  expect(group).toMatch(/^[0-9a-f]{40}$/)
  for (const known of [runId(run), hex(prologue)]) {
    expect(known).not.toContain(group.slice(0, 8))
  }
})

function guarded() {
  const folder = temporaryFolder()
  const secret = newSecret()
  const run = { ...tinyRun(), secret: digestOfSecret(secret) }
  const path = join(folder, 'run.json')
  return { folder, secret, run, path }
}

test('the secret beside the manifest opens the door, and only its owner can read it', () => {
  const { run, secret, path } = guarded()
  writeSecret(secretPathOf(path), secret, { force: false })
  expect(openDoor(run, path, undefined)).toEqual(doorOf(run, secret))
  expect(statSync(secretPathOf(path)).mode & 0o077).toBe(0)
  expect(() => writeSecret(secretPathOf(path), secret, { force: false })).toThrow(/--force/)
})

test.each([
  ['a missing secret', null, /run\.secret does not exist.*--secret-file/],
  ['the secret of another run', newSecret(), /is not the secret of .*run\.json/],
  ['a file that is no secret', 'password', /is not a secret.*init --secret/],
])('%s is refused with the remedy', (_, content, says) => {
  const { run, path } = guarded()
  if (content !== null) writeFileSync(secretPathOf(path), content)
  expect(() => openDoor(run, path, undefined)).toThrow(says)
})

test('a secret for a run without one is refused', () => {
  const { folder, path } = guarded()
  expect(() => openDoor(tinyRun(), path, join(folder, 'other'))).toThrow(/without a secret/)
})
