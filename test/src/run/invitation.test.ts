/** One line with which another machine enters a run. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { digestOfSecret, newSecret, openDoor, secretPathOf } from '../../../src/run/door.ts'
import {
  acceptInvitation,
  decodeInvitation,
  encodeInvitation,
  isLocal,
} from '../../../src/run/invitation.ts'
import { readRun, runId } from '../../../src/run/run.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'
import { tinyRun } from '../../fixtures/swarm.ts'

const secret = newSecret()
const run = { ...tinyRun(), secret: digestOfSecret(secret) }
const addresses = ['/ip4/203.0.113.7/tcp/4001', '/ip4/127.0.0.1/tcp/4001']
const line = encodeInvitation({ run, secret, addresses })

test('an invitation is one word, and brings the run, its secret and the addresses', () => {
  expect(line).toMatch(/^gensyn1\.[A-Za-z0-9_-]+$/)
  expect(decodeInvitation(line)).toEqual({ run, secret, addresses })
  const open = { run: tinyRun(), secret: null, addresses: [] }
  expect(decodeInvitation(encodeInvitation(open))).toEqual(open)
})

test('settings that have their defaults are left out, so that the line is shorter than the manifest', () => {
  expect(line.length).toBeLessThan(JSON.stringify(run).length / 2)
})

test.each([
  ['another text', 'run.json', /is not an invitation.*gensyn-node invite/],
  ['the beginning of one', line.slice(0, -9), /damaged.*whole line/],
  [
    'one with another character in the middle',
    `${line.slice(0, 60)}${line[60] === '_' ? '-' : '_'}${line.slice(61)}`,
    /./,
  ],
  ['a future version', line.replace('gensyn1', 'gensyn9'), /is not an invitation/],
])('%s is refused', (_, text, message) => {
  expect(() => decodeInvitation(text)).toThrow(message)
})

test('an invitation whose secret is not that of the run is refused', () => {
  const forged = encodeInvitation({ run, secret: newSecret(), addresses })
  expect(() => decodeInvitation(forged)).toThrow(/damaged/)
})

test('an accepted invitation writes the manifest and the secret, and again changes nothing', () => {
  const path = join(temporaryFolder(), 'run.json')
  acceptInvitation(decodeInvitation(line), path)
  expect(runId(readRun(path))).toBe(runId(run))
  expect(openDoor(readRun(path), path, undefined)).toEqual(openDoor(run, path, undefined))
  expect(statSync(secretPathOf(path)).mode & 0o077).toBe(0)
  const before = readFileSync(path, 'utf8')
  acceptInvitation(decodeInvitation(line), path)
  expect(readFileSync(path, 'utf8')).toBe(before)
})

test('the manifest of another run stays as it is', () => {
  const path = join(temporaryFolder(), 'run.json')
  writeFileSync(path, JSON.stringify(tinyRun()))
  expect(() => acceptInvitation(decodeInvitation(line), path)).toThrow(/another run.*--run/)
  expect(existsSync(secretPathOf(path))).toBe(false)
})

test('a loopback address serves one machine only', () => {
  expect(['/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/1', '/ip4/10.0.0.1/tcp/1'].map(isLocal)).toEqual([
    true,
    true,
    false,
  ])
})
