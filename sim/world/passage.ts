/** One message on its way from one peer to another. It is the label of its event, and becomes text only when read. */
import type { MessageKind } from './disturbance.ts'
import type { VirtualPeer } from './peer.ts'

export class Passage {
  readonly from: VirtualPeer
  readonly to: VirtualPeer
  readonly kind: MessageKind
  readonly #what: string
  readonly #corrupt: () => void
  readonly #arrive: () => unknown
  /** True for a question whose answer is never sent. */
  unanswered = false

  /** @param corrupt is called instead of `arrive` if the checksum does not match */
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

  /** Delivers the message, unless either peer has died. */
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
