/**
 * Recommends a strategy under each failure process, with the difference to the others and its certainty. Strategies meet
 * the same failures and data under the same seed. The comparison is therefore seed by seed. A hard seed costs all
 * strategies, so it adds no doubt about which strategy is better.
 */

import { inUnit, listed, significant, timeUnit, withMargin } from './report/format.ts'
import type { Recommendation, Results, TrialResult } from './results.ts'
import { type Estimate, estimate } from './statistics.ts'

/** A strategy with its trials under one failure process. */
interface Candidate {
  readonly strategy: string
  readonly trials: readonly TrialResult[]
}

/** A value by which strategies are compared; null if a trial has none. Lower values are better. */
type Measure = (trial: TrialResult) => number | null

/** Words in which differences of one measure are stated. */
interface Words {
  readonly amount: (value: Pick<Estimate, 'mean' | 'margin'>) => string
  readonly less: string
  readonly more: string
  /** Verb of a comparison: "a is 3 h sooner than b". */
  readonly verb: string
}

const CALM = 'Nothing was lost, so the strategies differ by the cost of their upkeep only.'

/** One recommendation for each failure process, in the order of the results. */
export function recommend({
  failures,
  trials,
  targetLoss,
}: Pick<Results, 'failures' | 'trials' | 'targetLoss'>): Recommendation[] {
  return failures.map(({ name }) => {
    const own = trials.filter((trial) => trial.failures === name)
    const { strategy, sentence } = choice(candidatesOf(own), targetLoss)
    const isCalm = own.length > 0 && own.every(({ losses }) => losses.length === 0)
    return { failures: name, strategy, sentence: isCalm ? `${CALM} ${sentence}` : sentence }
  })
}

/**
 * Strategies that were disturbed. A strategy is a baseline if it lost nothing although another strategy lost something by
 * the same hour of the same seed. The recommendation compares the others with a baseline but never chooses it.
 */
function candidatesOf(trials: readonly TrialResult[]): Candidate[] {
  const groups = Map.groupBy(trials, ({ strategy }) => strategy)
  const spared = (trial: TrialResult) =>
    trials.some(
      ({ seed, losses }) => seed === trial.seed && losses.some(({ hours }) => hours < trial.hours),
    )
  return [...groups]
    .filter(([, own]) => own.some(({ losses }) => losses.length > 0) || !own.some(spared))
    .map(([strategy, own]) => ({ strategy, trials: own }))
}

function choice(
  candidates: readonly Candidate[],
  targetLoss: number | null,
): Omit<Recommendation, 'failures'> {
  const hours: Measure = ({ reached }) => reached?.hours ?? null
  const finalLoss: Measure = (trial) => trial.finalLoss
  const soonest = ranked(candidates, hours)
  if (targetLoss !== null && soonest.length > 0) {
    const target = `a loss of ${significant(targetLoss)}`
    const [best] = soonest
    const words: Words = {
      amount: timeText,
      less: 'sooner',
      more: 'later',
      verb: 'is',
    }
    return {
      strategy: best!.strategy,
      sentence: raised(adviceOf(candidates, soonest, hours, words, `reaches ${target} after`)),
    }
  }
  const lowest = ranked(candidates, finalLoss)
  if (lowest.length === 0) return choiceByGoodput(candidates)
  const words: Words = { amount: withMargin, less: 'lower', more: 'higher', verb: 'is' }
  const why =
    targetLoss === null
      ? ''
      : `No strategy reached a loss of ${significant(targetLoss)} within the budget. `
  const advice = adviceOf(candidates, lowest, finalLoss, words, 'ends at a loss of')
  return { strategy: lowest[0]!.strategy, sentence: `${why}By the final loss, ${advice}` }
}

/** Chooses the strategy that loses the least time, for trials without learning. */
function choiceByGoodput(candidates: readonly Candidate[]): Omit<Recommendation, 'failures'> {
  if (candidates.length === 0) return { strategy: null, sentence: 'No strategy was tried.' }
  const lost: Measure = ({ goodput }) => 1 - goodput
  const least = ranked(candidates, lost)
  const percent = { name: '%', perStored: 100 }
  const words: Words = {
    amount: (value) => `${withMargin(inUnit(value, percent))} %`,
    less: 'less',
    more: 'more',
    verb: 'loses',
  }
  const advice = adviceOf(candidates, least, lost, words, 'loses a share of time of')
  return {
    strategy: least[0]!.strategy,
    sentence: `No loss was evaluated. By goodput, ${advice}`,
  }
}

