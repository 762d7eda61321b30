/** Counts the bytes of a virtual peer's calls. */
import type { Received } from '../../protocols/network.ts'
import { bodyBytes } from './message-size.ts'
import type { VirtualPeer } from './peer.ts'

/** Makes `count` hear the bytes of both bodies of every answered call of this peer, by the rule of message-size.ts. */
export function meterCalls(
  peer: VirtualPeer,
  count: (protocol: string, bytes: number) => void,
): void {
  const call = peer.call.bind(peer)
  peer.call = async (to, protocol, message, options): Promise<Received> => {
    const answer = await call(to, protocol, message, options)
    for (const { body } of [message, answer]) {
      if (body !== undefined) count(protocol, bodyBytes(protocol, body))
    }
    return answer
  }
}
