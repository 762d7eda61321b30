/** Observes what a peer answers, also to its own questions. The observation does not change the peer. */
import { ProtocolError } from '../../protocols/errors.ts'
import type { Handler, Json, Message, PeerId } from '../../protocols/network.ts'
import type { VirtualPeer } from '../world/peer.ts'

export interface Served {
  readonly peer: PeerId
  readonly from: PeerId
  readonly protocol: string
  readonly question: Json
  readonly body: Uint8Array | undefined
  readonly outcome: { readonly answer: Json } | { readonly error: unknown }
}

export interface Tap {
  /** Sends a question to the peer in the name of another peer. @throws the error that the peer's handler throws */
  ask(from: PeerId, protocol: string, question: Json, body?: Uint8Array): Promise<Message>
}

/** @param served is called when a question is answered or refused */
export function tap(peer: VirtualPeer, served: (what: Served) => void): Tap {
  const handlers = new Map<string, Handler>()
  const { self } = peer
  const tell = (
    from: PeerId,
    protocol: string,
    header: unknown,
    body: Uint8Array | undefined,
    outcome: Served['outcome'],
  ) => served({ peer: self, from, protocol, question: header as Json, body, outcome })
  const register = peer.handle.bind(peer)
  peer.handle = (protocol, handler) => {
    const { accept, handle } = handler
    // The handler is replaced in place, because the peer's calls to itself go to the handler and not through the network.
    handler.handle = async (from, message) => {
      const { header, body } = message
      try {
        const answer = await handle.call(handler, from, message)
        tell(from, protocol, header, body, { answer: answer.header })
        return answer
      } catch (error) {
        tell(from, protocol, header, body, { error })
        throw error
      }
    }
    if (accept !== undefined) {
      handler.accept = (from, header, length) => {
        try {
          return accept.call(handler, from, header, length)
        } catch (error) {
          tell(from, protocol, header, undefined, { error })
          throw error
        }
      }
    }
    handlers.set(protocol, handler)
    return register(protocol, handler)
  }
  return {
    async ask(from, protocol, question, body) {
      const handler = handlers.get(protocol)
      if (handler === undefined) throw new ProtocolError('UNKNOWN_PROTOCOL', protocol)
      if (body === undefined) return handler.handle(from, { header: question })
      const into = handler.accept!(from, question, body.length)
      into.set(body)
      return handler.handle(from, { header: question, body: into })
    },
  }
}
