/** What a virtual peer's calls weigh. */
import type { Received } from '../../protocols/network.ts'
import { bodyBytes } from './message-size.ts'
import type { VirtualPeer } from './peer.ts'

/** From now on `count` hears of every call of this peer that is answered: the bytes of both bodies. */
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
