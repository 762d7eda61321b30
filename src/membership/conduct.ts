/**
 * What other peers may cost this one. A peer that is refused again and again is cut off for a while. A guest, which has no
 * place in the roster, asks only so much in a second, and waits for its turn beyond that.
 */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError, type ProtocolErrorCode } from '../../protocols/errors.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { Offences } from '../../protocols/offences.ts'
import type { Journal } from '../base/journal.ts'
import { GUEST_BUDGET, OFFENCES, TIMEOUTS } from '../base/limits.ts'

/** Refusals that a peer with the right program and manifest does not earn by the hundred. */
const OFFENSIVE: ReadonlySet<ProtocolErrorCode> = new Set([
  'BAD_MESSAGE',
  'REFUSED',
  'NOT_MEMBER',
  'TOO_LARGE',
])

/** What a guest has left. With less than 0 it waits, and sends no body. */
interface Allowance {
  questions: number
  /** Bytes of answers. */
  bytes: number
  /** Bytes of bodies that it sends. */
  sent: number
  at: number
}

export interface ConductOptions {
  readonly network: Network
  readonly clock: Clock
  readonly journal: Journal
  readonly signal: AbortSignal
  isMember(peer: PeerId): boolean
}

export class Conduct {
  readonly #options: ConductOptions
  readonly #refusals: Offences
  readonly #malformed: Offences
  readonly #allowances = new Map<PeerId, Allowance>()

  constructor(options: ConductOptions) {
    const { clock } = options
    this.#options = options
    this.#refusals = new Offences(clock, OFFENCES.refusals, OFFENCES.windowMs)
    this.#malformed = new Offences(clock, OFFENCES.malformed, OFFENCES.windowMs)
  }

  /** A question of the peer was refused. Members are cut off for malformed questions only: a roster may be late. */
  refused(peer: PeerId, code: ProtocolErrorCode): void {
    const { network, isMember } = this.#options
    if (peer === network.self || !OFFENSIVE.has(code)) return
    if (code === 'BAD_MESSAGE' && this.#malformed.note(peer)) this.#cutOff(peer)
    else if (!isMember(peer) && this.#refusals.note(peer)) this.#cutOff(peer)
  }

  /** Waits until a guest may ask one more question. A member does not wait. */
  async turn(peer: PeerId): Promise<void> {
    const { network, clock, signal, isMember } = this.#options
    if (peer === network.self || isMember(peer)) return
    const allowance = this.#allowanceOf(peer)
    allowance.questions -= 1
    const { questions, bytes } = allowance
    const waitMs = Math.max(
      (1000 * -questions) / GUEST_BUDGET.questions,
      (1000 * -bytes) / GUEST_BUDGET.bytes,
    )
    if (waitMs > 0) await clock.sleep(Math.ceil(waitMs), signal)
  }

  /** A guest begins to send a body. @throws ProtocolError BUSY if it has sent too much lately */
  takesBody(peer: PeerId, length: number): void {
    const { network, isMember } = this.#options
    if (peer === network.self || isMember(peer)) return
    const allowance = this.#allowanceOf(peer)
    if (allowance.sent < 0) throw new ProtocolError('BUSY', 'this peer has sent too much lately')
    allowance.sent -= length
  }

  /** A guest has got an answer of so many bytes. */
  answered(peer: PeerId, bytes: number): void {
    const allowance = this.#allowances.get(peer)
    if (allowance !== undefined) allowance.bytes -= bytes
  }

  #allowanceOf(peer: PeerId): Allowance {
    const now = this.#options.clock.now()
    const { questions, bytes, sent, burstSeconds, guests } = GUEST_BUDGET
    const full = {
      questions: questions * burstSeconds,
      bytes: bytes * burstSeconds,
      sent: sent * burstSeconds,
    }
    const known = this.#allowances.get(peer) ?? { ...full, at: now }
    const seconds = (now - known.at) / 1000
    known.questions = Math.min(full.questions, known.questions + seconds * questions)
    known.bytes = Math.min(full.bytes, known.bytes + seconds * bytes)
    known.sent = Math.min(full.sent, known.sent + seconds * sent)
    known.at = now
    this.#allowances.delete(peer)
    this.#allowances.set(peer, known)
    if (this.#allowances.size > guests) {
      this.#allowances.delete(this.#allowances.keys().next().value!)
    }
    return known
  }

  #cutOff(peer: PeerId): void {
    const { network, journal } = this.#options
    const minutes = TIMEOUTS.shunMs / 60_000
    const message = `${peer} was refused too often, and is cut off for ${minutes} minutes`
    journal.write({ type: 'notice', message })
    network.shun(peer, TIMEOUTS.shunMs)
  }
}
