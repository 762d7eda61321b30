/** The journal on a peer's disk: what a reader finds after a rotation, a full disk, a kill, and a deleted folder. */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Member, Roster } from '../../../protocols/membership.ts'
import type { Entry } from '../../../src/base/journal.ts'
import { JournalFile, readJournal } from '../../../src/base/journal-file.ts'
import { JOURNAL_RETRY_MS } from '../../../src/base/limits.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

const PEER = 'peer-1'

function opened(folder = join(temporaryFolder(), 'slot'), maxBytes?: number) {
  mkdirSync(folder, { recursive: true })
  let now = 0
  const told: string[] = []
  const journal = new JournalFile({
    folder,
    peer: PEER,
    maxBytes,
    now: () => now,
    tell: (message) => told.push(message),
  })
  return {
    folder,
    told,
    journal,
    wait: (ms: number) => {
      now += ms
    },
  }
}

function stepOf(step: number, stages = 3): Entry {
  const each = (value: number) => new Array<number>(stages).fill(value)
  return {
    ...{ at: 1000 * step, peer: PEER, type: 'step', step, epoch: 2, loss: 5 / step + 1e-16 },
    ...{ learningRate: 0.001, tokens: 512, seconds: 0.123_456_789_012_345, peers: 4 },
    ...{ counted: each(4), norms: each(1 / 3), busySeconds: each(2 / 3) },
  } as Entry
}

function lostAt(step: number): Entry {
  const reason = 'its connection broke'
  return { at: 1000 * step + 1, peer: PEER, type: 'lost', lost: `peer-${step}`, stage: 1, reason }
}

const NOTICE = { peer: PEER, type: 'notice' } as const

function memberOf(id: number, stage: number | null = null): Member {
  const addresses = ['/ip4/127.0.0.1/tcp/4001']
  return { id, peer: `peer-${id}`, session: 1, addresses, domain: '', host: '', stage, ready: true }
}

function rosterOf(epoch: number, members: Member[]): Entry {
  const roster: Roster = {
    ...{ epoch, fenceEpoch: 1, origin: null, resharded: null, committed: 3, learningRate: 0.01 },
    ...{ norm: 1, loss: 2, version: 0, coordinator: 0, ballot: { round: 0, id: 0 }, nextId: 9 },
    members,
  }
  return { at: epoch, peer: PEER, type: 'roster', roster, reason: 'members changed' }
}

const typed = <Type extends Entry['type']>(entries: readonly Entry[], type: Type) =>
  entries.filter((entry): entry is Extract<Entry, { type: Type }> => entry.type === type)

function bytesIn(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
}

test('entries come back as they were written, with measured numbers of six digits', () => {
  const { journal, folder } = opened()
  journal.write(stepOf(7))
  journal.write(lostAt(7))
  journal.close()
  expect(readJournal(folder)).toEqual([
    {
      ...stepOf(7),
      seconds: 0.123457,
      norms: new Array(3).fill(0.333333),
      busySeconds: new Array(3).fill(0.666667),
    },
    lostAt(7),
  ])
})

test('a roster is written as its difference to the one before, and comes back whole but for addresses', () => {
  const { journal, folder } = opened()
  const all = Array.from({ length: 300 }, (_, id) => memberOf(id, id < 4 ? id : null))
  journal.write(rosterOf(1, all))
  const first = bytesIn(folder)
  const next = [...all.slice(0, 2), memberOf(2), ...all.slice(4), memberOf(300, 2)]
  journal.write(rosterOf(2, next))
  journal.close()
  expect(bytesIn(folder) - first).toBeLessThan(first / 20)
  const members = typed(readJournal(folder), 'roster').map(({ roster }) => roster.members)
  const known = (list: Member[]) => list.map((member) => ({ ...member, addresses: [] }))
  expect(members).toEqual([known(all), known(next)])
})

test('the files stay within their bound, and the history keeps losses and a curve of the loss', () => {
  const maxBytes = 2_000_000
  const { journal, folder } = opened(undefined, maxBytes)
  journal.write({ at: 0, peer: PEER, type: 'founded' })
  journal.write(rosterOf(1, [memberOf(0, 0), memberOf(1, 1)]))
  const steps = 40_000
  let most = 0
  for (let step = 1; step <= steps; step++) {
    journal.write(stepOf(step))
    journal.write({ ...NOTICE, at: 1000 * step, message: 'x'.repeat(100) })
    if (step % 2_000 === 0) journal.write(lostAt(step))
    if (step === 10_000)
      journal.write({ ...rosterOf(2, [memberOf(0, 0), memberOf(2, 1)]), at: 1000 * step + 1 })
    if (step % 500 === 0) most = Math.max(most, bytesIn(folder))
  }
  journal.close()
  expect(most).toBeLessThan(1.05 * maxBytes)
  expect(most).toBeGreaterThan(maxBytes / 2)

  const entries = readJournal(folder)
  const times = entries.map(({ at }) => at)
  expect(times).toEqual(times.toSorted((a, b) => a - b))
  expect(entries[0]!.type).toBe('founded')
  expect(typed(entries, 'lost')).toHaveLength(steps / 2_000)
  expect(typed(entries, 'roster').map(({ roster }) => roster.members.map(({ id }) => id))).toEqual([
    [0, 1],
    [0, 2],
  ])
  const points = typed(entries, 'step')
  expect(points[0]!.step).toBeLessThan(100)
  expect(points.at(-1)!.step).toBe(steps)
  expect(points.length).toBeGreaterThan(1_000)
  const gaps = points.slice(1).map(({ step }, i) => step - points[i]!.step)
  expect(Math.max(...gaps)).toBeLessThan(steps / 100)
  expect(gaps.slice(-100).every((gap) => gap === 1)).toBe(true)
})

