/** Lets a peer call itself. The coordinator is a member, too, and sends itself the same questions. */
import { type Clock, withDeadline } from './clock.ts'
import { ProtocolError } from './errors.ts'
import { encodeHeader } from './frame.ts'
import type { CallOptions, Handler, Message, Network, PeerId, Received } from './network.ts'
import { asProtocolError } from './wire-error.ts'

/** A network whose calls to `self` go straight to the handlers registered through it. */
export function withLoopback(network: Network, clock: Clock): Network {
  const handlers = new Map<string, Handler>()
  return {
    self: network.self,
    get addresses() {
      return network.addresses
    },
    hostOf: (peer) => network.hostOf(peer),
    handle(protocol, handler) {
      const remove = network.handle(protocol, handler)
      handlers.set(protocol, handler)
      return () => {
        handlers.delete(protocol)
        remove()
      }
    },
    async call(peer, protocol, message, options) {
      if (peer !== network.self) return network.call(peer, protocol, message, options)
      const { timeoutMs, signal } = options
      // The limits are those of the wire: what fits here must fit when another member coordinates.
      encodeHeader(message)
      return withDeadline({ clock, timeoutMs, signal }, `this peer itself on ${protocol}`, () =>
        dispatch(handlers.get(protocol), peer, protocol, message, options),
      )
    },
    connect: (address, options) => network.connect(address, options),
    learn: (peer, addresses) => network.learn(peer, addresses),
    forget: (peer) => network.forget(peer),
    disconnect: (peer, stoodMs) => network.disconnect(peer, stoodMs),
    shun: (peer, ms) => network.shun(peer, ms),
    publish: (topic, header) => network.publish(topic, header),
    subscribe: (topic, listener) => network.subscribe(topic, listener),
    onLost: (listener) => network.onLost(listener),
    onFound: (listener) => network.onFound(listener),
    stop: () => network.stop(),
  }
}

async function dispatch(
  handler: Handler | undefined,
  self: PeerId,
  protocol: string,
  message: Message,
  options: CallOptions,
): Promise<Received> {
  if (handler === undefined) throw new ProtocolError('UNKNOWN_PROTOCOL', protocol)
  let body = message.body
  if (body !== undefined) {
    if (!handler.accept) throw new ProtocolError('REFUSED', `${protocol} takes no body`)
    const buffer = handler.accept(self, message.header, body.byteLength)
    buffer.set(body)
    body = buffer
  }
  const answer = await handler.handle(self, { header: message.header, body })
  checkAnswer(answer)
  if (answer.body === undefined) return answer
  if (!options.accept) throw new ProtocolError('REFUSED', `${protocol}: unexpected body`)
  const into = options.accept(answer.header, answer.body.byteLength)
  into.set(answer.body)
  return { header: answer.header, body: into }
}

/** @throws ProtocolError INTERNAL if the answer is over the limits: the handler ran, so that TOO_LARGE would be wrong */
function checkAnswer(answer: Message): void {
  try {
    encodeHeader(answer)
  } catch (error) {
    throw asProtocolError(error, 'INTERNAL')
  }
}
