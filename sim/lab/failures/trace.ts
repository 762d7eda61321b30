/**
 * Process `trace`: peers come and go like the instances of a recorded fleet.
 * The first instances of the fleet are the peers of the swarm, and the other instances are on standby.
 * The instance that has been on standby longest takes the lowest empty slot.
 * While the fleet is smaller than the swarm, some slots have no instance and lose none.
 * At its end the trace starts again with its first instances. Their new assignment to slots is not a loss.
 */
import { resolve } from 'node:path'
import { z } from 'zod'
import { failureProcess, named, setting } from './process.ts'
import { readTrace, type TraceEvent } from './trace-file.ts'

const MS_PER_HOUR = 3_600_000

interface SlotLoss {
  readonly ms: number
  readonly slot: number
}

export const trace = failureProcess({
  name: 'trace',
  schema: z
    .strictObject({
      ...named('trace'),
      path: setting(
        z.string().min(1),
        '',
        'The trace, relative to the folder of the scenario file: lines `milliseconds,add|remove,instance` or `YYYY-MM-DD, HH:MM:SS, count`. docs/FAILURES.md has the details.',
      ),
      gapHoursMax: setting(
        z.number().positive().default(1),
        'hours',
        'Largest gap between two samples. A trace with a longer gap is refused. For `YYYY-MM-DD, HH:MM:SS, count` only.',
      ),
    })
    .meta({
      description: 'Peers come and go like the instances of a recorded trace, from its beginning.',
    }),
  draw: ({ path, gapHoursMax }, { place, random, folder }) => {
    const { events, lengthMs } = readTrace(resolve(folder, path), gapHoursMax, random)
    const once = slotLosses(events, place.peers)
    const losses: { hours: number; slot: number }[] = []
    for (let startMs = 0; startMs < place.hours * MS_PER_HOUR; startMs += lengthMs) {
      for (const { ms, slot } of once) losses.push({ hours: (startMs + ms) / MS_PER_HOUR, slot })
    }
    return losses
  },
  describe: ({ path }) => `Peers come and go as the instances in ${path}.`,
})

function slotLosses(events: readonly TraceEvent[], peers: number): SlotLoss[] {
  const losses: SlotLoss[] = []
  const slotOf = new Map<string, number>()
  const standingBy = new Set<string>()
  const empty = new Set(Array.from({ length: peers }, (_, slot) => slot))
  // Slots are filled after all events of a moment, so an instance removed in the same moment is no replacement.
  const fill = () => {
    const slots = [...empty].sort((a, b) => a - b)
    for (const instance of standingBy) {
      const slot = slots.shift()
      if (slot === undefined) return
      slotOf.set(instance, slot)
      standingBy.delete(instance)
      empty.delete(slot)
    }
  }
  let nowMs = 0
  for (const { ms, kind, instance } of events) {
    if (ms > nowMs) fill()
    nowMs = ms
    if (kind === 'add') {
      standingBy.add(instance)
      continue
    }
    const slot = slotOf.get(instance)
    standingBy.delete(instance)
    if (slot === undefined) continue
    slotOf.delete(instance)
    empty.add(slot)
    losses.push({ ms, slot })
  }
  return losses
}
