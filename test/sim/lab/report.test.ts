/** Checks the report in a browser: complete, legible in both colour schemes, and without external resources. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { recommend } from '../../../sim/lab/recommend.ts'
import { reportHtml } from '../../../sim/lab/report/page.ts'
import type { Results } from '../../../sim/lab/results.ts'
import { summarize } from '../../../sim/lab/summary.ts'
import { HAS_BROWSER, startBrowser } from '../../fixtures/browser.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'
import { sampleResults } from '../../fixtures/results.ts'

test('the same results give the same bytes, and no address but that of the SVG names', () => {
  const html = reportHtml(sampleResults())
  expect(reportHtml(sampleResults())).toBe(html)
  const addresses = new Set(html.match(/\bhttps?:\/\/[^"'\s)]*/g))
  expect([...addresses]).toEqual(['http://www.w3.org/2000/svg'])
  expect(html).not.toMatch(/<script|<link|@import|url\((?!#)/)
})

test('every element is closed in its turn', () => {
  const open: string[] = []
  const html = reportHtml(sampleResults({ seeds: 1 }))
  for (const [, end, name, void_] of html.matchAll(/<(\/?)([a-z]\w*)\b[^<>]*?(\/?)>/gi)) {
    if (end === '/') expect(open.pop()).toBe(name)
    else if (void_ !== '/') open.push(name!)
  }
  expect(open).toEqual([])
})

const CHARTS = [
  'loss-hours',
  'loss-iterations',
  'time-to-target',
  'goodput',
  'bytes',
  'recovery-time',
  'time-line',
]

/** Long because its tests share one browser. */
describe.skipIf(!HAS_BROWSER)('in a browser', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await startBrowser()
  })
  afterAll(() => browser.close())

  /** Opens the report from a file, as a user does. Errors of the page are added to `troubles`. */
  async function opened(results: Results, options: Parameters<Browser['newPage']>[0] = {}) {
    const file = join(temporaryFolder(), 'report.html')
    await writeFile(file, reportHtml(results))
    const page = await browser.newPage(options)
    const troubles: string[] = []
    const requests: string[] = []
    page.on('console', (message) => troubles.push(message.text()))
    page.on('pageerror', (error) => troubles.push(error.message))
    page.on('request', (request) => requests.push(request.url()))
    const address = pathToFileURL(file).href
    await page.goto(address)
    return { page, troubles, requests, address }
  }

  for (const colorScheme of ['light', 'dark'] as const) {
    test(`shows all charts in ${colorScheme}, without an error or a request`, async () => {
      const results = sampleResults()
      const { page, troubles, requests, address } = await opened(results, { colorScheme })
      for (const chart of CHARTS) {
        expect([chart, await page.locator(`[data-chart=${chart}] svg[role=img]`).count()]).toEqual([
          chart,
          results.failures.length,
        ])
      }
      const lines = await page.locator('[data-chart=loss-hours] path.line').count()
      expect(lines).toBe(results.summary.length)
      expect(await page.locator('[data-table=claims] tbody tr').count()).toBe(results.claims.length)
      const text = await page.locator('body').innerText()
      for (const { sentence } of results.recommendations) {
        expect(text.replaceAll('\u00a0', ' ')).toContain(sentence)
      }
      expect(await page.evaluate(FAINT)).toEqual([])
      expect(
        await page.evaluate('getComputedStyle(document.documentElement).backgroundColor'),
      ).toBe(colorScheme === 'light' ? 'rgb(255, 255, 255)' : 'rgb(20, 23, 27)')
      expect(troubles).toEqual([])
      expect(requests).toEqual([address])
      await page.close()
    })
  }

  test('is well-formed to an XML parser, too', async () => {
    const { page } = await opened(sampleResults({ seeds: 1 }))
    const html = reportHtml(sampleResults({ seeds: 1 })).replace('<!doctype html>', '')
    const errors = await page.evaluate(
      `new DOMParser().parseFromString(${JSON.stringify(html)}, 'application/xml').querySelector('parsererror')?.textContent ?? null`,
    )
    expect(errors).toBeNull()
    await page.close()
  })

  test('lets nothing in: neither pictures nor scripts', async () => {
    const { page } = await opened(sampleResults({ seeds: 1 }))
    expect(await page.evaluate(INTRUSION)).toEqual(['img-src', 'script-src-elem'])
    await page.close()
  })

  test('hides the lines of a strategy, and those alone', async () => {
    const { page } = await opened(sampleResults({ seeds: 2 }))
    const hidden = () => page.locator('path.line:not(.swatch *)').filter({ visible: false })
    expect(await hidden().count()).toBe(0)
    await page.locator('#show-2').uncheck()
    const classes = await hidden().evaluateAll((all) =>
      all.map((each) => each.getAttribute('class')),
    )
    expect(classes.length).toBe(4)
    for (const each of classes) expect(each).toContain('of-2')
    await page.close()
  })

  test('takes names for text, whatever they are', async () => {
    const name = `<img src=x onerror="alert('1')">&amp;`
    const results = sampleResults({ seeds: 1 })
    const own = results.strategies[0]!.name
    results.strategies[0]!.name = name
    for (const each of results.trials) if (each.strategy === own) each.strategy = name
    for (const each of results.summary) if (each.strategy === own) each.strategy = name
    results.scenario.says = name
    const { page, troubles } = await opened(results)
    expect(await page.locator('.says').innerText()).toBe(name)
    expect(await page.locator('[data-table=summary] tbody th').first().innerText()).toBe(name)
    expect(await page.locator('img, script').count()).toBe(0)
    expect(troubles).toEqual([])
    await page.close()
  })

  for (const [name, results] of variants()) {
    test(`no text covers another or is cut off: ${name}`, async () => {
      const { page, troubles } = await opened(results)
      expect(await page.evaluate(COVERED)).toEqual([])
      for (const width of [360, 1200]) {
        await page.setViewportSize({ width, height: 800 })
        expect([width, await pageWidth(page)]).toEqual([width, width])
      }
      expect(troubles).toEqual([])
      await page.close()
    })
  }
})

