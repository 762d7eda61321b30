/** The manual names every setting of a scenario and every bundled scenario. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { BUNDLED } from '../../../sim/lab/bundled.ts'
import { scenarioSettings } from '../../../sim/lab/list.ts'
import { loadScenario } from '../../../sim/lab/scenario.ts'

const page = (name: string) =>
  readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8')
const manual = page('SIMULATOR.md') + page('FAILURES.md')

test('each setting says what it means, and is in the manual', () => {
  const settings = scenarioSettings()
  expect(settings.length).toBeGreaterThan(40)
  for (const { path, says } of settings) {
    expect(says, path).not.toBe('')
    expect(manual, path).toContain(path.split('.').at(-1)!.replace('[]', ''))
  }
})

test.each(Object.keys(BUNDLED))('%s is sound, and in the manual', (name) => {
  expect(loadScenario(name).scenario.name).toBe(name)
  expect(manual).toContain(`\`${name}\``)
})
