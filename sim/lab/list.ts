/** Lists the bundled scenarios, and every setting of a scenario. */
import { z } from 'zod'
import type { Terminal } from '../../src/base/terminal.ts'
import { BUNDLED } from './bundled.ts'
import { scenarioSchema } from './scenario.ts'
import { STRATEGY_NAMES } from './strategies.ts'

export function listScenarios(terminal: Terminal): void {
  for (const [name, { says = '', mode = 'learn' }] of Object.entries(BUNDLED)) {
    terminal.line(`${name.padEnd(16)}${mode}: ${says}`)
    terminal.event({ type: 'scenario', name, says, mode })
  }
  terminal.line('')
  terminal.line(`strategies: ${STRATEGY_NAMES.join(', ')}`)
  terminal.line('')
  for (const { path, says, byDefault } of scenarioSettings()) {
    const standard = byDefault === undefined ? '' : ` (default: ${JSON.stringify(byDefault)})`
    terminal.line(`${path}${standard}\n    ${says}`)
  }
}

interface Described {
  readonly description?: string
  readonly default?: unknown
  readonly properties?: Readonly<Record<string, Described>>
  readonly items?: Described
  readonly anyOf?: readonly Described[]
  readonly oneOf?: readonly Described[]
  readonly const?: unknown
}

interface ScenarioSetting {
  readonly path: string
  readonly says: string
  readonly byDefault: unknown
}

/** All settings of a scenario that have a description, in the order of the file. */
export function scenarioSettings(): ScenarioSetting[] {
  const schema = z.toJSONSchema(scenarioSchema, { io: 'input', unrepresentable: 'any' })
  return settingsIn(schema as unknown as Described, '')
}

function settingsIn(
  { properties, items, anyOf, oneOf }: Described,
  path: string,
): ScenarioSetting[] {
  const variants = [items, ...(anyOf ?? []), ...(oneOf ?? [])].filter((each) => each !== undefined)
  const inner = variants.flatMap((each) =>
    settingsIn(each, each === items ? `${path}[]` : `${path}${kindOf(each)}`),
  )
  const own = Object.entries(properties ?? {}).flatMap(([name, described]) => {
    const at = path === '' ? name : `${path}.${name}`
    const { description, default: byDefault } = described
    const said = description === undefined ? [] : [{ path: at, says: description, byDefault }]
    return [...said, ...settingsIn(described, at)]
  })
  return [...own, ...inner]
}

/** The field that distinguishes a variant from the others. */
function kindOf({ properties }: Described): string {
  const kind = properties?.process?.const
  return typeof kind === 'string' ? `(${kind})` : ''
}