/** Results whose charts differ from the usual ones. The function is long because it is a table of cases. */
function variants(): [string, Results][] {
  const usual = sampleResults()
  const made = (change: (results: Results) => void, seeds = 2) => {
    const results = sampleResults({ seeds })
    change(results)
    results.summary = summarize(results.trials)
    results.recommendations = recommend(results)
    return results
  }
  return [
    ['as usual', usual],
    ['one seed', sampleResults({ seeds: 1 })],
    [
      'no target',
      made((results) => {
        results.targetLoss = null
      }),
    ],
    [
      'target that none reached',
      made((results) => {
        results.targetLoss = 1
        for (const trial of results.trials) trial.reached = null
      }),
    ],
    [
      'nothing learnt, very many recoveries, runs that broke off',
      made((results) => {
        results.scenario.mode = 'scale'
        results.failures.length = 1
        for (const trial of results.trials) {
          Object.assign(trial, {
            curve: [],
            finalLoss: null,
            reached: null,
            failure: 'nobody left',
          })
          trial.recoveries = Array.from({ length: 40 }, () => trial.recoveries).flat()
        }
        results.trials = results.trials.filter(
          ({ failures }) => failures === results.failures[0]!.name,
        )
        results.claims = []
      }),
    ],
    [
      'long names',
      made((results) => {
        const longer = (text: string) => `${text}-with-a-name-that-is-far-too-long`
        for (const each of results.strategies) each.name = longer(each.name)
        for (const trial of results.trials) trial.strategy = longer(trial.strategy)
        for (const each of results.failures) each.says = longer(each.says)
      }),
    ],
    [
      'seconds and bytes in place of hours and megabytes',
      made((results) => {
        for (const trial of results.trials) {
          trial.hours /= 5000
          trial.curve = trial.curve.map(([n, hours, loss]) => [n, hours / 5000, loss])
          if (trial.reached !== null) trial.reached.hours /= 5000
          for (const each of [...trial.losses, ...trial.recoveries]) each.hours /= 5000
          trial.bytesPerIteration = { activations: 900, weights: 12 }
        }
      }),
    ],
  ]
}

async function pageWidth(page: Page): Promise<unknown> {
  return page.evaluate('document.documentElement.scrollWidth')
}

/** Finds texts of a chart that cover each other or leave the drawing. Half a pixel is allowed. */
const COVERED = `[...document.querySelectorAll('figure .drawing svg')].flatMap((svg) => {
  const frame = svg.getBoundingClientRect()
  const texts = [...svg.querySelectorAll('text')].map((text) => [text.textContent, text.getBoundingClientRect()])
  const kind = svg.closest('figure').dataset.chart
  return texts.flatMap(([name, box], i) => [
    ...(box.left < frame.left - 0.5 || box.right > frame.right + 0.5 || box.top < frame.top - 0.5 || box.bottom > frame.bottom + 0.5
      ? [kind + ': ' + name + ' leaves'] : []),
    ...texts.slice(i + 1)
      .filter(([, other]) => Math.min(box.right, other.right) - Math.max(box.left, other.left) > 0.5
        && Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top) > 3)
      .map(([other]) => kind + ': ' + name + ' covers ' + other),
  ])
})`

/** Finds colours too close to the background, by WCAG's ratio: 4.5 for text, 2.4 for marks. */
const FAINT = `(() => {
  const style = getComputedStyle(document.documentElement)
  const luminance = (name) => {
    const hex = style.getPropertyValue('--' + name).trim()
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const ratio = (a, b) => {
    const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y)
    return (light + 0.05) / (dark + 0.05)
  }
  const read = ['ink', 'muted', 'yes', 'no', 'open'].flatMap((ink) => ['paper', 'panel'].map((paper) => [ink, paper, 4.5]))
  const seen = Array.from({ length: 8 }, (_, i) => ['c' + i, 'paper', 2.4])
  return [...read, ...seen].filter(([ink, paper, least]) => !(ratio(ink, paper) >= least)).map(String)
})()`

/** Reports what the page's policy does with an injected picture and an injected script. */
const INTRUSION = `new Promise((resolve) => {
  const refused = []
  addEventListener('securitypolicyviolation', ({ effectiveDirective }) => {
    refused.push(effectiveDirective)
    if (refused.length === 2) resolve(refused.sort())
  })
  const picture = document.createElement('img')
  picture.src = 'http://127.0.0.1:9/'
  const script = document.createElement('script')
  script.textContent = '1'
  document.body.append(picture, script)
})`
