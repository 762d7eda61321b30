/** Processor time of messages: framing, encryption and checks are work at both ends of a link. */
import type { Handler, Message, Received } from '../../protocols/network.ts'
import { SerialQueue } from '../../stages/serial-queue.ts'
import { bodyBytes } from './message-size.ts'
import type { VirtualPeer } from './peer.ts'
import type { Process } from './processor.ts'

/** Milliseconds of one core at each end of a link. */
export interface MessageCost {
  /** For every message, question or answer. */
  readonly each: number
  /** For a million bytes of body, by the rule of message-size.ts. */
  readonly perMegabyte: number
}

/** Makes the peer's messages take time of `process`. One thread handles them all, one after another. */
export function chargeMessages(peer: VirtualPeer, process: Process, cost: MessageCost): void {
  const thread = new SerialQueue()
  const pass = (protocol: string, { body }: Message | Received) => {
    const bytes = body === undefined ? 0 : bodyBytes(protocol, body)
    return thread.take(() => process.compute(cost.each + (bytes / 1e6) * cost.perMegabyte))
  }
  const call = peer.call.bind(peer)
  peer.call = async (to, protocol, message, options) => {
    await pass(protocol, message)
    const answer = await call(to, protocol, message, options)
    await pass(protocol, answer)
    return answer
  }
  const handle = peer.handle.bind(peer)
  peer.handle = (protocol, handler) => {
    const charged: Handler = {
      ...handler,
      handle: async (from, message) => {
        await pass(protocol, message)
        const answer = await handler.handle(from, message)
        await pass(protocol, answer)
        return answer
      },
    }
    return handle(protocol, charged)
  }
}
