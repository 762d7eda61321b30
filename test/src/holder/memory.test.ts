/** The description of a node's memory plan. */
import { describe, expect, it } from 'vitest'
import { InputError } from '../../../src/base/errors.ts'
import { describePlan, planOf, refuseWhatCannotFit } from '../../../src/holder/memory.ts'
import { tinyRecovery, tinyRun } from '../../fixtures/swarm.ts'

const run = tinyRun()
const wide = tinyRun({
  model: { ...run.model, hiddenSize: 1 << 14, heads: 256, keyValueHeads: 256 },
})
const long = tinyRun({ microbatch: { batch: 64, context: 4096 } })

describe('a plan', () => {
  it('is told with all of its parts, which add up', () => {
    const text = describePlan(2, planOf(run, 2, 1))
    expect(text).toMatch(
      /^stage 2 will take about \d+ MB: weights \d+, gradient sums \d+, optimizer/,
    )
    const [peak, ...parts] = text.slice('stage 2'.length).match(/\d+/g)!.map(Number)
    const sum = parts.reduce((total, part) => total + part, 0)
    expect(Math.abs(sum - peak!)).toBeLessThanOrEqual(parts.length)
  })

  it('counts the state of the next stage where the policy has redundant, and says so', () => {
    const redundant = tinyRun({ recovery: tinyRecovery({ policy: ['redundant', 'copy'] }) })
    const [alone, both] = [run, redundant].map((each) => planOf(each, run.stages, 1))
    const ends = planOf(run, 0, 1)
    // Weights, sums, two moments and the incoming gradient of the ends, of which the last stage's holder is the understudy.
    expect(both!.peak - alone!.peak).toBe(5 * ends.weights + alone!.weights)
    expect(describePlan(4, both!)).toMatch(/, redundant state of the next stage \d+(,|$)/)
    expect(describePlan(4, alone!)).not.toMatch(/redundant/)
  })

  it('counts the copies that it makes and keeps, by the form in which they are kept', () => {
    const withPolicy = (policy: string[]) =>
      planOf(tinyRun({ recovery: tinyRecovery({ policy }) }), 1, 1)
    const { weights } = planOf(run, 1, 1)
    const ends = planOf(run, 0, 1).weights
    expect(withPolicy(['checkfree']).copies).toBe(0)
    // The ends' weights in float32: two copies are kept, and one arrives.
    expect(withPolicy(['checkfree+']).copies).toBe(3 * ends)
    const plan = withPolicy(['shadow'])
    // int8 with a scale for each block, and two moments of two bytes: its own copy, and three of another stage.
    const quarter = weights / 4
    const least = 2 * (quarter + 4 * Math.ceil(quarter / 64) + 4 * quarter)
    expect(plan.copies).toBeGreaterThan(least)
    expect(plan.copies).toBeLessThan(5 * Math.max(weights, ends) * 1.5)
    expect(describePlan(1, plan)).toMatch(/, copies of stages \d+$/)
  })

  it('counts the copy that is written to the disk, unless the run writes none', () => {
    const none = tinyRun({ recovery: tinyRecovery({ kept: { everySteps: 0 } }) })
    const [written, without] = [run, none].map((each) => planOf(each, 1, 1))
    expect(without!.disk).toBe(0)
    expect(written!.disk).toBe(written!.weights + written!.optimizer)
    expect(written!.peak - without!.peak).toBe(written!.disk)
  })

  it('that fits is let through, one byte less is not', () => {
    const { peak, process } = planOf(run, 1, 1)
    refuseWhatCannotFit(run, 1, 1, peak - process)
    expect(() => refuseWhatCannotFit(run, 1, 1, peak - process - 1)).toThrow(InputError)
  })

  it('names the figure, what there is, and what to change: the largest part', () => {
    expect(() => refuseWhatCannotFit(wide, 3, 1, 1e9)).toThrow(
      /^stage 3 will take about \d+ MB: .*Only 1000 MB are free here: .*more --stages/,
    )
    expect(() => refuseWhatCannotFit(long, 3, 1, 1e6)).toThrow(/fewer --microbatches|--context/)
  })

  it('of any stage is that of the larger kind', () => {
    const [ends, body] = [0, 1].map((stage) => planOf(wide, stage, 1))
    const largest = Math.max(...[ends!, body!].map(({ peak, process }) => peak - process))
    refuseWhatCannotFit(wide, null, 1, largest)
    expect(() => refuseWhatCannotFit(wide, null, 1, largest - 1)).toThrow(
      /another stage by --stage/,
    )
  })
})
