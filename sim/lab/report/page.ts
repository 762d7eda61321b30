/**
 * Writes the report as one self-contained HTML file. Its content security policy forbids scripts and requests.
 * Switches are check boxes that the style sheet reads, and tooltips are titles.
 */
import { createHash } from 'node:crypto'
import type { Results } from '../results.ts'
import { bytesChart, SHADES } from './bytes-chart.ts'
import { unbroken } from './format.ts'
import { goodput } from './goodput.ts'
import { COLOURS, type Looks, looksOf } from './look.ts'
import { lossChart } from './loss-chart.ts'
import { type Child, element, fragment, Markup } from './markup.ts'
import { recoveryTime } from './recovery-time.ts'
import { styleSheet } from './style.ts'
import { swatch } from './swatch.ts'
import { claimsTable, overview, summaryTable } from './tables.ts'
import { timeLine } from './time-line.ts'
import { timeToTarget } from './time-to-target.ts'

/** Text of the report file. The same results give the same bytes. */
export function reportHtml(results: Results): string {
  const { scenario, strategies } = results
  const looks = looksOf(results)
  const style = styleSheet(COLOURS, SHADES, looks.size)
  const head = element(
    'head',
    {},
    element('meta', { charset: 'utf-8' }),
    element('meta', { 'http-equiv': 'Content-Security-Policy', content: policyFor(style) }),
    element('meta', { name: 'viewport', content: 'width=device-width, initial-scale=1' }),
    element('meta', { name: 'color-scheme', content: 'light dark' }),
    element('title', {}, `${scenario.name}: which recovery strategy to use`),
    new Markup(`<style>${style}</style>`),
  )
  const body = element(
    'body',
    {},
    heading(results),
    recommendations(results),
    overview(results),
    legend(strategies, looks),
    ...results.failures.map((_, i) => failureSection(results, i, looks)),
    ...closing(results),
  )
  return `<!doctype html>\n${element('html', { lang: 'en' }, head, body).text}\n`
}

/** Content security policy that allows only the style sheet with this hash. */
function policyFor(style: string): string {
  const hash = createHash('sha256').update(style).digest('base64')
  return `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`
}

const MODES = {
  learn: 'The model is trained, and time is virtual.',
  replay: 'Losses are those of a recorded undisturbed run, and time is virtual.',
  scale: 'Stages only take time and train nothing, and time is virtual.',
} as const

function heading({ scenario, failures, claims }: Results): Markup {
  const links = [
    ...failures.map(({ name }, i) => [`#failures-${i}`, name] as const),
    ...(claims.length > 0 ? [['#claims', "the paper's claims"] as const] : []),
    ['#assumptions', 'assumptions'] as const,
    ['#again', 'how to repeat it'] as const,
  ]
  return element(
    'header',
    {},
    element('p', { class: 'over' }, 'gensyn-node sim'),
    element('h1', {}, scenario.name),
    element('p', { class: 'says' }, scenario.says),
    element('p', { class: 'note' }, MODES[scenario.mode]),
    element(
      'nav',
      { 'aria-label': 'Contents' },
      element(
        'ul',
        {},
        ...links.map(([href, text]) => element('li', {}, element('a', { href }, text))),
      ),
    ),
  )
}

function recommendations({ recommendations: all, failures }: Results): Markup {
  return element(
    'section',
    { id: 'recommendations' },
    element('h2', {}, all.length === 1 ? 'Recommendation' : 'Recommendations'),
    ...all.map(({ failures: name, strategy, sentence }) =>
      element(
        'div',
        { class: strategy === null ? 'recommendation none' : 'recommendation' },
        failures.length === 1 ? null : element('h3', {}, name),
        element('p', {}, unbroken(sentence)),
      ),
    ),
  )
}

function legend(strategies: Results['strategies'], looks: Looks): Markup {
  return element(
    'fieldset',
    { class: 'legend' },
    element('legend', {}, 'Show'),
    ...strategies.map(({ name, says }) => {
      const look = looks.get(name)!
      return element(
        'label',
        { title: says },
        element('input', { type: 'checkbox', id: `show-${look.index!}`, checked: 'checked' }),
        swatch(look, 'line'),
        name,
      )
    }),
  )
}

function failureSection(results: Results, i: number, looks: Looks): Markup {
  const { name, says } = results.failures[i]!
  const { targetLoss } = results
  const trials = results.trials.filter((trial) => trial.failures === name)
  const summaries = results.summary.filter((each) => each.failures === name)
  const replayed = new Set(
    trials.filter(({ source }) => source === 'replayed').map(({ strategy }) => strategy),
  )
  const lossCharts = (['hours', 'iterations'] as const).map((against) =>
    lossChart(trials, against, { looks, targetLoss, clip: `clip-${i}-${against}` }),
  )
  const unevaluated = lossCharts.every((chart) => chart === null)
  const charts: Child[] = [
    ...lossCharts,
    targetLoss === null || unevaluated ? null : timeToTarget(summaries, looks, targetLoss),
    goodput(summaries, looks),
    bytesChart(trials, looks),
    recoveryTime(trials, looks),
    timeLine(trials, looks),
  ]
  return element(
    'section',
    { id: `failures-${i}` },
    element('h2', {}, name),
    element('p', {}, says),
    unevaluated ? element('p', { class: 'note' }, 'No loss was evaluated.') : null,
    element('div', { class: 'charts' }, ...charts),
    summaryTable(summaries, replayed),
  )
}

function closing({ claims, assumptions, strategies, scenario }: Results): Markup[] {
  const told = element(
    'section',
    { id: 'claims' },
    element('h2', {}, "The paper's claims"),
    claimsTable(claims),
  )
  return [
    ...(claims.length > 0 ? [told] : []),
    element(
      'section',
      { id: 'strategies' },
      element('h2', {}, 'The strategies'),
      element(
        'dl',
        {},
        ...strategies.map(({ name, says }) =>
          fragment(element('dt', {}, name), element('dd', {}, says)),
        ),
      ),
    ),
    element(
      'section',
      { id: 'assumptions' },
      element('h2', {}, 'Assumptions'),
      element(
        'ul',
        { class: 'plain' },
        ...assumptions.map((assumption) => element('li', {}, assumption)),
      ),
      element(
        'p',
        { class: 'note' },
        'The value after ± is half of a 95 % confidence interval over seeds (Student). Differences between strategies are taken seed by seed, because all strategies meet the same failures and data of a seed.',
      ),
    ),
    element(
      'section',
      { id: 'again' },
      element('h2', {}, 'How to repeat it'),
      element('pre', {}, element('code', {}, `gensyn-node sim --scenario ${scenario.name}`)),
      element(
        'p',
        {},
        'Write the path of a file in place of the name for your own scenario. The same scenario gives the same ',
        element('code', {}, 'results.json'),
        ', byte for byte, with any number of workers. This report is made from that file. The hash of the scenario is ',
        element('code', {}, scenario.hash),
        '.',
      ),
    ),
  ]
}