function timeText(value: Pick<Estimate, 'mean' | 'margin'>): string {
  const unit = timeUnit(Math.max(value.mean, Number.isFinite(value.margin) ? value.margin : 0))
  return `${withMargin(inUnit(value, unit))} ${unit.name}`
}

function raised(sentence: string): string {
  return sentence[0]!.toUpperCase() + sentence.slice(1)
}

/** Orders the strategies that have the measure: first by the number of seeds that have it, then by its mean. */
function ranked(candidates: readonly Candidate[], measure: Measure): Candidate[] {
  const share = (each: Candidate) => valuesOf(each, measure).length / each.trials.length
  return candidates
    .filter((each) => share(each) > 0)
    .sort((a, b) => share(b) - share(a) || meanOf(a, measure) - meanOf(b, measure))
}

/** Sentences on the best strategy and on its difference to the next one. */
function adviceOf(
  candidates: readonly Candidate[],
  [best, ...others]: readonly Candidate[],
  measure: Measure,
  words: Words,
  does: string,
): string {
  const amount = words.amount(estimate(valuesOf(best!, measure)))
  const { strategy } = best!
  const leader = `use ${strategy}, which ${does} ${amount} (${seedsOf(best!, measure)}).`
  if (candidates.length === 1) return `${leader} No other strategy was tried.`
  if (others.length === 0) return `${leader} No other strategy has such a value.`
  const [closest, ...more] = others.filter((other) => tied(best!, other, measure))
  if (closest === undefined) {
    const { name, by, sure } = ahead(best!, others[0]!, measure, words)
    if (by === null) return `${leader} The next strategy is ${name}.`
    return `${leader} ${raised(strategy)} ${words.verb} ${by} than ${name} (${sure}).`
  }
  const { by, sure } = ahead(best!, closest, measure, words)
  const apart = `The results do not tell ${strategy} from ${closest.strategy} (${by}, ${sure}).`
  if (more.length === 0) return `${leader} ${apart}`
  return `${leader} ${apart} The same holds for ${listed(more.map((each) => each.strategy))}.`
}

/**
 * True if the difference may be zero. A strategy that has the measure in fewer seeds ranks lower, whatever the means are.
 */
function tied(best: Candidate, other: Candidate, measure: Measure): boolean {
  if (valuesOf(other, measure).length < valuesOf(best, measure).length) return false
  const { mean, margin, count } = difference(best, other, measure)
  return count > 1 && mean - margin <= 0
}

/** States the lead of the first strategy over the other, with its certainty; null if no seed has both values. */
function ahead(best: Candidate, other: Candidate, measure: Measure, words: Words) {
  const { mean, margin, count } = difference(best, other, measure)
  const few = valuesOf(other, measure).length < valuesOf(best, measure).length
  const name = few ? `${other.strategy} (${seedsOf(other, measure)})` : other.strategy
  const sure =
    count === 1 ? 'one seed, so the uncertainty is not known' : `95 % interval over ${count} seeds`
  const amount = words.amount({ mean: Math.abs(mean), margin })
  const by = count === 0 ? null : `${amount} ${mean < 0 ? words.more : words.less}`
  return { name, by, sure }
}

function seedsOf(candidate: Candidate, measure: Measure): string {
  const all = candidate.trials.length
  return `${valuesOf(candidate, measure).length} of ${all} ${all === 1 ? 'seed' : 'seeds'}`
}

/** Difference of the other strategy less the better one, over the seeds in which both have the measure. */
function difference(best: Candidate, other: Candidate, measure: Measure): Estimate {
  const bySeed = new Map(best.trials.map((trial) => [trial.seed, measure(trial)]))
  const differences = other.trials.flatMap((trial) => {
    const [less, more] = [bySeed.get(trial.seed) ?? null, measure(trial)]
    return less === null || more === null ? [] : [more - less]
  })
  return estimate(differences)
}

function valuesOf({ trials }: Candidate, measure: Measure): number[] {
  return trials.flatMap((trial) => measure(trial) ?? [])
}

function meanOf(candidate: Candidate, measure: Measure): number {
  return estimate(valuesOf(candidate, measure)).mean
}
