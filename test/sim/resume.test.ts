/**
 * A swarm starts from a checkpoint of another swarm, with the same or another number of stages. It continues as the other
 * swarm would have.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DirectoryStore } from '../../src/checkpoint/directory-store.ts'
import { openResume, type Resume } from '../../src/holder/resume.ts'
import { parameterView } from '../../stages/parameters.ts'
import { saveSwarm } from '../fixtures/checkpoint.ts'
import { temporaryFolder } from '../fixtures/folder.ts'
import { entriesOf, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STEPS = 12
const SAVED = 5
const base = tinyRun()

/** A run whose learning rate changes at every step, and whose clipping covers the whole model. */
function runOf(stages: number) {
  return tinyRun({
    stages,
    steps: STEPS,
    spares: 0,
    microbatches: 2,
    model: { ...base.model, layers: 4 },
    optimizer: { ...base.optimizer, clip: 'whole', schedule: 'cosine', clipNorm: 0.5 },
  })
}

/** Virtual time does not advance while files are read. */
function timed({ origin, load }: Resume, { world }: TestSwarm): Resume {
  return { origin, load: (...of) => world.compute(10, 'reading a stage', () => load(...of)) }
}

type Tensors = Map<string, number[]>

/** Plays to the end of the run. */
async function play(stages: number, given?: Resume) {
  const run = runOf(stages)
  const swarm = new TestSwarm(run)
  const resume = given && timed(given, swarm)
  const tensors: Tensors = new Map()
  for (let i = 1; i <= stages + 1; i++) {
    swarm.join(`peer-${i}`, {
      resume,
      save: async ({ parameters, weights }) => {
        for (const each of parameters) tensors.set(each.name, [...parameterView(weights, each)])
        return ''
      },
    })
  }
  await swarm.end()
  const steps = entriesOf(swarm.entries, 'step')
  return { swarm, tensors, made: steps.map(({ step }) => step), losses: steps.map((s) => s.loss) }
}

let folder: string
let unbroken: Awaited<ReturnType<typeof play>>

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gensyn-test-'))
  await saveSwarm(new DirectoryStore(folder), runOf(4), SAVED)
  unbroken = await play(4)
})

afterAll(() => rmSync(folder, { recursive: true }))

async function opened(stages: number, notices: string[] = []): Promise<Resume> {
  const notice = (message: string) => notices.push(message)
  return openResume(runOf(stages), new DirectoryStore(folder), { notice })
}

const LEFT = Array.from({ length: STEPS - SAVED }, (_, i) => SAVED + 1 + i)

test('with as many stages: the losses and weights of the unbroken run, bit for bit', async () => {
  const resumed = await play(4, await opened(4))
  expect(resumed.made).toEqual(LEFT)
  expect(resumed.losses).toEqual(unbroken.losses.slice(SAVED))
  expect(resumed.tensors).toEqual(unbroken.tensors)
  const held = entriesOf(resumed.swarm.entries, 'held')
  expect(held.map(({ strategy, cause }) => [strategy, cause])).toEqual(
    held.map(() => ['resume', 'empty']),
  )
})

test.each([1, 2])('with %i in place of 4: the same but for rounding', async (stages) => {
  const resumed = await play(stages, await opened(stages))
  expect(resumed.made).toEqual(LEFT)
  expect(resumed.losses).toBeAllclose(unbroken.losses.slice(SAVED), { relative: 1e-6 })
  expect([...resumed.tensors.keys()].sort()).toEqual([...unbroken.tensors.keys()].sort())
})

test('a stage that is lost before the first step is read again', async () => {
  const run = runOf(4)
  const swarm = new TestSwarm(run)
  const resume = timed(await opened(4), swarm)
  for (let i = 1; i <= 6; i++) swarm.join(`peer-${i}`, { resume })
  let victim: string | null = null
  swarm.onEntry((entry) => {
    if (victim !== null || entry.type !== 'held' || entry.by === 'peer-1') return
    if (entry.stage !== 2) return
    victim = entry.by
    swarm.kill(victim)
  })
  await swarm.end()
  const again = entriesOf(swarm.entries, 'held').filter(({ stage }) => stage === 2)
  expect(again.map(({ strategy }) => strategy)).toEqual(again.map(() => 'resume'))
  expect(victim).not.toBe(null)
  const losses = entriesOf(swarm.entries, 'step').map(({ loss }) => loss)
  expect(losses).toEqual(unbroken.losses.slice(SAVED))
})

