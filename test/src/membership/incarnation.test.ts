/** An incarnation: its id takes the place of the run's id in messages, and members of two incarnations do not mix. */
import { describe, expect, test } from 'vitest'
import { gather } from '../../../protocols/incarnation.ts'
import { heartbeat, hello } from '../../../protocols/membership.ts'
import type { Handler, Json, Network } from '../../../protocols/network.ts'
import { FIRST, Incarnation, incarnationId, stays } from '../../../src/membership/incarnation.ts'

const RUN = 'a'.repeat(64)
const lineage = {
  record: { number: 1, ancestor: RUN, step: 7, roster: 'b'.repeat(64) },
  absent: [],
  branches: [{ id: RUN, until: 7 }],
}

/** A network that keeps what is sent, and hands what is received to the handler of its protocol. */
function wire() {
  const sent: Json[] = []
  const handlers = new Map<string, Handler>()
  const network = {
    self: 'me',
    addresses: [],
    handle: (protocol: string, handler: Handler) => {
      handlers.set(protocol, handler)
      return () => handlers.delete(protocol)
    },
    call: async (_: string, __: string, { header }: { header: Json }) => {
      sent.push(header)
      return { header: {} }
    },
  } as unknown as Network
  return { network, sent, handlers }
}

const options = { timeoutMs: 1 }

describe('messages between members', () => {
  test('name the run in the first incarnation, and the incarnation in a later one', async () => {
    const { network, sent } = wire()
    const incarnation = new Incarnation(RUN)
    const over = incarnation.over(network)
    const header = { run: RUN, epoch: 3 }
    await over.call('other', heartbeat.protocol, { header }, options)
    incarnation.enter(lineage)
    await over.call('other', heartbeat.protocol, { header }, options)
    await over.call('other', hello.protocol, { header }, options)
    expect(sent).toEqual([header, { ...header, run: incarnation.id }, header])
    expect(incarnation.id).toBe(incarnationId(RUN, lineage.record))
    expect(header.run).toBe(RUN)
  })

  test('of another incarnation never look like those of this one', async () => {
    const { network, handlers } = wire()
    const incarnation = new Incarnation(RUN)
    const seen: unknown[] = []
    const handler: Handler = {
      handle: async (_, { header }) => {
        seen.push((header as { run: string }).run)
        return { header: {} }
      },
    }
    const over = incarnation.over(network)
    over.handle(heartbeat.protocol, handler)
    over.handle(gather.protocol, handler)
    const receive = (protocol: string, run: string) =>
      handlers.get(protocol)!.handle('other', { header: { run } })
    const next = incarnationId(RUN, lineage.record)
    await receive(heartbeat.protocol, RUN)
    await receive(heartbeat.protocol, next)
    expect(seen.splice(0)).toEqual([RUN, next])
    incarnation.enter(lineage)
    await receive(heartbeat.protocol, next)
    await receive(heartbeat.protocol, RUN)
    await receive(heartbeat.protocol, 'c'.repeat(64))
    await receive(gather.protocol, RUN)
    const [own, earlier, sibling, manifest] = seen
    expect([own, manifest]).toEqual([RUN, RUN])
    expect(earlier).not.toBe(RUN)
    expect(sibling).toBe('c'.repeat(64))
    incarnation.enter(FIRST)
    await receive(heartbeat.protocol, RUN)
    expect(seen.at(-1)).toBe(RUN)
  })
})

test('a message of another incarnation is refused also if this peer was in it when the header came', async () => {
  const { network, handlers } = wire()
  const incarnation = new Incarnation(RUN)
  incarnation.enter(lineage)
  const seen: unknown[] = []
  const note = (header: unknown) => seen.push((header as { run: string }).run)
  incarnation.over(network).handle(heartbeat.protocol, {
    accept: (_, header, length) => {
      note(header)
      return new Uint8Array(length)
    },
    handle: async (_, { header }) => {
      note(header)
      return { header: {} }
    },
  })
  const { accept, handle } = handlers.get(heartbeat.protocol)!
  const header = { run: incarnation.id }
  accept!('other', header, 4)
  incarnation.enter({ ...lineage, record: { ...lineage.record, number: 2 } })
  await handle('other', { header })
  expect(seen).toEqual([RUN, header.run])
})

test('of two incarnations that meet exactly one stays: the one with more steps, then the one with the smaller id', () => {
  const long = { incarnation: 'b', committed: 9 }
  const short = { incarnation: 'a', committed: 8 }
  expect([stays(long, short), stays(short, long)]).toEqual([true, false])
  const equal = { ...short, committed: 9 }
  expect([stays(long, equal), stays(equal, long)]).toEqual([false, true])
})
