/** A call that has not ended. It ends once: by its answer, its deadline, its signal, or the loss of the peer. */
import { onAbort } from '../../protocols/abort.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { CallOptions, PeerId, Received } from '../../protocols/network.ts'
import type { Machine } from './machine.ts'
import type { VirtualPeer } from './peer.ts'

export class PendingCall {
  readonly answer: Promise<Received>
  readonly options: CallOptions
  /** The peer that was asked, once there is a connection. */
  to: VirtualPeer | undefined = undefined
  #settled = false
  #resolve!: (answer: Received) => void
  #reject!: (why: unknown) => void
  readonly #cancelDeadline: () => void
  readonly #unhook: (() => void) | undefined
  readonly #over: (call: PendingCall) => void

  /** @param over is called when the call has ended */
  constructor(
    machine: Machine,
    peer: PeerId,
    protocol: string,
    options: CallOptions,
    over: (call: PendingCall) => void,
  ) {
    const { timeoutMs, signal } = options
    this.options = options
    this.#over = over
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#cancelDeadline = machine.schedule(timeoutMs, 'deadline', () =>
      this.fail(
        new ProtocolError(
          'TIMEOUT',
          `waited ${timeoutMs} ms for peer ${peer} to answer ${protocol}`,
        ),
      ),
    )
    this.#unhook = signal && onAbort(signal, () => this.fail(signal.reason))
  }

  /** True once the call has ended. The memory for an answer's body may be in use again, so none may be stored. */
  get settled(): boolean {
    return this.#settled
  }

  succeed(answer: Received): void {
    if (this.#end()) this.#resolve(answer)
  }

  fail(why: unknown): void {
    if (this.#end()) this.#reject(why)
  }

  #end(): boolean {
    if (this.#settled) return false
    this.#settled = true
    this.#cancelDeadline()
    this.#unhook?.()
    this.#over(this)
    return true
  }
}
