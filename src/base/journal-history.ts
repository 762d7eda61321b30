/**
 * What is kept of the entries whose files are removed: how the run was founded, each change of the roster, each loss and
 * recovery, and the curve of the loss. The curve becomes coarser when the history grows.
 */
import type { Entry } from './journal.ts'
import { type Line, textOf } from './journal-lines.ts'

/** Entries that a history keeps. */
const KEPT: ReadonlySet<Entry['type']> = new Set([
  'started',
  'founded',
  'joined',
  'elected',
  'dropped',
  'roster',
  'lost',
  'held',
  'checkpoint',
  'rollback',
  'resharded',
  'skipped',
  'evaluation',
  'step',
  'committed',
  'finished',
])

/** Number of points of the loss curve that stay, whatever else must go. */
const POINTS_MIN = 1_000

/** The lines of a file that belong to the history. */
export function keptOf(lines: readonly Line[]): Line[] {
  const made = new Set(lines.flatMap((line) => (line.type === 'step' ? [line.step] : [])))
  return lines.flatMap((line): Line[] => {
    if (line.type === 'file' || !KEPT.has(line.type)) return []
    // The coordinator has the step's own entry, too.
    if (line.type === 'committed' && made.has(line.step)) return []
    // The numbers of each stage are of no use for a curve.
    return line.type === 'step' ? [{ ...line, counted: [], norms: [], busySeconds: [] }] : [line]
  })
}

/**
 * Shortens a history to half of `maxBytes` when it is longer than that. Points of the loss curve go first, until the steps of
 * those that stay are multiples of a power of two. Then the older half of the other entries goes. The entry by which this
 * peer first came into the run stays.
 */
export function thinned(lines: readonly Line[], maxBytes: number): Line[] {
  const entered = lines.find(({ type }) => type === 'founded' || type === 'joined')
  let sized = lines.map((line) => ({ line, bytes: Buffer.byteLength(textOf(line)) }))
  const sizeOf = () => sized.reduce((sum, { bytes }) => sum + bytes, 0)
  if (sizeOf() <= maxBytes) return [...lines]
  for (let stride = 2; sizeOf() > maxBytes / 2; stride *= 2) {
    const points = sized.filter(({ line }) => isPoint(line))
    const others = sized.filter(({ line }) => !isPoint(line) && line !== entered)
    if (points.length <= POINTS_MIN && others.length === 0) break
    const gone = new Set(
      points.length > POINTS_MIN
        ? points.filter(({ line }) => isPoint(line) && line.step % stride !== 0)
        : others.slice(0, Math.ceil(others.length / 2)),
    )
    sized = sized.filter((each) => !gone.has(each))
  }
  return sized.map(({ line }) => line)
}

function isPoint(line: Line): line is Extract<Line, { type: 'step' | 'committed' }> {
  return line.type === 'step' || line.type === 'committed'
}
