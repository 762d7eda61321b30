/** What the paper claims (arXiv 2506.15461), each held against our results: its number, ours, and whether it holds. */
import { type Estimate, estimate } from '../strategies/statistics.ts'
import { withMargin } from './report/format.ts'
import type { Claim, Results, TrialResult } from './results.ts'

export interface Evidence {
  /** Time to the target by the paper's hourly rates. */
  readonly main: Results
  /** Its settings one by one, edges exempt. */
  readonly ablation: Results
  /** Without failures. */
  readonly calm: Results
  /** Failures that come together. */
  readonly bursts: Results
}

interface Finding {
  readonly ours: string
  readonly verdict: Claim['verdict']
  readonly why: string
}

interface Row {
  readonly claim: string
  readonly paper: string
  readonly judge: (evidence: Evidence) => Finding
}

const ABLATION = '16 %, edges exempt'

const ROWS: readonly Row[] = [
  {
    claim:
      'An average weighted by gradient norms is better than a copy, a copy better than random weights',
    paper: 'perplexity 22.6, 29.2, 121.0 after 10,000 iterations at 16 %, edges exempt',
    judge: ({ ablation }) =>
      chain([
        ['copy over checkfree', differences(ablation, ABLATION, 'copy', 'checkfree', finalLoss)],
        ['random over copy', differences(ablation, ABLATION, 'random', 'copy', finalLoss)],
      ]),
  },
  {
    claim: 'Weights by gradient norm beat the plain mean',
    paper: 'a curve, no number (Fig. 2)',
    judge: ({ ablation }) =>
      chain([
        [
          'uniform over checkfree',
          differences(ablation, ABLATION, 'uniform', 'checkfree', finalLoss),
        ],
      ]),
  },
  {
    claim: "Raising a recovered stage's learning rate by 1.1 helps",
    paper: 'no ablation',
    judge: ({ ablation }) =>
      chain([
        [
          'no bump over bump',
          differences(ablation, ABLATION, 'checkfree, no bump', 'checkfree', finalLoss),
        ],
      ]),
  },
  {
    claim: 'A fresh optimizer is as good as moments averaged from the neighbours',
    paper: 'not tested',
    judge: ({ ablation }) => {
      const more = differences(
        ablation,
        ABLATION,
        'checkfree',
        'checkfree, averaged moments',
        finalLoss,
      )
      const worse = more.mean - more.margin > 0
      return {
        ours: `fresh over averaged: ${said(more)} nats`,
        verdict: decided(more) ? (worse ? 'not held' : 'held') : 'not decidable',
        why: decided(more)
          ? 'the interval excludes 0'
          : 'the interval includes 0: neither is shown to be better',
      }
    },
  },
  {
    claim: 'The swap makes the twins of the edges alike, so that an edge can be copied',
    paper: 'qualitative',
    judge: ({ main }) => {
      const spike = (strategy: string) =>
        estimate(
          main.trials
            .filter((trial) => trial.strategy === strategy)
            .flatMap(({ recoveries }) => recoveries)
            .filter(({ stage }) => stage === 1 || stage === 6)
            .flatMap(({ lossBefore, lossAfter }) =>
              lossBefore === null || lossAfter === null ? [] : [lossAfter - lossBefore],
            ),
        )
      const [swapped, plain] = [spike('checkfree+'), spike('checkfree')]
      const apart = plain.mean - plain.margin > swapped.mean + swapped.margin
      return {
        ours: `loss of the first step after an edge was copied: ${said(swapped)} nats more with the swap, ${said(plain)} without`,
        verdict: apart ? 'held' : 'not decidable',
        why: apart ? 'the intervals do not meet' : 'the intervals meet',
      }
    },
  },
  {
    claim: 'Without failures, the swap slows learning',
    paper: 'a curve, no number (Fig. 4c)',
    judge: ({ ablation }) =>
      chain([
        ['swapped over plain', differences(ablation, 'none', 'checkfree+', 'none', finalLoss)],
      ]),
  },
  {
    claim: 'CheckFree+ needs no more iterations than CheckFree',
    paper:
      '14,000, 14,500, 18,000 against 14,500, 16,000, 22,000 at 5, 10, 16 % (edges exempt for CheckFree)',
    judge: ({ main }) => {
      const all = ratios(main, 'checkfree+', 'checkfree', iterations)
      return {
        ours: `checkfree+ over checkfree: ${listed(all)}`,
        ...verdictOf(all.map(({ value }) => side(value, 1, true))),
      }
    },
  },
  {
    claim:
      'Both are faster than redundant computation at 5 %, CheckFree+ at 10 % too, neither at 16 %',
    paper: 'CheckFree 0.877, 0.967, 1.342 and CheckFree+ 0.846, 0.877, 1.098 of its time',
    judge: ({ main }) => {
      const plain = ratios(main, 'checkfree', 'redundant (paper)', hours)
      const plus = ratios(main, 'checkfree+', 'redundant (paper)', hours)
      const expected = [
        ...plain.map(({ rate, value }) => ({
          value,
          below: rate === '5 %',
          asked: rate !== '10 %',
        })),
        ...plus.map(({ rate, value }) => ({
          value,
          below: rate === '5 %' || rate === '10 %',
          asked: true,
        })),
      ].filter(({ asked }) => asked)
      return {
        ours: `CheckFree ${listed(plain)}; CheckFree+ ${listed(plus)}`,
        ...verdictOf(expected.map(({ value, below }) => side(value, 1, below))),
      }
    },
  },
  {
    claim: 'Both are faster than a checkpoint every 100 iterations',
    paper: 'by 1.52, 1.53, 1.13 (CheckFree) and 1.57, 1.69, 1.38 (CheckFree+) at 5, 10, 16 %',
    judge: ({ main }) => {
      const plain = ratios(main, 'checkpoint every 100', 'checkfree', hours)
      const plus = ratios(main, 'checkpoint every 100', 'checkfree+', hours)
      return {
        ours: `CheckFree ${listed(plain)}; CheckFree+ ${listed(plus)} (honest rollback on the failure-free curve)`,
        ...verdictOf([...plain, ...plus].map(({ value }) => side(value, 1, false))),
      }
    },
  },
  {
    claim: 'CheckFree+ beats even a checkpoint every 10 iterations at 10 %',
    paper: 'a curve (Fig. 4b)',
    judge: ({ main }) => {
      const all = ratios(main, 'checkpoint every 10', 'checkfree+', hours)
      const at = all.filter(({ rate }) => rate === '10 %')
      return { ours: listed(at), ...verdictOf(at.map(({ value }) => side(value, 1, false))) }
    },
  },
  {
    claim: 'An iteration takes no longer than without recovery',
    paper: '91.32 s against 91.35 s',
    judge: ({ calm }) => {
      const value = estimate(
        paired(calm, 'none', 'checkfree+', 'none', secondsPerIteration).map(([a, b]) => a / b),
      )
      return {
        ours: `CheckFree+: ${said(value)} times as long; CheckFree does nothing while nothing fails`,
        verdict: value.count === 0 ? 'not decidable' : value.mean < 1.01 ? 'held' : 'not held',
        why: 'by the messages of the node, the ends kept by their neighbours every iteration',
      }
    },
  },
  {
    claim: 'A recovery takes about 30 s',
    paper: '"around 30 seconds"',
    judge: ({ main }) => {
      const seconds = main.trials
        .filter(({ strategy }) => strategy === 'checkfree')
        .flatMap(({ recoveries }) => recoveries.flatMap(({ seconds }) => seconds ?? []))
      return {
        ours: `${said(estimate(seconds))} s, of which 25 s are stated for a new peer to start`,
        verdict: 'not decidable',
        why: 'the weights of so small a model say nothing of a transfer of 256 MiB',
      }
    },
  },
  undecided(
    'Larger models recover better',
    '+1 to 6 % of perplexity at 1.5 billion parameters (Table 3)',
    'one size of model was trained',
  ),
  undecided(
    'A failure slows convergence in proportion to the error of the new weights',
    'theory (section 4.4)',
    'the distance of new weights from the lost ones is not recorded',
  ),
  {
    claim: 'Neighbouring stages that are lost together cannot be recovered',
    paper: 'stated (Table 1)',
    judge: ({ bursts }) => {
      const recoveries = bursts.trials
        .filter(({ strategy }) => strategy === 'checkfree')
        .flatMap(({ recoveries }) => recoveries)
      const passed = recoveries.filter(({ skipped }) => skipped.includes('checkfree'))
      const averaged = recoveries.length - passed.length
      return {
        ours: `${averaged} of ${recoveries.length} stages averaged; the other ${passed.length} by the next row of the policy`,
        verdict: passed.length > 0 ? 'held' : 'not decidable',
        why: 'a stage without a living neighbour on both sides is not averaged, but the run goes on',
      }
    },
  },
  {
    claim: 'Replicating the embeddings costs little',
    paper: 'O(|E|), "minimal"',
    judge: () => ({
      ours: "by the paper's own sizes the ends have 1.30, 0.49 and 0.24 times the weights of a stage, sent every iteration",
      verdict: 'not held',
      why: 'for the small model it is more than a stage; arithmetic, not a measurement',
    }),
  },
]

