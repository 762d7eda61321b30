/** Two members that cannot talk to each other, while the coordinator reaches both. */
import { describe, expect, test } from 'vitest'
import type { Disturbance } from '../../sim/world/disturbance.ts'
import { entriesOf, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STAGES = 2
const STEPS = 60
/** Time for which a link is broken, in milliseconds. */
const BROKEN_MS = 120_000
/** Longest time from the break until the next step: two probes each of the link and of the witnesses, and a new replica. */
const MENDED_MS = 30_000

const run = tinyRun({
  stages: STAGES,
  steps: STEPS,
  spares: 0,
  microbatches: 4,
  model: { ...tinyRun().model, layers: STAGES },
})

/** Starts peers 1 to `count`. The holders of stages 0 to 2 are those of a swarm that is not disturbed. */
function started(count: number, options = {}) {
  const swarm = new TestSwarm({ ...run, spares: Math.max(0, count - STAGES - 1) }, options)
  for (let i = 1; i <= count; i++) swarm.join(`peer-${i}`)
  return swarm
}

/** Disturbs the swarm from the third step on, for a time. @param of makes the disturbance for the holders by stage */
function breakLinks(swarm: TestSwarm, of: (holders: readonly string[]) => Disturbance) {
  const when = { brokenAt: Number.POSITIVE_INFINITY, holders: [] as string[] }
  let holders: string[] = []
  swarm.onEntry((entry) => {
    if (entry.type === 'roster') {
      const held = entry.roster.members.filter(({ stage, ready }) => stage !== null && ready)
      holders = held.sort((a, b) => a.stage! - b.stage!).map(({ peer }) => peer)
    }
    if (entry.type !== 'step' || entry.step !== 3 || when.brokenAt < Infinity) return
    when.brokenAt = swarm.world.clock.now()
    when.holders = holders
    const heal = swarm.network.disturb(of(holders))
    swarm.world.schedule(BROKEN_MS, 'the link works again', heal)
  })
  return when
}

function between(swarm: TestSwarm, from: number, to: number) {
  return swarm.entries.filter(({ at }) => at > from && at < to)
}

describe('a link between two holders that is broken in one direction', () => {
  test('a spare takes one end over, exactly, and all members read why', async () => {
    const swarm = started(4)
    const when = breakLinks(
      swarm,
      (holders) => (from, to) => (from === holders[1] && to === holders[2] ? 'blocked' : undefined),
    )
    await swarm.end(600_000)
    const { brokenAt, holders } = when
    const after = between(swarm, brokenAt, brokenAt + BROKEN_MS)
    const next = entriesOf(after, 'step').find(({ step }) => step > 4)!
    expect(next.at - brokenAt).toBeLessThan(MENDED_MS)
    // The stage is copied as it is: nobody is lost, and nothing is rebuilt from neighbours.
    expect(entriesOf(swarm.entries, 'lost')).toEqual([])
    expect(entriesOf(after, 'held')).toMatchObject([{ cause: 'replica', stage: 2 }])
    expect(entriesOf(swarm.entries, 'step').at(-1)!.step).toBe(STEPS)
    for (const name of ['peer-1', 'peer-2', 'peer-3', 'peer-4']) {
      const told = entriesOf(after, 'notice').filter(({ peer }) => peer === name)
      const words = told.map(({ message }) => message).join('\n')
      expect(words).toContain(`${holders[2]} (stage 2) is to give its stage to a spare`)
      expect(words).toContain(`${holders[1]} (stage 1)`)
    }
  })

  test('without a spare the run waits, says so, and goes on when the link works again', async () => {
    const swarm = started(3)
    const when = breakLinks(
      swarm,
      (holders) => (from, to) => (from === holders[1] && to === holders[2] ? 'blocked' : undefined),
    )
    await swarm.end(600_000)
    const { brokenAt } = when
    const healed = brokenAt + BROKEN_MS
    expect(entriesOf(between(swarm, brokenAt + 1_000, healed), 'step')).toEqual([])
    expect(entriesOf(swarm.entries, 'lost')).toEqual([])
    const back = entriesOf(swarm.entries, 'step').find(({ at }) => at > healed)!
    expect(back.at - healed).toBeLessThan(20_000)
    expect(entriesOf(swarm.entries, 'step').at(-1)!.step).toBe(STEPS)
  })
})

test('a holder that only the coordinator reaches loses its stage to a spare', async () => {
  const swarm = started(5)
  const when = breakLinks(swarm, (holders) => (from, to) => {
    const isCut = (a: string, b: string) => a === holders[2] && b !== holders[0]
    return isCut(from, to) || isCut(to, from) ? 'blocked' : undefined
  })
  await swarm.end(600_000)
  const { brokenAt, holders } = when
  const after = between(swarm, brokenAt, brokenAt + BROKEN_MS)
  expect(entriesOf(after, 'lost')).toMatchObject([{ lost: holders[2], stage: 2 }])
  const next = entriesOf(after, 'step').find(({ step }) => step > 4)!
  expect(next.at - brokenAt).toBeLessThan(MENDED_MS)
  const dropped = entriesOf(after, 'dropped').find(({ peer }) => peer === holders[2])!
  expect(dropped.reason).toContain('do not reach each other')
})

describe('a newcomer that nobody can dial', () => {
  /** Blocks the first message of each connection to these peers. */
  const undialable =
    (peers: readonly string[], dialers: (from: string) => boolean = () => true): Disturbance =>
    (from, to, kind) =>
      kind === 'handshake' && peers.includes(to) && dialers(from) ? 'blocked' : undefined

  test('takes a stage if it can dial its neighbours itself', async () => {
    const swarm = new TestSwarm(run)
    swarm.network.disturb(undialable(['peer-3']))
    for (let i = 1; i <= 3; i++) swarm.join(`peer-${i}`)
    await swarm.end(600_000)
    expect(entriesOf(swarm.entries, 'step').at(-1)!.step).toBe(STEPS)
    expect(entriesOf(swarm.entries, 'amended')).toEqual([])
    expect(entriesOf(swarm.entries, 'aborted')).toEqual([])
  })

  test('stays a spare while neither end reaches the other, all read why, and it is asked again', async () => {
    const swarm = new TestSwarm(run)
    const pair = ['peer-3', 'peer-2']
    const heal = swarm.network.disturb(undialable(pair, (from) => pair.includes(from)))
    for (let i = 1; i <= 3; i++) swarm.join(`peer-${i}`)
    swarm.world.schedule(BROKEN_MS, 'they reach each other', heal)
    await swarm.end(900_000)
    const before = swarm.entries.filter(({ at }) => at < BROKEN_MS)
    expect(entriesOf(before, 'step')).toEqual([])
    expect(entriesOf(swarm.entries, 'lost')).toEqual([])
    for (const name of ['peer-1', 'peer-2', 'peer-3']) {
      const told = entriesOf(before, 'notice').filter(({ peer }) => peer === name)
      expect(told.map(({ message }) => message).join('\n')).toMatch(
        /peer-. gets no stage beside peer-. for 30 s: peer-. cannot reach peer-./,
      )
    }
    expect(entriesOf(swarm.entries, 'step').at(-1)!.step).toBe(STEPS)
  })
})
