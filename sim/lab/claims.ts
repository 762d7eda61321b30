/**
 * Compares the paper's claims (arXiv 2506.15461) with our results: its number, our number, and a verdict. Long
 * because the claims are one table.
 */

import {
  type Comparison,
  difference,
  hours,
  iterations,
  lateLoss,
  type Measure,
  ratio,
  secondsPerIteration,
  side,
  verdictOf,
} from './comparisons.ts'
import { recoveryTransfers } from './paper/recovery.ts'
import { significant, withMargin } from './report/format.ts'
import type { Claim, RecoveryResult, Results } from './results.ts'
import { SMALL_RUN } from './scenarios/small.ts'
import { correlation, type Estimate, estimate } from './statistics.ts'

export interface Evidence {
  /** Time to the target under the paper's hourly failure rates. */
  readonly main: Results
  /** The paper's settings one by one, with the edges exempt from failures. */
  readonly ablation: Results
  /** The failures of `ablation` with a larger model. */
  readonly larger: Results
  /** Training without failures. */
  readonly calm: Results
  /** Failures that take neighbouring stages together. */
  readonly bursts: Results
  /** Failures of peers that follow the losses of spot instances. */
  readonly spot: Results
}

type Finding = Pick<Claim, 'ours' | 'verdict' | 'why'>

interface Row {
  readonly claim: string
  readonly paper: string
  readonly judge: (evidence: Evidence) => Finding
}

const ABLATION = '16 %, edges exempt'

/** True where the paper's strategy is faster than redundant computation, by failure rate (claim 8). */
const FASTER: Readonly<Record<string, Readonly<Record<string, boolean>>>> = {
  checkfree: { '5 %': true, '16 %': false },
  'checkfree+': { '5 %': true, '10 %': true, '16 %': false },
}