export function claimsOf(evidence: Evidence): Claim[] {
  return ROWS.map(({ claim, paper, judge }, i) => ({
    number: i + 1,
    claim,
    paper,
    ...judge(evidence),
  }))
}

function undecided(claim: string, paper: string, why: string): Row {
  return { claim, paper, judge: () => ({ ours: '-', verdict: 'not decidable', why }) }
}

type Measure = (trial: TrialResult) => number | null

const finalLoss: Measure = (trial) => trial.finalLoss
const hours: Measure = ({ reached }) => reached?.hours ?? null
const iterations: Measure = ({ reached }) => reached?.iterations ?? null
const secondsPerIteration: Measure = (trial) => (trial.hours * 3_600) / trial.iterations

/** Of each seed in which both have a value. */
function paired(
  { trials }: Results,
  failures: string,
  one: string,
  other: string,
  measure: Measure,
): [number, number][] {
  const of = (strategy: string) =>
    trials.filter((trial) => trial.failures === failures && trial.strategy === strategy)
  return of(one).flatMap((trial) => {
    const beside = of(other).find(({ seed }) => seed === trial.seed)
    const [a, b] = [measure(trial), beside === undefined ? null : measure(beside)]
    return a === null || b === null ? [] : [[a, b] as [number, number]]
  })
}

