/**
 * Which members can talk to each other. The coordinator may reach two holders of which one does not reach the other. Then
 * nobody is lost, and no step is made. The coordinator has other members try both ends, and the end that fewer of them reach
 * gives its stage up.
 */
import type { Member, Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { ReportQuestion } from '../../protocols/step.ts'
import { LINK_STRIKES, TIMEOUTS, WITNESSES_MAX } from '../base/limits.ts'
import { isLinkFailure } from '../membership/probe-peers.ts'
import { holdersOf, memberById, memberOf, sparesOf } from '../membership/roster.ts'
import type { Run } from '../run/run.ts'
import { BrokenLinks } from './broken-links.ts'
import { neighbouringStages } from './journeys.ts'
import type { Match } from './placement.ts'
import { failingLinks, type Link, type ReachOptions } from './reach-members.ts'
import { type VettingOptions, vet } from './vetting.ts'

export interface LinksOptions extends ReachOptions, Pick<VettingOptions, 'teller' | 'changed'> {
  readonly run: Run
}

/** A holder that is to give its stage to another member. */
interface Relief {
  readonly stage: number
  readonly reason: string
  /** Time of the clock, in milliseconds. */
  readonly since: number
}

const PROBE = { probeMs: TIMEOUTS.probeMs, hangUp: false }

export class Links {
  readonly broken: BrokenLinks
  /** The stages between which microbatches pass directly, by stage. */
  readonly neighbours: readonly ReadonlySet<number>[]
  readonly #options: LinksOptions
  /** By id. */
  readonly #reliefs = new Map<number, Relief>()
  /** Links that are being examined, by both ids. */
  readonly #examining = new Map<string, Promise<string | null>>()

  constructor(options: LinksOptions) {
    this.#options = options
    this.broken = new BrokenLinks(options.clock)
    this.neighbours = neighbouringStages(options.run)
  }

  get #roster(): Roster {
    return this.#options.acceptor.roster
  }

  /** Holders that are to give their stage to another member, each with the reason, by id. */
  get relieved(): ReadonlyMap<number, string> {
    const reasons = new Map<number, string>()
    for (const [id, { stage, reason }] of this.#reliefs) {
      const member = memberById(this.#roster, id)
      // The member gave the stage up. If it takes the stage again, its links have been tried anew.
      if (member?.stage !== stage) this.#reliefs.delete(id)
      else if (member.ready) reasons.set(id, reason)
    }
    return reasons
  }

  /** The member is out of the roster. */
  forget(id: number): void {
    this.#reliefs.delete(id)
  }

  /** Each holder has had its part in a step. */
  worked(): void {
    this.broken.worked()
    this.#reliefs.clear()
  }

  /** Has spares and the neighbours of the stages that they are to take try each other. @returns ids of unfit spares */
  vet(matches: readonly Match[]): Promise<ReadonlySet<number>> {
    return vet({ ...this.#options, broken: this.broken, neighbours: this.neighbours }, matches)
  }

  /**
   * A member reports that it could not send to another.
   * @returns what is wrong with their link; null if it seems to work, or one of the two is lost
   */
  async heard(
    sender: PeerId,
    to: Member,
    { code, reason }: ReportQuestion,
    incident: string,
  ): Promise<string | null> {
    const { health, signal } = this.#options
    await health.suspect(to.peer, reason)
    const from = memberOf(this.#roster, sender)
    const isThere = !signal.aborted && !health.lost.has(to.id)
    if (from === undefined || !isThere || !isLinkFailure(code)) return null
    return this.failed({ from, to }, reason, incident)
  }

  /**
   * A member could not send to another, though both are there.
   * @param incident names what failed: several failures of one incident count once
   * @returns what is wrong with the link; null if it seems to work
   */
  failed(link: Link, reason: string, incident: string): Promise<string | null> {
    const key = `${link.from.id} ${link.to.id}`
    const known = this.#examining.get(key)
    if (known !== undefined) return known
    const examining = this.#examine(link, reason, incident)
    this.#examining.set(key, examining)
    return examining.finally(() => this.#examining.delete(key))
  }

  /** Has members try these links. @returns what is wrong with one that does not work; null if all work */
  async tryAll(links: readonly Link[], incident: string): Promise<string | null> {
    const failed = await failingLinks(this.#options, links, PROBE)
    for (const { reason, ...link } of failed) {
      const verdict = await this.failed(link, reason, incident)
      if (verdict !== null) return verdict
    }
    return null
  }

  async #examine({ from, to }: Link, said: string, incident: string): Promise<string | null> {
    const { teller, signal } = this.#options
    const strikes = this.broken.strike(from.peer, to.peer, incident)
    const both = [
      { from, to },
      { from: to, to: from },
    ]
    const failed = await failingLinks(this.#options, both, { ...PROBE, hangUp: true })
    if (this.#isGone(from) || this.#isGone(to)) return null
    if (failed.length === 0 && strikes < LINK_STRIKES) return null
    const reason = failed[0]?.reason ?? said
    this.broken.add(from.peer, to.peer, reason)
    const { atFault, isUnreachable } = await this.#judge(from, to)
    if (signal.aborted || this.#isGone(atFault)) return null
    const why = `${nameOf(from)} and ${nameOf(to)} do not reach each other (${reason})`
    teller.tell(`${nameOf(atFault)} is to give its stage to a spare: ${why}`)
    this.#relieve(atFault, why, isUnreachable)
    return why
  }

  #isGone({ id, stage }: Member): boolean {
    const { health } = this.#options
    return health.lost.has(id) || memberById(this.#roster, id)?.stage !== stage
  }

  /** Which of two members that cannot talk is at fault: the one that fewer others reach, and are reached by. */
  async #judge(from: Member, to: Member): Promise<{ atFault: Member; isUnreachable: boolean }> {
    const witnesses = this.#witnesses(from, to)
    const links = witnesses.flatMap((witness) =>
      [from, to].flatMap((end) => [
        { from: end, to: witness },
        { from: witness, to: end },
      ]),
    )
    const failed = await failingLinks(this.#options, links, PROBE)
    const troublesOf = (end: Member) =>
      new Set(
        failed.flatMap((link) => (link.from === end ? link.to : link.to === end ? link.from : [])),
      )
    const [a, b] = [troublesOf(from), troublesOf(to)]
    const isFirst = a.size === b.size ? this.#costOf(from) < this.#costOf(to) : a.size > b.size
    const [atFault, troubles] = isFirst ? [from, a] : [to, b]
    const spares = witnesses.filter(({ stage }) => stage === null)
    const canGive = spares.length === 0 || spares.some((spare) => !troubles.has(spare))
    return { atFault, isUnreachable: 2 * troubles.size > witnesses.length || !canGive }
  }

  /** Members that try both ends: spares, which may take the stage, then neighbours, then other holders. */
  #witnesses(from: Member, to: Member): Member[] {
    const { health } = this.#options
    const near = new Set([from, to].flatMap(({ stage }) => [...this.neighbours[stage!]!]))
    const others = this.#roster.members.filter(
      ({ id }) => id !== from.id && id !== to.id && !health.lost.has(id),
    )
    const spares = others.filter(({ stage }) => stage === null)
    const holders = others.filter(({ stage }) => stage !== null)
    return [
      ...spares.slice(0, WITNESSES_MAX / 2),
      ...holders.filter(({ stage }) => near.has(stage!)),
      ...holders.filter(({ stage }) => !near.has(stage!)),
    ].slice(0, WITNESSES_MAX)
  }

  /** How much it costs that the member gives its stage up. */
  #costOf({ id, stage }: Member): number {
    const isOnly = holdersOf(this.#roster, stage!).length === 1
    return Number(stage === 0) + 2 * Number(isOnly) + 4 * Number(id === this.#roster.coordinator)
  }

  /** The member gives its stage to a spare, which fetches the state first. If nobody can fetch it, the member is lost. */
  #relieve({ id, peer, stage }: Member, reason: string, isUnreachable: boolean): void {
    const { clock, health, changed } = this.#options
    const before = this.#reliefs.get(id)
    const since = before?.stage === stage ? before.since : clock.now()
    const isOverdue = clock.now() - since > TIMEOUTS.reliefMs && sparesOf(this.#roster).length > 0
    const isLost = id !== this.#roster.coordinator && (isUnreachable || isOverdue)
    if (isLost) health.lose(peer, reason)
    else this.#reliefs.set(id, { stage: stage!, reason, since })
    changed.notify()
  }

  /** Waits until something changes that may relieve the member. After too long a time the member is lost. */
  async untilRelieved(id: number, changed: Promise<void>): Promise<void> {
    const { clock, health, signal } = this.#options
    const relief = this.#reliefs.get(id)!
    const over = new AbortController()
    const leftMs = Math.max(0, relief.since + TIMEOUTS.reliefMs - clock.now())
    const late = clock.sleep(leftMs, AbortSignal.any([signal, over.signal])).then(() => true)
    late.catch(() => {})
    const isLate = await Promise.race([changed.then(() => false), late])
    over.abort()
    if (!isLate) return
    this.#reliefs.delete(id)
    const member = memberById(this.#roster, id)
    if (member !== undefined && id !== this.#roster.coordinator) {
      health.lose(member.peer, relief.reason)
    }
  }
}

function nameOf({ peer, stage }: Member): string {
  return `${peer} (stage ${stage})`
}
