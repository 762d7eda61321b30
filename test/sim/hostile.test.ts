/** A peer that lies, as a guest and as a member, asks everything that the protocols allow. The run goes on as without it. */
import { beforeAll, describe, expect, test } from 'vitest'
import { install } from '../../protocols/agreement.ts'
import { supersede } from '../../protocols/incarnation.ts'
import { hello, type Roster } from '../../protocols/membership.ts'
import { ask, serve } from '../../protocols/procedure.ts'
import { report } from '../../protocols/step.ts'
import type { VirtualPeer } from '../../sim/world/peer.ts'
import { ABSENCES } from '../../src/base/limits.ts'
import { fetchRoster } from '../../src/membership/agreement.ts'
import { FIRST } from '../../src/membership/incarnation.ts'
import { runId } from '../../src/run/run.ts'
import { Random } from '../../stages/random.ts'
import { forge, PROCEDURES } from '../fixtures/forger.ts'
import { entriesOf, tinyRecovery, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STEPS = 40
/** Forged questions in a virtual second, once the swarm has made a step. */
const A_SECOND = 50
/** Time by which every stage is held, in virtual milliseconds. */
const STARTED_MS = 2_000

const run = tinyRun({
  stages: 2,
  steps: STEPS,
  spares: 3,
  microbatches: 4,
  model: { ...tinyRun().model, layers: 2 },
  recovery: tinyRecovery({ policy: ['shadow', 'copy', 'random'] }),
})
const RUN = runId(run)
const HONEST = ['peer-1', 'peer-2', 'peer-3', 'peer-4', 'peer-5']

/** Asks forged questions for ever. Counts them by protocol. */
async function lie(
  swarm: TestSwarm,
  liar: VirtualPeer,
  seed: number,
  asked: Map<string, number>,
): Promise<void> {
  const random = new Random(seed)
  const { clock } = swarm.world
  const options = { network: liar, runId: RUN, signal: new AbortController().signal }
  let roster: Roster | undefined
  for (let turn = 0; ; turn++) {
    await clock.sleep(1000 / A_SECOND)
    if (turn % A_SECOND === 0) {
      const contact = HONEST[random.integer(HONEST.length)]!
      liar.learn(contact, [`sim://${contact}`])
      const known = await fetchRoster(options, contact).catch(() => undefined)
      roster = known?.roster ?? roster
    }
    if (roster === undefined || roster.committed === 0) continue
    const target = HONEST[random.integer(HONEST.length)]!
    const procedure = PROCEDURES[random.integer(PROCEDURES.length)]!
    const message = forge(
      { random, run: RUN, self: liar.self, roster, address: liar.address },
      procedure,
    )
    asked.set(procedure.protocol, (asked.get(procedure.protocol) ?? 0) + 1)
    liar.learn(target, [`sim://${target}`])
    const accept = (_: unknown, length: number) => new Uint8Array(length)
    liar.call(target, procedure.protocol, message, { timeoutMs: 5_000, accept }).catch(() => {})
  }
}

async function play(disturb?: (swarm: TestSwarm) => () => VirtualPeer, seed = 1) {
  const swarm = new TestSwarm(run)
  for (const name of HONEST) swarm.join(name)
  const asked = new Map<string, number>()
  const liar = disturb?.(swarm)
  if (liar !== undefined) {
    swarm.world.schedule(STARTED_MS, 'the lies', () => void lie(swarm, liar(), seed, asked))
  }
  const ended = HONEST.map((name) => swarm.peers.get(name)!.finished.catch(String))
  const outcomes = await swarm.world.run(Promise.all(ended), {
    waitingFor: 'the honest peers',
    untilMs: 1_800_000,
  })
  const steps = entriesOf(swarm.entries, 'step')
  return {
    swarm,
    outcomes,
    losses: new Map(steps.map(({ step, loss }) => [step, loss])),
    asked,
  }
}

/** A peer with the manifest that is in no roster. It says that it coordinates an incarnation with a million steps. */
function guest(swarm: TestSwarm): () => VirtualPeer {
  const peer = swarm.network.join('guest')
  const answer = { committed: 1_000_000, lineage: FIRST }
  serve(peer, supersede, { serve: async () => ({ answer }) }, () => {})
  return () => peer
}

/** A spare of the run, which joins when others hold every stage. */
function member(swarm: TestSwarm): () => VirtualPeer {
  swarm.world.schedule(STARTED_MS / 2, 'the liar joins', () => swarm.join('liar'))
  return () => swarm.peers.get('liar')!.network
}

let undisturbed: Awaited<ReturnType<typeof play>>
beforeAll(async () => {
  undisturbed = await play()
})

describe.each([
  ['guest', guest],
  ['member', member],
])('a %s that lies', (role, disturb) => {
  test.each([1, 2, 3, 4, 5, 6])('changes nothing, seed %i', async (seed) => {
    const { swarm, outcomes, losses, asked } = await play(disturb, seed)
    const told = swarm.entries
      .filter(({ type }) => !['refused', 'committed', 'copied', 'step', 'stored'].includes(type))
      .map((entry) => JSON.stringify(entry).slice(0, 300))
      .join('\n')
    expect(new Set(asked.keys()).size, 'procedures that were asked').toBe(PROCEDURES.length)
    for (const outcome of outcomes) {
      expect(outcome, told).toMatchObject({ committed: STEPS, failure: null })
    }
    for (const [step, loss] of undisturbed.losses) {
      expect(losses.get(step), `step ${step}\n${told}`).toBeCloseTo(loss, 5)
    }
    for (const type of ['incarnated', 'superseded', 'dropped', 'rollback'] as const) {
      const entries = entriesOf(swarm.entries, type).filter(({ peer }) => HONEST.includes(peer))
      expect(entries, `${role}: ${type}\n${told}`).toEqual([])
    }
  })
})

test('a member without a stage blames each holder for each microbatch, and nobody is blamed', async () => {
  const swarm = new TestSwarm(run)
  for (const name of HONEST) swarm.join(name)
  member(swarm)
  const blame = async () => {
    const liar = swarm.peers.get('liar')!.network
    const options = { network: liar, runId: RUN, signal: new AbortController().signal }
    for (;;) {
      await swarm.world.clock.sleep(100)
      const { roster } = (await fetchRoster(options, 'peer-1').catch(() => null)) ?? {}
      if (roster === undefined) continue
      const fence = { run: RUN, epoch: roster.fenceEpoch, step: roster.committed + 1 }
      for (const { id, stage } of roster.members) {
        if (stage === null) continue
        for (let index = 0; index < run.microbatches; index++) {
          const about = { index, attempt: 0, to: id, code: 'INTERNAL' as const, reason: 'a lie' }
          ask(liar, 'peer-1', report, { ...fence, ...about }, { timeoutMs: 5_000 }).catch(() => {})
        }
      }
    }
  }
  swarm.world.schedule(STARTED_MS, 'the lies', () => void blame())
  const ended = HONEST.map((name) => swarm.peers.get(name)!.finished)
  await swarm.world.run(Promise.all(ended), { waitingFor: 'the honest peers', untilMs: 600_000 })
  expect(entriesOf(swarm.entries, 'step')).toHaveLength(STEPS)
  expect(entriesOf(swarm.entries, 'lost')).toEqual([])
  expect(entriesOf(swarm.entries, 'aborted')).toEqual([])
})

test('a peer that asks to be let in, and never takes part, is turned away before it slows the run down', async () => {
  const swarm = new TestSwarm(run)
  for (const name of HONEST) swarm.join(name)
  const knock = async () => {
    const peer = swarm.network.join('silent')
    serve(peer, install, { serve: () => new Promise<never>(() => {}) }, () => {})
    peer.learn('peer-1', ['sim://peer-1'])
    const about = { addresses: [peer.address], domain: '', stage: null, resumes: false }
    for (let session = 1; ; session++) {
      const claims = { claim: 'last' as const, incarnation: RUN }
      const question = { run: RUN, session, ...about, ...claims }
      await ask(peer, 'peer-1', hello, question, { timeoutMs: 5_000 }).catch(() => {})
      await swarm.world.clock.sleep(500)
    }
  }
  swarm.world.schedule(STARTED_MS, 'the knocks', () => void knock())
  const ended = HONEST.map((name) => swarm.peers.get(name)!.finished)
  await swarm.world.run(Promise.all(ended), { waitingFor: 'the honest peers', untilMs: 600_000 })
  const letIn = entriesOf(swarm.entries, 'lost').filter(({ lost }) => lost === 'silent')
  expect(letIn).toHaveLength(ABSENCES.most + 1)
  const refused = entriesOf(swarm.entries, 'refused').filter(({ from }) => from === 'silent')
  expect(refused.at(-1)!.reason).toMatch(/did not take part/)
  expect(entriesOf(swarm.entries, 'step')).toHaveLength(STEPS)
})