function differences(
  results: Results,
  failures: string,
  one: string,
  other: string,
  measure: Measure,
): Estimate {
  return estimate(paired(results, failures, one, other, measure).map(([a, b]) => a - b))
}

interface Ratio {
  readonly rate: string
  /** Of no value where neither reached the target in any seed. */
  readonly value: Estimate | null
}

/** By rate, over the seeds in which both reached the target. */
function ratios(results: Results, one: string, other: string, measure: Measure): Ratio[] {
  return results.failures
    .filter(({ name }) => name !== '33 %')
    .map(({ name: rate }) => {
      const pairs = paired(results, rate, one, other, measure)
      return { rate, value: pairs.length === 0 ? null : estimate(pairs.map(([a, b]) => a / b)) }
    })
}

/** True if all of the interval is on the side that is claimed, false if on the other, null if it is on both. */
function side(value: Estimate | null, border: number, below: boolean): boolean | null {
  if (value === null) return null
  if (value.mean + value.margin < border) return below
  if (value.mean - value.margin > border) return !below
  return null
}

function verdictOf(sides: readonly (boolean | null)[]): Pick<Finding, 'verdict' | 'why'> {
  if (sides.length === 0) return { verdict: 'not decidable', why: 'nothing was played to compare' }
  const wrong = sides.filter((each) => each === false).length
  const open = sides.filter((each) => each === null).length
  if (wrong > 0) {
    return { verdict: 'not held', why: `${wrong} of ${sides.length} comparisons say the contrary` }
  }
  if (open > 0) {
    return {
      verdict: 'not decidable',
      why: `${open} of ${sides.length} intervals include 1, or the target was not reached`,
    }
  }
  return { verdict: 'held', why: `all of ${sides.length} comparisons, at 95 %` }
}

/** Each difference is claimed to be above 0. */
function chain(links: readonly (readonly [string, Estimate])[]): Finding {
  const sides = links.map(([, each]) => side(each, 0, false))
  const { verdict } = verdictOf(sides)
  return {
    ours: `${links.map(([name, each]) => `${name}: ${said(each)}`).join('; ')} nats`,
    verdict,
    why:
      verdict === 'held'
        ? 'all differences are above 0, at 95 %'
        : verdict === 'not held'
          ? 'a difference is below 0, at 95 %'
          : 'an interval includes 0',
  }
}

function decided({ mean, margin }: Estimate): boolean {
  return Math.abs(mean) > margin
}

function said(estimate: Estimate): string {
  return estimate.count === 0 ? 'no value' : withMargin(estimate)
}

function listed(all: readonly Ratio[]): string {
  return all
    .map(({ rate, value }) => `${value === null ? 'not reached' : said(value)} at ${rate}`)
    .join(', ')
}
