/** Builds HTML and SVG as text. All text is escaped, so a name in a scenario cannot become an element. */

export class Markup {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

export type Child = Markup | string | number | null | readonly Child[]
export type Attributes = Readonly<Record<string, string | number | null>>

/** HTML elements without an end tag. */
const VOID = new Set(['meta', 'input', 'br', 'hr'])

/** An element without its null attributes and children. Numeric attributes are rounded to two decimals. */
export function element(name: string, attributes: Attributes, ...children: Child[]): Markup {
  const all = Object.entries(attributes)
    .filter(([, value]) => value !== null)
    .map(([key, value]) => ` ${key}="${escaped(shortened(value!))}"`)
    .join('')
  if (VOID.has(name)) return new Markup(`<${name}${all} />`)
  return new Markup(`<${name}${all}>${inner(children)}</${name}>`)
}

/** Several children without an element around them. */
export function fragment(...children: Child[]): Markup {
  return new Markup(inner(children))
}

function inner(child: Child): string {
  if (child === null) return ''
  if (child instanceof Markup) return child.text
  return Array.isArray(child) ? child.map(inner).join('') : escaped(String(child))
}

function shortened(value: string | number): string {
  return typeof value === 'number' ? String(Math.round(value * 100) / 100) : value
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escaped(text: string): string {
  // HTML forbids control characters, even escaped ones.
  return text.replace(/[&<>"']/g, (each) => ENTITIES[each]!).replace(CONTROL, '')
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern matches control characters on purpose
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g
