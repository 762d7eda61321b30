import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { InputError } from '../../src/base/errors.ts'
import type { Point } from './statistics.ts'

/**
 * Reads the held-out loss of a recorded run from a CSV file of iteration and loss.
 * @throws InputError if the file is missing or holds no curve
 */
export function recordedCurve(curve: string, folder: string): Point[] {
  const path = resolve(folder, curve)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    throw new InputError(`curve ${curve}: ${path} cannot be read.`)
  }
  const points = text
    .trim()
    .split('\n')
    .filter((line) => /^\d/.test(line))
    .map((line) => line.split(',').map(Number) as [number, number])
  const wrong = points.find(([step, loss], i) => {
    const before = points[i - 1]?.[0] ?? -1
    return !(step > before) || !Number.isFinite(loss)
  })
  if (points.length < 2 || wrong !== undefined) {
    throw new InputError(
      `curve ${curve}: lines of iteration,loss are needed, the iterations rising${wrong ? `; see ${wrong.join(',')}` : ''}.`,
    )
  }
  return points
}
