/** What the tests of all networks share. */
import { expect } from 'vitest'
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError, type ProtocolErrorCode } from '../../protocols/errors.ts'
import type { CallOptions, Handler, Message, Network, PeerId } from '../../protocols/network.ts'

export interface TestSwarm {
  /** None knows another yet; each listens at an address or more. */
  readonly peers: readonly Network[]
  readonly clock: Clock
  /** A well-formed identity that no peer has. */
  readonly stranger: PeerId
  /** A well-formed address at which nobody answers. */
  readonly nowhere: string
  /** Runs a test to its end: where time is virtual, this is what moves it. */
  run(work: () => Promise<void>): Promise<void>
  /** Stops every peer; some may have been stopped before. */
  stop(): Promise<void>
}

/** Declares a test of one promise, over a fresh swarm of as many peers. */
export type Promises = (
  title: string,
  body: (swarm: TestSwarm) => Promise<void>,
  peerCount?: number,
) => void

/** Long enough to be no part of what is tested, in real time as well. */
export const CALL: CallOptions = { timeoutMs: 20_000 }

export const PROTOCOL = '/conformance/first/1.0.0'
export const OTHER_PROTOCOL = '/conformance/second/1.0.0'
export const TOPIC = '/conformance/topic/1.0.0'

export const takesBody: Pick<Required<Handler>, 'accept'> = {
  accept: (_from, _header, length) => new Uint8Array(length),
}
export const acceptAnswer = (_header: unknown, length: number) => new Uint8Array(length)

/** Answers with what it was asked. */
export const echo: Handler = { ...takesBody, handle: async (_from, message) => message as Message }

export const forever = new Promise<never>(() => {})

/** Bytes without a period that a chunk size could hide. */
export function noise(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  for (let i = 0, x = 1; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0
    bytes[i] = x >>> 24
  }
  return bytes
}

/** Whole-array matchers walk megabytes element by element; this does not. */
export function sameBytes(actual: Uint8Array | undefined, expected: Uint8Array): boolean {
  return actual !== undefined && Buffer.compare(actual, expected) === 0
}

export async function failsWith(
  call: Promise<unknown>,
  code: ProtocolErrorCode,
): Promise<ProtocolError> {
  const error: unknown = await call.then(
    () => expect.fail(`the call was answered, expected ${code}`),
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(ProtocolError)
  expect(error).toMatchObject({ code })
  return error as ProtocolError
}

/** The first two peers, connected. */
export async function pair({ peers }: TestSwarm): Promise<[asker: Network, answerer: Network]> {
  const [asker, answerer] = peers as [Network, Network]
  await asker.connect(answerer.addresses[0]!, CALL)
  return [asker, answerer]
}
