/** Finds the losses of peers that are losses of a stage, where each stage has one holder. A replay needs these losses. */
import type { Loss } from './failures/loss.ts'

/**
 * Assigns the stages and the ends to the first peers, in the order of their slots. All other peers wait. A lost stage goes
 * to the waiting peer that came first. The replacement of a lost peer waits behind all others.
 * @returns the losses by which a stage was left without a holder
 */
export function stageLosses(losses: readonly Loss[], stages: number, peers: number): Loss[] {
  const slots = Array.from({ length: peers }, (_, slot) => slot)
  const held = new Map(slots.slice(0, stages + 1).map((slot) => [slot, slot]))
  const waiting = slots.slice(stages + 1)
  return losses.flatMap((loss) => {
    if ('stage' in loss) return [loss]
    const { slot, hours } = loss
    const stage = held.get(slot)
    if (stage === undefined) {
      waiting.splice(waiting.indexOf(slot), 1)
      waiting.push(slot)
      return []
    }
    held.delete(slot)
    waiting.push(slot)
    held.set(waiting.shift()!, stage)
    return [{ hours, stage }]
  })
}
