/** Helpers of the tests of all networks. */
import { expect } from 'vitest'
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError, type ProtocolErrorCode } from '../../protocols/errors.ts'
import type { CallOptions, Handler, Message, Network, PeerId } from '../../protocols/network.ts'

export interface TestSwarm {
  /** Peers that do not know each other yet. Each listens at one address or more. */
  readonly peers: readonly Network[]
  readonly clock: Clock
  /** A well-formed identity that no peer has. */
  readonly stranger: PeerId
  /** A well-formed address at which nobody answers. */
  readonly nowhere: string
  /** Runs a test to its end, and advances time if it is virtual. */
  run(work: () => Promise<void>): Promise<void>
  /** Stops every peer that is not stopped yet. */
  stop(): Promise<void>
}

/** Declares a test of one property, with a new swarm of this many peers. */
export type DeclareTest = (
  title: string,
  body: (swarm: TestSwarm) => Promise<void>,
  peerCount?: number,
) => void

/** Options with a deadline that no test reaches. */
export const CALL: CallOptions = { timeoutMs: 20_000 }

export const PROTOCOL = '/conformance/first/1.0.0'
export const OTHER_PROTOCOL = '/conformance/second/1.0.0'
export const TOPIC = '/conformance/topic/1.0.0'

export const takesBody: Pick<Required<Handler>, 'accept'> = {
  accept: (_from, _header, length) => new Uint8Array(length),
}
export const acceptAnswer = (_header: unknown, length: number) => new Uint8Array(length)

/** Answers with the question. */
export const echo: Handler = { ...takesBody, handle: async (_from, message) => message as Message }

export const forever = new Promise<never>(() => {})

/** Bytes without a period, which a chunk size could hide. */
export function noise(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  for (let i = 0, x = 1; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0
    bytes[i] = x >>> 24
  }
  return bytes
}

/** Fast comparison. Matchers of whole arrays compare megabytes element by element. */
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
