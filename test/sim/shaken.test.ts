/**
 * A history is a function of its seed on every processor. If all floats are rounded differently, the same events happen at
 * the same virtual times, and losses differ in their last digits.
 */
import { beforeAll, expect, test } from 'vitest'
import { DEFAULT_COSTS, type History, play } from '../../sim/scenario.ts'
import { shakenBy } from '../../sim/world/shaken-stage.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { entriesOf, tinyCorpus, tinyRecovery, tinyRun } from '../fixtures/swarm.ts'

const STEPS = 12
const SEEDS = [1, 2, 3]

/** One byte more shifts virtual time by 0.005 ms. */
const LINK = { latencyMs: 20, bytesPerMs: 200 }

/** Members of an entry that follow from floats which a stage computed. */
const COMPUTED = /^(loss|norm|gradientScale)/

/** Plays a run with evaluations and checkpoints. One stage is averaged, and one at the edge goes back to a checkpoint. */
async function played(wrap: (stage: AnyStage) => AnyStage): Promise<History> {
  const recovery = tinyRecovery({
    policy: ['checkfree', 'checkpoint'],
    checkpoint: { everySteps: 3, mode: 'lazy' },
  })
  return play({
    run: tinyRun({ steps: STEPS, recovery, evaluation: { everySteps: 4, microbatches: 2 } }),
    corpus: tinyCorpus(),
    spares: 1,
    deaths: [
      { step: 4, stage: 2 },
      { step: 8, stage: 1 },
    ],
    replaced: true,
    link: LINK,
    costMs: DEFAULT_COSTS,
    limitMs: 3_600_000,
    wrap,
  })
}

/** The events and their times, without computed numbers. */
function shapeOf({ entries }: History): unknown {
  return JSON.parse(
    JSON.stringify(entries, (name, value) => (COMPUTED.test(name) ? 'computed' : value)),
  )
}

const lossesOf = ({ entries }: History) => entriesOf(entries, 'step').map(({ loss }) => loss)

let own: History

beforeAll(async () => {
  own = await played((stage) => stage)
})

test('the history loses two stages, recovers both and ends', () => {
  expect(own.finished).toEqual({ committed: STEPS, failure: null })
  expect(entriesOf(own.entries, 'held').filter(({ cause }) => cause === 'lost')).toHaveLength(2)
})

test.each(SEEDS)(
  'on machine %d the same events happen at the same times, with other losses',
  async (seed) => {
    const other = await played((stage) => shakenBy(seed, stage))
    const [losses, expected] = [lossesOf(other), lossesOf(own)]
    // One unit in the last place of a float32 is 6e-8; twelve updates of Adam make some hundred of them.
    expect(losses).toBeAllclose(expected, { relative: 1e-4 })
    expect(losses).not.toEqual(expected)
    expect(shapeOf(other)).toEqual(shapeOf(own))
  },
)
