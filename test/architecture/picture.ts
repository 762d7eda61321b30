/** Draws the rooms of `src/` and the top-level folders from their imports: the picture of docs/ARCHITECTURE.md. */
import { filesUnder, importsOf } from './sources.ts'

/** From each room of `src/`, the rooms that its files import. */
export type Rooms = ReadonlyMap<string, ReadonlySet<string>>

const FIRST_LINE = '<!-- `npm run docs:picture` writes the picture from the imports. -->'
const LAST_LINE = '<!-- End of the picture. -->'

/** Folders of the program, each of which imports only from those after it; `src/cli/commands` alone load `sim`. */
const TOP_FOLDERS = ['sim', 'src', 'protocols', 'stages'] as const

export function readRooms(root: string): Rooms {
  const rooms = new Map<string, Set<string>>()
  for (const path of filesUnder(root, 'src', '.ts')) {
    const from = roomOf(path)
    if (from === null) continue
    const targets = rooms.get(from) ?? new Set()
    rooms.set(from, targets)
    for (const imported of importsOf(root, path)) {
      const to = roomOf(imported)
      if (to !== null && to !== from) targets.add(to)
    }
  }
  return rooms
}

/** From each top-level folder of the program, those that its files import. */
export function readTopFolders(root: string): Rooms {
  return new Map(
    TOP_FOLDERS.map((folder) => {
      const imported = filesUnder(root, folder, '.ts').flatMap((path) => importsOf(root, path))
      const folders = imported.map((path) => path.split('/')[0]!)
      return [folder, new Set(folders.filter((one) => one !== folder))]
    }),
  )
}

/**
 * The rooms in layers: a room imports from layers before its own only.
 * @throws Error that names the rooms which import each other in a circle
 */
export function layersOf(rooms: Rooms): string[][] {
  const layers: string[][] = []
  const placed = new Set<string>()
  while (placed.size < rooms.size) {
    const layer = [...rooms.keys()]
      .filter((room) => !placed.has(room))
      .filter((room) => [...rooms.get(room)!].every((target) => placed.has(target)))
      .sort()
    if (layer.length === 0) {
      const circle = [...rooms.keys()].filter((room) => !placed.has(room))
      throw new Error(`These rooms import each other in a circle: ${circle.join(', ')}.`)
    }
    layers.push(layer)
    for (const room of layer) placed.add(room)
  }
  return layers
}

/** The picture in Markdown: a diagram for GitHub, and the same rooms as lines of text. */
export function drawPicture(rooms: Rooms): string {
  const layers = layersOf(rooms).reverse()
  const ordered = layers.flat()
  const arrows = ordered.flatMap((from) =>
    directImports(rooms, from).map((to) => `    ${from} --> ${to}`),
  )
  const lines = layers.map((layer, i) => {
    const number = String(layers.length - i).padStart(2)
    return layer.map((room) => `${number}  ${room.padEnd(12)} ${importLine(rooms, room, ordered)}`)
  })
  return [
    FIRST_LINE,
    '',
    '```mermaid',
    'flowchart TD',
    '  sim["sim/"] --> src',
    '  subgraph src["src/"]',
    ...arrows,
    '  end',
    '  cli -. loads as a command .-> sim',
    '  src --> protocols["protocols/"]',
    '  protocols --> stages["stages/"]',
    '```',
    '',
    'An arrow points from a room to a room that its files import. The diagram leaves out an arrow where other arrows lead there.',
    'The list has all of them, one room a line, the highest layer first:',
    '',
    '```text',
    ...lines.flat().map((line) => line.trimEnd()),
    '```',
    '',
    LAST_LINE,
  ].join('\n')
}

/** The page with its picture replaced. @throws Error if the page has no place for the picture */
export function withPicture(page: string, picture: string): string {
  const [start, end] = [page.indexOf(FIRST_LINE), page.indexOf(LAST_LINE)]
  if (start < 0 || end < start) throw new Error(`The page lacks "${FIRST_LINE}" or "${LAST_LINE}".`)
  return page.slice(0, start) + picture + page.slice(end + LAST_LINE.length)
}

/** Imports that no path through another imported room leads to. */
function directImports(rooms: Rooms, from: string): string[] {
  const targets = rooms.get(from)!
  return [...targets]
    .filter((to) => ![...targets].some((other) => other !== to && reaches(rooms, other, to)))
    .sort()
}

function reaches(rooms: Rooms, from: string, to: string): boolean {
  return from === to || [...rooms.get(from)!].some((next) => reaches(rooms, next, to))
}

function importLine(rooms: Rooms, room: string, ordered: readonly string[]): string {
  const targets = ordered.filter((other) => rooms.get(room)!.has(other))
  return targets.length === 0 ? '' : `-> ${targets.join(', ')}`
}

/** The room of a file of `src/`; null for `src/main.ts` and for files of other folders. */
function roomOf(path: string): string | null {
  const [top, room, ...rest] = path.split('/')
  return top === 'src' && rest.length > 0 ? room! : null
}
