/** A departing peer with time to leave hands its stage on first. No microbatch is driven twice because of it. */
import { describe, expect, test } from 'vitest'
import type { Departure } from '../../src/node/leave-run.ts'
import { entriesOf, tinyRecovery, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STEPS = 8
const run = tinyRun({ steps: STEPS })
const NOTICE: Departure = { reason: 'the spot instance is taken back', withinMs: 120_000 }

/** Starts peers. Peers 1 to 5 take the stages in the order of joining, and later peers are spares. */
function started(peers: number, signals: ReadonlyMap<string, AbortSignal>): TestSwarm {
  const swarm = new TestSwarm(run)
  for (let i = 1; i <= peers; i++) {
    const signal = signals.get(`peer-${i}`)
    swarm.join(`peer-${i}`, signal ? { signal } : {})
  }
  return swarm
}

/** Runs a swarm whose `leaver` gets a notice at a moment of the third step. */
async function drained(leaver: string, peers: number, share: number) {
  const leaving = new AbortController()
  const swarm = started(peers, new Map([[leaver, leaving.signal]]))
  const stepsAt: number[] = []
  swarm.onEntry((entry) => {
    if (entry.type !== 'step' || entry.peer !== 'peer-1') return
    stepsAt.push(entry.at)
    if (stepsAt.length !== 2) return
    const after = share * (stepsAt[1]! - stepsAt[0]!)
    swarm.world.schedule(after, 'a notice comes', () => leaving.abort(NOTICE))
  })
  await swarm.end()
  return swarm
}

describe('ten notices at ten moments of a step', () => {
  test.each(Array.from({ length: 10 }, (_, i) => i))(
    'at moment %i: nothing is driven again, and the stage is held before its holder has gone',
    async (moment) => {
      // The leaver holds each body stage and the ends in turn.
      const leaver = `peer-${2 + (moment % 4)}`
      const swarm = await drained(leaver, 7, moment / 10)
      expect(entriesOf(swarm.entries, 'amended')).toEqual([])
      expect(entriesOf(swarm.entries, 'aborted')).toEqual([])
      expect(entriesOf(swarm.entries, 'lost')).toEqual([])
      const gone = entriesOf(swarm.entries, 'finished').find(({ peer }) => peer === leaver)!
      const [handed] = entriesOf(swarm.entries, 'held').filter(({ cause }) => cause === 'replica')
      expect(handed!.at).toBeLessThanOrEqual(gone.at)
      expect(gone.committed).toBeLessThan(STEPS)
      expect(gone).toMatchObject({ left: true, failure: null })
      const steps = entriesOf(swarm.entries, 'step').map(({ step }) => step)
      expect(steps).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1))
      for (const { counted } of entriesOf(swarm.entries, 'step')) {
        expect(counted).toEqual([3, 3, 3, 3, 3])
      }
    },
  )
})

test('a coordinator that leaves hands its stage and its office on; the run goes on under the next', async () => {
  const swarm = await drained('peer-1', 7, 0.5)
  expect(entriesOf(swarm.entries, 'lost')).toEqual([])
  const elected = entriesOf(swarm.entries, 'elected').map(({ coordinator }) => coordinator)
  expect(new Set(elected)).toEqual(new Set(['peer-2']))
  const steps = entriesOf(swarm.entries, 'step')
  expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1))
  expect(steps.at(-1)!.peer).toBe('peer-2')
})

test('a leaver whose stage nobody can take works on, until a joiner comes', async () => {
  const leaving = new AbortController()
  const swarm = started(5, new Map([['peer-3', leaving.signal]]))
  let told = false
  swarm.onEntry((entry) => {
    if (told || entry.type !== 'step' || entry.step !== 3) return
    told = true
    leaving.abort(NOTICE)
    swarm.world.schedule(1_000, 'a joiner comes', () => {
      swarm.join('peer-6')
    })
  })
  // The function `end` would not wait for peers that join later.
  await swarm.world.run(swarm.peers.get('peer-1')!.finished, {
    waitingFor: 'the coordinator to end',
    untilMs: 600_000,
  })
  expect(entriesOf(swarm.entries, 'lost')).toEqual([])
  const [handed] = entriesOf(swarm.entries, 'held').filter(({ cause }) => cause === 'replica')
  expect(handed).toMatchObject({ by: 'peer-6', stage: 2 })
})

describe('five notices of nine in one burst', () => {
  // All holders of stages 1, 2 and 4. The spare and the second holder of the ends can take two of them.
  const LEAVERS = ['peer-2', 'peer-3', 'peer-5', 'peer-7', 'peer-8']
  const burst = tinyRun({
    steps: 60,
    recovery: tinyRecovery({ policy: ['shadow', 'checkfree', 'random'] }),
  })

  test.each([
    ['come after 5 s', 5_000],
    ['come after 120 s', 120_000],
    ['never come', null],
  ])(
    'replacements %s: all that were told leave in time, and the others keep their majority',
    async (_, afterMs) => {
      const leaving = new AbortController()
      const swarm = new TestSwarm(burst, { computeMs: () => 200 })
      for (let i = 1; i <= 9; i++) {
        const name = `peer-${i}`
        swarm.join(name, LEAVERS.includes(name) ? { signal: leaving.signal } : {})
      }
      let toldAt = 0
      swarm.onEntry((entry) => {
        if (toldAt > 0 || entry.type !== 'step' || entry.step !== 9) return
        toldAt = entry.at
        leaving.abort(NOTICE)
        // The machines are gone when their time is over.
        swarm.world.schedule(NOTICE.withinMs!, 'the machines are taken back', () => {
          for (const name of LEAVERS) if (swarm.peers.has(name)) swarm.kill(name)
        })
        if (afterMs === null) return
        swarm.world.schedule(afterMs, 'replacements come', () => {
          for (let i = 10; i <= 14; i++) swarm.join(`peer-${i}`)
        })
      })
      const outcome = swarm.peers.get('peer-1')!.finished
      if (afterMs !== null) {
        await swarm.world.run(outcome, { waitingFor: 'the run to end', untilMs: 3_600_000 })
        expect(await outcome).toMatchObject({ failure: null, committed: 60 })
      } else {
        await swarm.world.run(swarm.world.clock.sleep(600_000), {
          waitingFor: 'ten minutes',
          untilMs: 700_000,
        })
      }
      const gone = entriesOf(swarm.entries, 'finished').filter(({ peer }) => LEAVERS.includes(peer))
      expect(gone.map(({ peer }) => peer).sort()).toEqual(LEAVERS)
      for (const { at } of gone) expect(at).toBeLessThan(toldAt + NOTICE.withinMs!)
      const reasons = entriesOf(swarm.entries, 'waiting').map(({ reason }) => reason)
      expect(reasons.filter((reason) => reason.includes('ajority'))).toEqual([])
      const { members } = entriesOf(swarm.entries, 'roster').at(-1)!.roster
      expect(members.some(({ peer }) => LEAVERS.includes(peer))).toBe(false)
    },
  )
})
