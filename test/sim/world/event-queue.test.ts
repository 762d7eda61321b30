import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EventQueue, type QueuedEvent } from '../../../sim/world/event-queue.ts'

/** Few distinct times, so that many are equal. `remove` is an index among all events ever pushed. */
const commands = fc.array(
  fc.oneof(fc.record({ time: fc.nat(5) }), fc.record({ remove: fc.nat() }), fc.constant('next')),
  { maxLength: 200 },
)

function inOrder(events: Iterable<QueuedEvent>): QueuedEvent[] {
  return [...events].sort((a, b) => a.time - b.time || a.sequence - b.sequence)
}

test('the queue behaves like a sorted list under any pushes and removals', () => {
  fc.assert(
    fc.property(commands, (list) => {
      const queue = new EventQueue<QueuedEvent>()
      const all: QueuedEvent[] = []
      const model = new Set<QueuedEvent>()
      for (const command of list) {
        if (command === 'next') {
          const first = queue.first()
          expect(first).toBe(inOrder(model)[0])
          if (first === undefined) continue
          queue.remove(first)
          model.delete(first)
        } else if ('time' in command) {
          const event = { time: command.time, sequence: all.length, place: -1 }
          all.push(event)
          queue.push(event)
          model.add(event)
        } else if (all.length > 0) {
          // The event may have left the queue already: then nothing happens.
          const event = all[command.remove % all.length]!
          queue.remove(event)
          model.delete(event)
        }
        expect(queue.size).toBe(model.size)
      }
      expect(inOrder(queue.values())).toEqual(inOrder(model))
    }),
  )
})
