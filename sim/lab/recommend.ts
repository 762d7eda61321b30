/**
 * Which strategy to use under each failure process, by how much, and how sure that is. Strategies meet the same failures
 * and data under the same seed, so they are compared seed by seed: what a hard seed costs all of them is no doubt about
 * which is better.
 */

import { inUnit, listed, significant, timeUnit, withMargin } from './report/format.ts'
import type { Recommendation, Results, TrialResult } from './results.ts'
import { type Estimate, estimate } from './statistics.ts'

/** A strategy with its trials under one failure process. */
interface Candidate {
  readonly strategy: string
  readonly trials: readonly TrialResult[]
}

/** What strategies are compared by: less of it is better, null where a trial has none. */
type Measure = (trial: TrialResult) => number | null

/** Numbers of one measure in words. */
interface Words {
  readonly amount: (value: Pick<Estimate, 'mean' | 'margin'>) => string
  readonly less: string
  readonly more: string
  /** Verb of a comparison: "a is 3 h sooner than b". */
  readonly verb: string
}

const CALM = 'Nothing was lost, so the strategies differ by the cost of their upkeep only.'

/** One for each failure process, in the order of the results. */
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
 * Those that were disturbed. A strategy which lost nothing while another had lost something by the same hour of the same
 * seed is what the others are held against, and cannot be chosen.
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

/** Where nothing is learnt, the best is the one that loses the least time. */
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

/** Those that have the measure at all: the ones first that have it under more seeds, then the better ones. */
function ranked(candidates: readonly Candidate[], measure: Measure): Candidate[] {
  const share = (each: Candidate) => valuesOf(each, measure).length / each.trials.length
  return candidates
    .filter((each) => share(each) > 0)
    .sort((a, b) => share(b) - share(a) || meanOf(a, measure) - meanOf(b, measure))
}

/** Sentences on the best strategy and on its distance from the next one. */
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

/** Whether the difference may be none. One that has the measure under fewer seeds is behind, whatever the means say. */
function tied(best: Candidate, other: Candidate, measure: Measure): boolean {
  if (valuesOf(other, measure).length < valuesOf(best, measure).length) return false
  const { mean, margin, count } = difference(best, other, measure)
  return count > 1 && mean - margin <= 0
}

/** How far the first is before the other, null if no seed has both, and how sure that is. */
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

/** Of the other less the better one, over the seeds in which both have the measure. */
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