const ROWS: readonly Row[] = [
  {
    claim:
      'An average weighted by gradient norms is better than a copy, a copy better than random weights',
    paper:
      'perplexity 22.6, 29.2, 121.0 (0.26 and 1.42 nats apart) after 10,000 iterations at 16 %, edges exempt',
    judge: ({ ablation }) => {
      const random = (name: string) => difference(ablation, ABLATION, name, 'copy', lateLoss)
      const { ours, ...rest } = chain([
        ['copy over checkfree', difference(ablation, ABLATION, 'copy', 'checkfree', lateLoss)],
        ['random over copy', random('random, drawn anew')],
      ])
      const first = `${said(random('random'))} with the stage's initial weights`
      return { ours: `${ours} (${first})`, ...rest }
    },
  },
  {
    claim: 'Weights by gradient norm beat the plain mean',
    paper: 'a curve, no number (Fig. 2)',
    judge: ({ ablation }) =>
      chain([
        [
          'uniform over checkfree',
          difference(ablation, ABLATION, 'uniform', 'checkfree', lateLoss),
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
          difference(ablation, ABLATION, 'checkfree, no bump', 'checkfree', lateLoss),
        ],
      ]),
  },
  {
    claim: 'A fresh optimizer is as good as moments averaged from the neighbours',
    paper: 'not tested',
    judge: ({ ablation }) => {
      const more = difference(
        ablation,
        ABLATION,
        'checkfree',
        'checkfree, averaged moments',
        lateLoss,
      )
      const worse = more.mean - more.margin > 0
      return {
        ours: `fresh over averaged: ${said(more)} nats`,
        verdict: decided(more) ? (worse ? 'not held' : 'held') : 'not decidable',
        why: decided(more)
          ? 'the interval excludes 0'
          : 'the interval includes 0, so neither is shown to be better',
      }
    },
  },
  {
    claim: 'The swap makes an edge and its neighbour alike, so that an edge can be copied',
    paper: 'qualitative',
    judge: ({ main }) => {
      const copies = (strategy: string, by: string) =>
        bySeed(main, strategy, (each) => each.strategy === by && !isBetween(each))
      const [swapped, plain] = [copies('checkfree+', 'checkfree+'), copies('checkfree', 'copy')]
      const errorOf = ({ weightError }: RecoveryResult) => weightError ?? []
      const [near, far] = [means(swapped, errorOf), means(plain, errorOf)]
      const less = estimate(far.map((error, i) => error - near[i]!))
      return {
        ours: `With the swap, an edge's copy is off by ${said(estimate(near))} of its weights. Without the swap, the copy is off by ${said(estimate(far))}, which is ${said(less)} more. The loss rises by ${said(estimate(means(swapped, spikeOf)))} and ${said(estimate(means(plain, spikeOf)))} nats.`,
        ...verdictOf([side(less, 0, false)]),
      }
    },
  },
  {
    claim: 'Without failures, the swap slows learning',
    paper: 'a curve, no number (Fig. 4c)',
    judge: ({ calm }) => {
      const value = ratio(calm, 'none', 'checkfree+', 'none', iterations)
      return {
        ours: `iterations to the target, CheckFree+ over none: ${said(value)}`,
        ...verdictOf([side(value, 1, false)]),
      }
    },
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
      const against = (redundant: string) =>
        Object.keys(FASTER).map((name) => ({ name, all: ratios(main, name, redundant, hours) }))
      const listing = (rows: ReturnType<typeof against>) =>
        rows.map(({ name, all }) => `${name} ${listed(all)}.`).join(' ')
      const stated = against('redundant (paper)')
      const expected = stated.flatMap(({ name, all }) =>
        all.flatMap(({ rate, value }) => {
          const below = FASTER[name]![rate]
          if (below === undefined) return []
          return { name: `${name} at ${rate}`, below, side: side(value, 1, below) }
        }),
      )
      const contrary = expected
        .filter((each) => each.side === false)
        .map(({ name, below }) => `${name} is ${below ? 'slower' : 'faster'}`)
      const { verdict, why } = verdictOf(expected.map((each) => each.side))
      return {
        ours: `Against the paper's 1.654: ${listing(stated)} Against the node's own, played: ${listing(against('redundant'))}`,
        verdict,
        why: contrary.length > 0 ? `${contrary.join(', ')}, contrary to the claim` : why,
      }
    },
  },
  {
    claim: 'Both are faster than a checkpoint every 100 iterations',
    paper: 'by 1.52, 1.53, 1.13 (CheckFree) and 1.57, 1.69, 1.38 (CheckFree+) at 5, 10, 16 %',
    judge: ({ main }) => {
      const plain = ratios(main, 'checkpoint every 100', 'checkfree', hours)
      const plus = ratios(main, 'checkpoint every 100', 'checkfree+', hours)
      const asPlotted = ratios(main, 'checkpoint every 100 (paper)', 'checkfree+', hours)
      return {
        ours: `CheckFree ${listed(plain)}. CheckFree+ ${listed(plus)}. The checkpoint is rolled back along the curve without failures. The paper's figures seem to follow the curve of CheckFree+. With that curve: ${listed(asPlotted)}.`,
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
      const value = ratio(calm, 'none', 'checkfree+', 'none', secondsPerIteration)
      return {
        ours: `CheckFree+: ${said(value)} times as long. CheckFree does nothing while nothing fails.`,
        verdict: value.count === 0 ? 'not decidable' : value.mean < 1.01 ? 'held' : 'not held',
        why: 'The bound is one hundredth more. The time is that of the messages with which neighbours keep the ends every iteration.',
      }
    },
  },
  {
    claim: 'A recovery takes about 30 s',
    paper: '"around 30 seconds"',
    judge: ({ main }) => {
      const played = estimate(
        means(
          bySeed(main, 'checkfree', () => true),
          ({ seconds }) => seconds ?? [],
        ),
      )
      const transfers = recoveryTransfers()
      const mean = estimate(transfers).mean
      return {
        ours: `At the paper's size and over its region table, the weights alone take ${significant(Math.min(...transfers))} to ${significant(Math.max(...transfers))} s (mean ${significant(mean)}). The node here takes ${said(played)} s, of which 25 s are stated for the start of a peer.`,
        verdict: 'not decidable',
        why: 'The transfers fit into 30 s. The paper does not say how long a peer takes to start.',
      }
    },
  },
  {
    claim: 'Larger models recover better',
    paper:
      'at 1.5 billion parameters CheckFree +7.6 to 9.5 % of perplexity, CheckFree+ +1.1 to 6.2 % (Table 3)',
    judge: ({ ablation, larger }) => {
      const excess = (results: Results) =>
        difference(results, ABLATION, 'checkfree', 'none', lateLoss)
      const [small, large] = [excess(ablation), excess(larger)]
      return {
        ours: `Failures raise CheckFree's last quarter by ${said(small)} nats, and by ${said(large)} with four times the weights.`,
        ...verdictOf([apart(large, small)]),
      }
    },
  },
  {
    claim: 'A failure slows convergence in proportion to the error of the new weights',
    paper: 'theory (section 4.4)',
    judge: ({ ablation: { trials } }) => {
      const seeds = [...new Set(trials.map(({ seed }) => seed))]
      // The points of each strategy are centred, since differences between strategies say nothing about their errors.
      const correlations = seeds.map((seed) => {
        const own = trials.filter((trial) => trial.seed === seed)
        return correlation(own.flatMap(({ recoveries }) => centred(recoveries.flatMap(pointOf))))
      })
      const value = estimate(correlations)
      return {
        ours: `Within a strategy, the rise of the loss in the first step and the relative error of the weights have a correlation of ${said(value)}.`,
        ...verdictOf([side(value, 0, false)]),
      }
    },
  },
  {
    claim: 'Neighbouring stages that are lost together cannot be recovered',
    paper: 'stated (Table 1)',
    judge: ({ bursts }) => {
      const recoveries = bySeed(bursts, 'checkfree', isBetween).flat()
      const passed = recoveries.filter(({ skipped }) => skipped.includes('checkfree'))
      const averaged = recoveries.length - passed.length
      return {
        ours: `Of ${recoveries.length} lost stages with a stage on both sides, ${averaged} were averaged. ${passed.length} stages had a lost neighbour, and came back by the policy's next row.`,
        verdict: passed.length > 0 ? 'held' : 'not decidable',
        why: 'By construction, a stage without a living neighbour on both sides is not averaged. The run continues all the same.',
      }
    },
  },
  {
    claim: 'Replicating the embeddings costs little',
    paper: 'O(|E|), "minimal"',
    judge: () => ({
      ours: "By the paper's own sizes the ends have 1.30, 0.49 and 0.24 times the weights of a stage, and are sent every iteration.",
      verdict: 'not decidable',
      why: 'The claim has no number. In the smallest model the ends are larger than a stage. In our model an iteration takes no longer (claim 11).',
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

/** Recoveries of a strategy, one list for each seed. The recoveries of one run are not independent samples. */
function bySeed(
  { trials }: Results,
  strategy: string,
  isAsked: (recovery: RecoveryResult) => boolean,
): RecoveryResult[][] {
  const own = trials.filter((trial) => trial.strategy === strategy)
  const seeds = [...new Set(own.map(({ seed }) => seed))]
  return seeds.map((seed) =>
    own
      .filter((trial) => trial.seed === seed)
      .flatMap(({ recoveries }) => recoveries.filter(isAsked)),
  )
}

function isBetween({ stage }: RecoveryResult): boolean {
  return stage > 1 && stage < SMALL_RUN.stages
}

/** Subtracts the mean from the points. */
function centred(points: readonly (readonly [number, number])[]): [number, number][] {
  const [x, y] = [estimate(points.map(([x]) => x)).mean, estimate(points.map(([, y]) => y)).mean]
  return points.map((point) => [point[0] - x, point[1] - y])
}

/** Mean value over the recoveries of each seed. */
function means(
  seeds: readonly (readonly RecoveryResult[])[],
  of: (recovery: RecoveryResult) => number | number[],
): number[] {
  return seeds.map((recoveries) => estimate(recoveries.flatMap(of)).mean)
}

/** Rise of the training loss from the last step before the loss to the first step after it; empty if a loss is missing. */
function spikeOf({ lossBefore, lossAfter }: RecoveryResult): number[] {
  return lossBefore === null || lossAfter === null ? [] : [lossAfter - lossBefore]
}

/** Weight error and rise of the loss; empty if a value is missing. */
function pointOf(recovery: RecoveryResult): [number, number][] {
  const { weightError } = recovery
  return weightError === null ? [] : spikeOf(recovery).map((spike) => [weightError, spike])
}

/** True if the first interval lies below the second, false if above it; null if the intervals overlap. */
function apart(below: Estimate, above: Estimate): boolean | null {
  if (below.mean + below.margin < above.mean - above.margin) return true
  if (above.mean + above.margin < below.mean - below.margin) return false
  return null
}

interface Ratio {
  readonly rate: string
  readonly one: string
  readonly other: string
  readonly value: Comparison
}

/** Ratios by failure rate of the paper's Table 2, over the seeds in which both strategies reached the target. */
function ratios(results: Results, one: string, other: string, measure: Measure): Ratio[] {
  return results.failures
    .filter(({ name }) => name !== '33 %')
    .map(({ name: rate }) => ({
      rate,
      one,
      other,
      value: ratio(results, rate, one, other, measure),
    }))
}

/** Tests the claim that each difference is above 0. */
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
          : links.some(([, { count }]) => count === 0)
            ? 'not played yet'
            : 'an interval includes 0',
  }
}

function decided({ mean, margin }: Estimate): boolean {
  return Math.abs(mean) > margin
}

function said(estimate: Estimate): string {
  return estimate.count === 0 ? 'not known' : withMargin(estimate)
}

/** The value, and the number of seeds in which only one strategy reached the target. */
function saidOf({ value, one, other }: Ratio): string {
  const { count, missedByOne, missedByOther } = value
  const alone = [
    missedByOne === 0 ? [] : [`${other} alone in ${missedByOne}`],
    missedByOther === 0 ? [] : [`${one} alone in ${missedByOther}`],
  ].flat()
  if (count === 0) return alone.length === 0 ? 'neither there' : alone.join(', ')
  return alone.length === 0 ? said(value) : `${said(value)} (${count} seeds; ${alone.join(', ')})`
}

function listed(all: readonly Ratio[]): string {
  return all.map((each) => `${saidOf(each)} at ${each.rate}`).join(', ')
}
