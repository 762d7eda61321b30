/**
 * Copies of a stage's state after earlier steps, one for each member that fetches the state: fetching takes longer than
 * a step. Members that fetch the state of the same step share one copy.
 */
import type { StateCopy } from './stage-replica.ts'

interface Frozen {
  readonly step: number
  readonly state: StateCopy
}

export class FrozenStates {
  readonly #byMember = new Map<number, Frozen>()

  /**
   * Keeps the state after `step` for a member, in place of what was kept for it.
   * @param copy makes a copy of the present state, which must be that after `step`
   */
  async freezeFor(member: number, step: number, copy: () => Promise<StateCopy>): Promise<void> {
    const shared = this.after(step)
    this.#byMember.set(member, { step, state: shared ?? (await copy()) })
  }

  /** The state after `step`, if it is kept for any member. */
  after(step: number): StateCopy | undefined {
    for (const frozen of this.#byMember.values()) if (frozen.step === step) return frozen.state
    return undefined
  }

  /** The member has the state. Frees its copy. */
  release(member: number): void {
    this.#byMember.delete(member)
  }

  /** Frees the copies of all other members. */
  retain(members: readonly number[]): void {
    for (const member of [...this.#byMember.keys()]) {
      if (!members.includes(member)) this.#byMember.delete(member)
    }
  }
}
