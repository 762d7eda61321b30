/** Cuts a change of the members so that it fits the header of a message. */
import type { Change } from '../../protocols/agreement.ts'
import { LIMITS } from '../../protocols/network.ts'

/** Most bytes of a change as JSON. The rest of the header is for the fields beside the change. */
const CHANGE_BYTES = LIMITS.header - 4 * 1024

type MembersChange = Omit<Extract<Change, { type: 'members' }>, 'coordinator' | 'ballot'>

/**
 * Takes as many leaving, moved and joining peers into the change as fit, in this order. Those left out wait for the next change.
 * All assignments stay, since their number is bounded.
 */
export function fitting<C extends MembersChange>(change: C): C {
  let left = CHANGE_BYTES - AUTHOR_BYTES - bytesOf({ ...change, leave: [], move: [], join: [] })
  const taken = <T>(items: readonly T[]): T[] => {
    const some: T[] = []
    for (const item of items) {
      left -= bytesOf(item) + 1
      if (left < 0) break
      some.push(item)
    }
    return some
  }
  const leave = taken(change.leave)
  const move = taken(change.move ?? [])
  return { ...change, leave, move, join: taken(change.join) }
}

/** Most bytes of the coordinator and its ballot, which are added later. */
const AUTHOR_BYTES = 128

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value))
}
