/** Tells the coordinator when others can reach this member at other addresses than the roster says. */
import type { Clock } from '../../protocols/clock.ts'
import { type Member, moved, type Roster } from '../../protocols/membership.ts'
import type { Network } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import type { Journal } from '../base/journal.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { coordinatorOf } from './roster.ts'
import { hasLeft } from './roster-addresses.ts'

export interface AddressAnnouncerOptions {
  readonly network: Network
  readonly clock: Clock
  readonly runId: string
  readonly journal: Journal
  readonly signal: AbortSignal
  /** Latest roster; null while this peer is not in a roster. */
  roster(): Roster | null
  /** This peer's entry in the roster. */
  own(): Member | undefined
}

export class AddressAnnouncer {
  readonly #options: AddressAnnouncerOptions
  #isAsking = false
  /** The addresses that the journal has told last. */
  #told = ''

  constructor(options: AddressAnnouncerOptions) {
    this.#options = options
  }

  /** Compares the addresses of this moment with the roster. A failed announcement is repeated at the next call. */
  check(): void {
    const { network, roster, own } = this.#options
    const [known, member] = [roster(), own()]
    if (known === null || member === undefined || this.#isAsking) return
    const addresses = [...network.addresses]
    if (addresses.toSorted().join() === member.addresses.toSorted().join()) {
      this.#told = ''
      return
    }
    this.#tell(known, member, addresses)
    if (addresses.length > 0) void this.#announce(known, member, addresses)
  }

  /** Once for each change: the journal hears of it, and connections from an address that is gone are ended. */
  #tell({ members }: Roster, member: Member, addresses: readonly string[]): void {
    if (this.#told === addresses.join(', ')) return
    this.#told = addresses.join(', ')
    const { network, journal } = this.#options
    const message =
      addresses.length > 0
        ? `this peer is reached at ${this.#told} from now on`
        : 'this machine has none of the addresses of --listen any more, so no peer can reach this one: restart it with --listen /ip4/0.0.0.0/tcp/PORT'
    journal.write({ type: 'notice', message })
    if (!hasLeft(member.addresses, addresses)) return
    for (const { peer } of members) if (peer !== network.self) network.disconnect(peer)
  }

  async #announce(roster: Roster, { session }: Member, addresses: string[]): Promise<void> {
    const { network, runId, signal } = this.#options
    this.#isAsking = true
    try {
      const question = { run: runId, session, addresses }
      const options = { timeoutMs: TIMEOUTS.rosterMs, signal }
      await ask(network, coordinatorOf(roster).peer, moved, question, options)
    } catch {
      // The next check asks again, and perhaps another coordinator.
    } finally {
      this.#isAsking = false
    }
  }
}
