/**
 * Bodies of the questions about a step: which microbatches a holder of the ends drives along which routes, and their losses.
 * A header is too small for thousands of microbatches.
 */
import { ProtocolError } from './errors.ts'
import type { PeerId } from './network.ts'
import { HOPS_MAX, type Journey, MICROBATCHES_MAX } from './step.ts'

/** Most bytes of a hop, which is two numbers with a comma each. */
const HOP_BYTES = 34

/** Most bytes of a microbatch beside its route. */
const DRIVE_BYTES = 80

/** Mean cross-entropy of one microbatch, in nats a token. */
export interface Loss {
  /** Index of the microbatch within the step. */
  readonly index: number
  readonly loss: number
}

/** JSON of the body. A route is written once, since most microbatches share theirs. */
interface Table {
  /** Stage and member of each hop, in turn. */
  readonly routes: readonly (readonly number[])[]
  /** Index, attempt and driver of each microbatch, and the index of its route. */
  readonly drives: readonly (readonly [number, number, number, number])[]
}

/** Most bytes that the drives of a run can have. */
export function drivesBytesMax(microbatches: number, stages: number): number {
  return 64 + microbatches * (DRIVE_BYTES + stages * HOP_BYTES)
}

/** @returns undefined if there are none */
export function encodeDrives(drives: readonly Journey[]): Uint8Array | undefined {
  if (drives.length === 0) return undefined
  const known = new Map<string, number>()
  const routes: number[][] = []
  const rows = drives.map(({ index, attempt, driver, route }) => {
    const hops = route.flatMap(({ stage, id }) => [stage, id])
    const key = hops.join()
    let number = known.get(key)
    if (number === undefined) {
      number = routes.push(hops) - 1
      known.set(key, number)
    }
    return [index, attempt, driver, number] as const
  })
  return new TextEncoder().encode(JSON.stringify({ routes, drives: rows } satisfies Table))
}

/** @throws ProtocolError BAD_MESSAGE */
export function decodeDrives(from: PeerId, body: Uint8Array | undefined): Journey[] {
  if (body === undefined) return []
  const { routes, drives } = tableOf(from, body)
  const hops = routes.map((route) => {
    const pairs = Array.from({ length: route.length / 2 }, (_, i) => 2 * i)
    return pairs.map((i) => ({ stage: route[i]!, id: route[i + 1]! }))
  })
  return drives.map(([index, attempt, driver, route]) => ({
    index,
    attempt,
    driver,
    route: hops[route]!,
  }))
}

function tableOf(from: PeerId, body: Uint8Array): Table {
  try {
    const table: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
    if (isTable(table)) return table
  } catch {
    // The error below says what matters.
  }
  throw new ProtocolError('BAD_MESSAGE', `the drives from ${from} are malformed`)
}

/** One function checks all, since a schema of many numbers costs more time than the numbers. */
function isTable(value: unknown): value is Table {
  const { routes, drives } = Object(value) as Table
  const areRoutes = isList(routes, MICROBATCHES_MAX) && routes.every(isRoute)
  return (
    areRoutes &&
    isList(drives, MICROBATCHES_MAX) &&
    drives.every((drive) => isList(drive, 4) && drive.length === 4 && drive.every(isCount)) &&
    drives.every(([, , , route]) => route < routes.length)
  )
}

function isRoute(value: readonly number[]): boolean {
  const isLong = isList(value, 2 * HOPS_MAX) && value.length >= 2
  return isLong && value.length % 2 === 0 && value.every(isCount)
}

function isList(value: unknown, max: number): boolean {
  return Array.isArray(value) && value.length <= max
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

/** Bytes of one loss: its index and its value, as float64. */
const LOSS_BYTES = 16

/** Most bytes of the losses of one answer. */
export const LOSSES_BYTES_MAX = MICROBATCHES_MAX * LOSS_BYTES

/** @returns undefined if there are none */
export function encodeLosses(losses: readonly Loss[]): Uint8Array | undefined {
  if (losses.length === 0) return undefined
  const values = Float64Array.from(losses.flatMap(({ index, loss }) => [index, loss]))
  return new Uint8Array(values.buffer)
}

/** @throws ProtocolError BAD_MESSAGE; NON_FINITE for a loss that is no number */
export function decodeLosses(from: PeerId, body: Uint8Array | undefined): Loss[] {
  if (body === undefined) return []
  const values = new Float64Array(body.slice().buffer, 0, Math.floor(body.length / 8))
  const losses = Array.from({ length: values.length / 2 }, (_, i) => ({
    index: values[2 * i]!,
    loss: values[2 * i + 1]!,
  }))
  if (body.length % LOSS_BYTES !== 0 || !losses.every(({ index }) => isCount(index))) {
    throw new ProtocolError('BAD_MESSAGE', `the losses from ${from} are malformed`)
  }
  const wrong = losses.find(({ loss }) => !Number.isFinite(loss))
  if (wrong === undefined) return losses
  const what = `the loss of microbatch ${wrong.index} from ${from} is ${wrong.loss}`
  throw new ProtocolError('NON_FINITE', what)
}