/** Long because its tests cover one refusal or notice each. */
describe('is told', () => {
  test('a peer that joins a run that was started without --resume', async () => {
    const swarm = new TestSwarm(runOf(4))
    swarm.join('peer-1')
    const resume = timed(await opened(4), swarm)
    const others = [2, 3, 4, 5].map((i) => swarm.join(`peer-${i}`, { resume }))
    const ended = Promise.allSettled(others.map(({ finished }) => finished))
    const waitingFor = 'the others to end'
    for (const end of await swarm.world.run(ended, { waitingFor, untilMs: 60_000 })) {
      expect(String((end as PromiseRejectedResult).reason)).toMatch(/was started without --resume/)
    }
    swarm.kill('peer-1')
  })

  test('a peer that has no checkpoint and would have to read one; another takes its stage', async () => {
    const run = runOf(1)
    const swarm = new TestSwarm(run)
    const resume = timed(await opened(1), swarm)
    swarm.join('peer-1', { resume })
    swarm.join('peer-2')
    swarm.world.schedule(2_000, 'one with a checkpoint comes', () => {
      swarm.join('peer-3', { resume })
    })
    swarm.onEntry((entry) => {
      if (entry.type === 'step' && entry.step === SAVED + 2) swarm.kill('peer-2')
    })
    await swarm.end()
    const messages = entriesOf(swarm.entries, 'notice').map(({ message }) => message)
    expect(messages.join('\n')).toMatch(/start this peer with --resume, too/)
    expect(entriesOf(swarm.entries, 'step').map(({ step }) => step)).toEqual(LEFT)
  })

  test('whose run the checkpoint does not fit, and what else differs', async () => {
    const store = new DirectoryStore(folder)
    const notices: string[] = []
    const options = { notice: (message: string) => notices.push(message) }
    const run = runOf(4)
    const wide = { ...run, model: { ...run.model, hiddenSize: 32 } }
    await expect(openResume(wide, store, options)).rejects.toThrow(
      /does not fit the run: its model.hiddenSize is 16, not 32/,
    )
    const sgd = { ...run, optimizer: { ...run.optimizer, kind: 'sgd' as const } }
    await expect(openResume(sgd, store, options)).rejects.toThrow(/its optimizer is adamw, not sgd/)
    const short = { ...run, steps: SAVED }
    await expect(openResume(short, store, options)).rejects.toThrow(/the run ends after 5 steps/)
    const empty = new DirectoryStore(join(folder, 'none'))
    await expect(openResume(run, empty, options)).rejects.toThrow(/holds no complete checkpoint/)
    expect(notices).toEqual([])
    await openResume({ ...run, seed: 2, microbatches: 3 }, store, options)
    expect(notices).toEqual([expect.stringMatching(/other settings.*: seed,microbatches/)])
  })

  test('that a byte has flipped, by the name of its tensor', async () => {
    const damaged = temporaryFolder()
    await saveSwarm(new DirectoryStore(damaged), runOf(2), SAVED)
    const step = join(damaged, readdirSync(damaged)[0]!)
    const file = join(step, readdirSync(step).find((name) => name.endsWith('.bin'))!)
    const bytes = readFileSync(file)
    bytes[0]! ^= 1
    writeFileSync(file, bytes)
    const resume = await openResume(runOf(2), new DirectoryStore(damaged), { notice: () => {} })
    const loads = [0, 1, 2].map((stage) => resume.load(resume.origin, stage))
    const failures = (await Promise.allSettled(loads)).filter((load) => load.status === 'rejected')
    expect(failures).toHaveLength(1)
    expect(String(failures[0]!.reason)).toMatch(/tensor \S+: bytes .* damaged.*--resume-step/)
  })
})
