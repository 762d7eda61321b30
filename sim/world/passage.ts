/** One message on its way from one peer to another. As an event's label it costs nothing until somebody reads it. */
import type { MessageKind } from './disturbance.ts'
import type { VirtualPeer } from './peer.ts'

export class Passage {
  readonly from: VirtualPeer
  readonly to: VirtualPeer
  readonly kind: MessageKind
  readonly #what: string
  readonly #corrupt: () => void
  readonly #arrive: () => unknown
  /** Of a question: whatever the handler says stays there. */
  unanswered = false

  /** @param corrupt is called instead of `arrive` if its checksum does not match */
  constructor(
    from: VirtualPeer,
    to: VirtualPeer,
    kind: MessageKind,
    what: string,
    corrupt: () => void,
    arrive: () => unknown,
  ) {
    this.from = from
    this.to = to
    this.kind = kind
    this.#what = what
    this.#corrupt = corrupt
    this.#arrive = arrive
  }

  /** What is on its way is lost with either end. */
  arrive(): void {
    if (this.from.alive && this.to.alive) this.#arrive()
  }

  spoil(): void {
    if (this.from.alive && this.to.alive) this.#corrupt()
  }

  toString(): string {
    const kind = this.kind === 'answer' ? 'answer ' : ''
    return `${this.from.self} > ${this.to.self} ${kind}${this.#what}`
  }
}
