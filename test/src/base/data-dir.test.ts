/** The data directory: slots, locks and the address book, with real processes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { claimFounder, claimSlot, knownAddresses } from '../../../src/base/data-dir.ts'
import { InputError } from '../../../src/base/errors.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

const RUN = 'a'.repeat(64)
const CLAIMANT = fileURLToPath(new URL('../../fixtures/claimant.ts', import.meta.url))

interface Claimant {
  readonly process: ChildProcess
  ask(question: 'slot' | 'publish' | 'founder' | 'known' | 'locks'): Promise<unknown>
  /** Kills the process. Resolves after its end. */
  kill(): Promise<void>
  /** Ends its input, so that it releases its locks. Resolves after its end. */
  leave(): Promise<void>
}

/** Starts a process that makes claims when it is asked. */
async function claimant(dataDir: string): Promise<Claimant> {
  const child = spawn(process.execPath, [CLAIMANT, dataDir, RUN], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const answer = async () => JSON.parse((await lines.next()).value as string) as unknown
  expect(await answer()).toBe('ready')
  return {
    process: child,
    ask: (question) => {
      child.stdin.write(`${question}\n`)
      return answer()
    },
    kill: async () => {
      child.kill('SIGKILL')
      await exited
    },
    leave: async () => {
      child.stdin.end()
      await exited
    },
  }
}

function claimants(dataDir: string, count: number): Promise<Claimant[]> {
  return Promise.all(Array.from({ length: count }, () => claimant(dataDir)))
}

function askAll(
  all: readonly Claimant[],
  question: 'slot' | 'founder' | 'locks',
): Promise<unknown[]> {
  return Promise.all(all.map((one) => one.ask(question)))
}

test('each live process has its own slot, and a slot is free after its release or the death of its owner', async () => {
  const dataDir = temporaryFolder()
  const own = claimSlot(dataDir, RUN)
  expect(own.number).toBe(1)
  expect(own.path).toBe(join(dataDir, 'a'.repeat(12), 'peers', '1'))

  const [b, c] = (await claimants(dataDir, 2)) as [Claimant, Claimant]
  expect(await b.ask('slot')).toBe(2)
  expect(await c.ask('slot')).toBe(3)

  own.release()
  expect(claimSlot(dataDir, RUN).number).toBe(1)
  await b.kill()
  expect(claimSlot(dataDir, RUN).number).toBe(2)
  await c.leave()
  expect(claimSlot(dataDir, RUN).number).toBe(3)
})

test('releasing a slot that another process has taken over does not remove the lock of that process', () => {
  const dataDir = temporaryFolder()
  const first = claimSlot(dataDir, RUN)
  const lock = join(first.path, 'lock')
  writeFileSync(lock, JSON.stringify({ pid: process.ppid, start: '1' }))
  first.release()
  expect(readdirSync(first.path)).toContain('lock')
})

test('many processes that find dead owners at once get different slots, and exactly one founds the run', async () => {
  const dataDir = temporaryFolder()
  const dead = await claimants(dataDir, 3)
  await askAll(dead, 'slot')
  expect(await askAll(dead, 'founder').then((all) => all.filter(Boolean))).toHaveLength(1)
  await Promise.all(dead.map((one) => one.kill()))

  const living = await claimants(dataDir, 8)
  const numbers = await askAll(living, 'slot')
  expect(new Set(numbers).size).toBe(living.length)
  expect(await askAll(living, 'founder').then((all) => all.filter(Boolean))).toHaveLength(1)
  expect(claimFounder(dataDir, RUN)).toBe(false)
})

test('each of many locks of a dead process goes to exactly one of the processes that race for it', async () => {
  const folder = temporaryFolder()
  const dead = await claimant(folder)
  await dead.kill()
  // With 300 locks, a removal of dead locks without a lock of its own fails here nearly every time.
  const names = Array.from({ length: 300 }, (_, i) => `lock-${i}`)
  const owner = JSON.stringify({ pid: dead.process.pid, start: '1' })
  for (const name of names) writeFileSync(join(folder, name), owner)
  const racers = await claimants(folder, 4)
  const won = (await askAll(racers, 'locks')).flat()
  expect(won.toSorted()).toEqual(names.toSorted())
})

test('the address book lists the other live peers, and no earlier owner of a slot', async () => {
  const dataDir = temporaryFolder()
  expect(knownAddresses(dataDir, RUN)).toEqual([])
  const own = claimSlot(dataDir, RUN)
  own.publish(['/own'])
  expect(knownAddresses(dataDir, RUN)).toEqual([])

  const [b, c] = (await claimants(dataDir, 2)) as [Claimant, Claimant]
  for (const one of [b, c]) {
    await one.ask('slot')
    await one.ask('publish')
  }
  expect(knownAddresses(dataDir, RUN)).toEqual([b, c].map(({ process }) => `/peer/${process.pid}`))
  expect(await b.ask('known')).toEqual(['/own', `/peer/${c.process.pid}`])

  await b.kill()
  expect(knownAddresses(dataDir, RUN)).toEqual([`/peer/${c.process.pid}`])
  const next = await claimant(dataDir)
  expect(await next.ask('slot')).toBe(2)
  expect(knownAddresses(dataDir, RUN)).toEqual([`/peer/${c.process.pid}`])
  expect(knownAddresses(dataDir, 'b'.repeat(64))).toEqual([])
})

test.runIf(process.platform === 'linux')(
  'a lock is free if its process id now belongs to another process',
  () => {
    const dataDir = temporaryFolder()
    const { path } = claimSlot(dataDir, RUN)
    writeFileSync(join(path, 'lock'), JSON.stringify({ pid: process.ppid, start: '1' }))
    expect(claimSlot(dataDir, RUN).path).toBe(path)
  },
)

test('the errors for a data directory that is a file, and for a damaged lock, name the remedy', () => {
  const dataDir = temporaryFolder()
  const file = join(dataDir, 'file')
  writeFileSync(file, '')
  expect(() => claimSlot(file, RUN)).toThrow(InputError)
  expect(() => claimSlot(file, RUN)).toThrow(
    /file cannot be used \(.*\)\. Choose another by --data-dir/,
  )

  const { path } = claimSlot(dataDir, RUN)
  writeFileSync(join(path, 'lock'), '{"pid": -1')
  expect(() => claimSlot(dataDir, RUN)).toThrow(`${join(path, 'lock')} is damaged. Remove it`)
})