test('a history of nothing but losses loses the oldest, and keeps how the peer came into the run', () => {
  const maxBytes = 200_000
  const { journal, folder } = opened(undefined, maxBytes)
  journal.write({ at: 0, peer: PEER, type: 'founded' })
  for (let step = 1; step <= 10_000; step++) journal.write(lostAt(step))
  journal.close()
  expect(bytesIn(folder)).toBeLessThan(1.05 * maxBytes)
  const entries = readJournal(folder)
  expect(entries[0]!.type).toBe('founded')
  expect(typed(entries, 'lost').at(-1)!.lost).toBe('peer-10000')
})

test('a history that was written before its files were removed does not count them twice', () => {
  const { journal, folder } = opened(undefined, 40_000)
  for (let step = 1; step <= 1_000; step++) journal.write(lostAt(step))
  journal.close()
  const before = readJournal(folder)
  const history = readFileSync(join(folder, 'journal.history.jsonl'), 'utf8')
  const { through } = JSON.parse(history.split('\n')[0]!) as { through: number }
  // As a kill leaves it: the history has the entries, and the file is still there.
  appendFileSync(join(folder, `journal.${through}.jsonl`), history)
  expect(readJournal(folder)).toEqual(before)
})

test('a process that was killed in the middle of a line costs that line', () => {
  const { journal, folder } = opened()
  journal.write(lostAt(1))
  appendFileSync(join(folder, 'journal.jsonl'), '{"type":"lost","at":5')
  const again = opened(folder)
  again.journal.write(lostAt(2))
  expect(readJournal(folder)).toEqual([lostAt(1), lostAt(2)])
})

test('texts that a stranger chooses are cut', () => {
  const { journal, folder } = opened()
  const reason = 'k'.repeat(60_000)
  journal.write({ at: 1, peer: PEER, type: 'refused', from: 'x', protocol: 'y', code: 'z', reason })
  expect(bytesIn(folder)).toBeLessThan(3_000)
})

// On Linux, every write to /dev/full fails as on a full disk.
test.skipIf(!existsSync('/dev/full'))(
  'a full disk costs records, which are counted, and is told once',
  () => {
    const { journal, folder, told, wait } = opened()
    const path = join(folder, 'journal.jsonl')
    journal.write(lostAt(1))
    const place = (target: string) => {
      rmSync(path)
      symlinkSync(target, path)
    }
    const real = join(folder, 'real')
    renameSync(path, real)
    symlinkSync('/dev/full', path)
    wait(JOURNAL_RETRY_MS)
    for (let step = 2; step <= 11; step++) {
      journal.write(lostAt(step))
      wait(JOURNAL_RETRY_MS / 2)
    }
    expect(told.filter((message) => message.includes('ENOSPC'))).toHaveLength(1)
    expect(told.find((message) => message.includes('ENOSPC'))).toContain(path)

    place(real)
    wait(JOURNAL_RETRY_MS)
    journal.write(lostAt(12))
    journal.write(lostAt(13))
    expect(told.at(-1)).toBe('10 journal records were dropped; now they are written again')
    const entries = readJournal(folder)
    expect(typed(entries, 'lost').map(({ lost }) => lost)).toEqual(['peer-1', 'peer-12', 'peer-13'])
    expect(typed(entries, 'notice').map(({ message }) => message)).toEqual([told.at(-1)])
  },
)

test('a folder that is deleted while the peer runs is made again, and the peer says so', () => {
  const { journal, folder, told, wait } = opened()
  journal.write(lostAt(1))
  rmSync(folder, { recursive: true })
  journal.write(lostAt(2))
  wait(JOURNAL_RETRY_MS)
  journal.write(lostAt(3))
  expect(readJournal(folder)).toEqual([lostAt(3)])
  expect(told).toHaveLength(1)
  expect(told[0]).toContain(`${join(folder, 'journal.jsonl')} was deleted`)
})
