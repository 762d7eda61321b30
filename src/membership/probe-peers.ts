/** Sends probes to peers, and tells which of them do not answer. */
import { ProtocolError } from '../../protocols/errors.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { NOTICE_LENGTH, PROBE_BYTES, probe } from '../../protocols/reach.ts'

export interface ProbeOptions {
  readonly network: Network
  readonly runId: string
}

const LINK_FAILURES: ReadonlySet<string> = new Set([
  'TIMEOUT',
  'PEER_LOST',
  'UNREACHABLE',
  'CORRUPT',
])

/** True if a message or its answer may have been lost on the way. */
export function isLinkFailure(code: string): boolean {
  return LINK_FAILURES.has(code)
}

/** How peers are tried. */
export interface ProbeManner {
  /** Deadline of each probe, in milliseconds. */
  readonly probeMs: number
  /** True if a standing connection is to end that gives no answer, so that the next message dials anew. */
  readonly hangUp: boolean
}

/** A peer that did not answer. */
export interface Unreached {
  readonly peer: PeerId
  readonly reason: string
}

/** @returns the peers that did not answer */
export async function probePeers(
  options: ProbeOptions,
  peers: readonly PeerId[],
  manner: ProbeManner,
): Promise<Unreached[]> {
  const probed = await Promise.all(
    peers.map(async (peer) => {
      const reason = await failureOf(options, peer, manner)
      return reason === null ? [] : [{ peer, reason: reason.slice(0, NOTICE_LENGTH) }]
    }),
  )
  return probed.flat()
}

async function failureOf(
  { network, runId }: ProbeOptions,
  peer: PeerId,
  { probeMs: timeoutMs, hangUp }: ProbeManner,
) {
  if (peer === network.self) return null
  try {
    const question = { run: runId, padding: '.'.repeat(PROBE_BYTES) }
    await ask(network, peer, probe, question, { timeoutMs })
    return null
  } catch (error) {
    // A peer that refuses has received the question.
    if (error instanceof ProtocolError && !isLinkFailure(error.code)) return null
    if (hangUp) network.disconnect(peer)
    return (error as Error).message
  }
}
