/** A coordinator with a fault of its own gives up the coordination. The run goes on under another member. */
import { expect, test } from 'vitest'
import { InputError } from '../../src/base/errors.ts'
import { createJournal, type Entry } from '../../src/base/journal.ts'
import { STEP_DOWNS_MAX } from '../../src/base/limits.ts'
import type { Finished } from '../../src/membership/member-events.ts'
import { entriesOf, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STEPS = 8
const FAULTY_STEP = 3
const run = tinyRun({ steps: STEPS })
const PEERS = ['peer-1', 'peer-2', 'peer-3', 'peer-4', 'peer-5', 'peer-6']

/** True for the entry of the step that the founder makes, and for the first entry of any other coordinator. */
function isOfCoordinator({ peer, ...entry }: Entry): boolean {
  if (peer === 'peer-1') return entry.type === 'step' && entry.step === FAULTY_STEP
  return entry.type === 'roster'
}

/** Plays a swarm. The peers of `faults` cannot journal an entry of a coordinator: that is a fault of each. */
async function played(faults: ReadonlyMap<string, Error>) {
  const swarm = new TestSwarm(run)
  const own: Entry[] = []
  const ends = PEERS.map((name) => {
    const fault = faults.get(name)
    if (fault === undefined) return swarm.join(name).finished
    const sink = (entry: Entry) => {
      if (isOfCoordinator(entry)) throw fault
      own.push(entry)
    }
    const journal = createJournal(name, () => swarm.world.clock.now(), [sink])
    return swarm.join(name, { journal }).finished
  })
  const settled: Promise<PromiseSettledResult<Finished>[]> = Promise.allSettled(ends)
  const results = await swarm.world.run(settled, { waitingFor: 'all to end', untilMs: 600_000 })
  const entries = [...swarm.entries, ...own].sort((a, b) => a.at - b.at)
  return { entries, results }
}

function faulty(names: readonly string[], of: (name: string) => Error): Map<string, Error> {
  return new Map(names.map((name) => [name, of(name)]))
}

const done = { committed: STEPS, failure: null }

test('a bug costs the coordinator its office, and it keeps its stage: nothing is rebuilt', async () => {
  const { entries, results } = await played(faulty(['peer-1'], () => new TypeError('a bug')))
  expect(results.map((result) => result.status === 'fulfilled' && result.value)).toEqual(
    PEERS.map(() => done),
  )
  expect(entriesOf(entries, 'lost')).toEqual([])
  expect(entriesOf(entries, 'held').filter(({ cause }) => cause === 'lost')).toEqual([])
  // The step was committed when the fault came. Its record is all that is lost.
  const steps = entriesOf(entries, 'step')
  expect(steps.map(({ step }) => step)).toEqual([1, 2, 4, 5, 6, 7, 8])
  expect(steps.at(-1)!.peer).toBe('peer-2')
  const elected = entriesOf(entries, 'elected')
  expect(elected.map(({ peer }) => peer).sort()).toEqual(PEERS)
  for (const { reason } of elected)
    expect(reason).toContain('the coordinator steps down (peer-1): a bug')
  const notice = entriesOf(entries, 'notice').find(({ peer }) => peer === 'peer-1')
  expect(notice!.message).toContain('this peer has a fault of its own')
})

test('a coordinator whose user must mend something hands office and stage over, and ends with the remedy', async () => {
  const remedy = new InputError('text.txt does not exist. Copy it to this machine.')
  const { entries, results } = await played(faulty(['peer-1'], () => remedy))
  const [first, ...others] = results
  expect(first).toEqual({ status: 'rejected', reason: remedy })
  for (const other of others) expect(other).toEqual({ status: 'fulfilled', value: done })
  expect(entriesOf(entries, 'lost')).toEqual([])
  const handed = entriesOf(entries, 'held').filter(({ cause }) => cause === 'replica')
  expect(handed).toMatchObject([{ stage: 0, by: 'peer-6' }])
})

test('a fault that every coordinator has ends the run, with the reason of each', async () => {
  const faults = faulty(PEERS, (name) => new Error(`${name} is broken`))
  const { entries, results } = await played(faults)
  for (const result of results) {
    const { failure, committed } = (result as PromiseFulfilledResult<Finished>).value
    for (let i = 1; i <= STEP_DOWNS_MAX; i++) expect(failure).toContain(`peer-${i} is broken`)
    expect(failure).not.toContain(`peer-${STEP_DOWNS_MAX + 1}`)
    expect(committed).toBe(FAULTY_STEP)
  }
  expect(new Set(entriesOf(entries, 'elected').map(({ coordinator }) => coordinator)).size).toBe(
    STEP_DOWNS_MAX - 1,
  )
})
