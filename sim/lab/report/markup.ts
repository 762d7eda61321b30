/** Elements of HTML and SVG as text. What is not itself an element is escaped, so no name in a scenario can become one. */

export class Markup {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

export type Child = Markup | string | number | null | readonly Child[]
export type Attributes = Readonly<Record<string, string | number | null>>

/** Elements that HTML knows without an end tag. */
const VOID = new Set(['meta', 'input', 'br', 'hr'])

/** An element; attributes and children that are null are left out. Numbers of attributes are cut to what can be seen. */
export function element(name: string, attributes: Attributes, ...children: Child[]): Markup {
  const all = Object.entries(attributes)
    .filter(([, value]) => value !== null)
    .map(([key, value]) => ` ${key}="${escaped(shortened(value!))}"`)
    .join('')
  if (VOID.has(name)) return new Markup(`<${name}${all} />`)
  return new Markup(`<${name}${all}>${inner(children)}</${name}>`)
}

/** Several without one around them. */
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
  // Control characters have no place in a page, not even escaped.
  return text.replace(/[&<>"']/g, (each) => ENTITIES[each]!).replace(CONTROL, '')
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: it is them that are meant
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g
