/** A message counts by its shape, so other digits of the same numbers do not change its size. */
import { expect, test } from 'vitest'
import { install } from '../../../protocols/agreement.ts'
import { ProtocolError } from '../../../protocols/errors.ts'
import { PREFIX_BYTES } from '../../../protocols/frame.ts'
import { encodeRoster, type Roster, roster } from '../../../protocols/membership.ts'
import type { Json } from '../../../protocols/network.ts'
import { linkedStore } from '../../../sim/world/linked-store.ts'
import { bodyBytes, errorLoad, jsonBytes, loadOf } from '../../../sim/world/message-size.ts'
import { World } from '../../../sim/world/world.ts'

const SIZES = { shareHeaders: false, bodyScale: 1 }

function rosterOf(loss: number, members = 8): Roster {
  return {
    epoch: 12,
    fenceEpoch: 3,
    origin: null,
    resharded: null,
    committed: 9,
    learningRate: 0.001,
    norm: loss / 3,
    loss,
    version: 0,
    coordinator: 0,
    ballot: { round: 0, id: 0 },
    nextId: members,
    members: Array.from({ length: members }, (_, id) => ({
      id,
      peer: `peer-${id}`,
      session: 1_764_500_000_000 + 977 * id,
      addresses: [`sim://peer-${id}`],
      domain: '',
      host: '',
      stage: id,
      ready: true,
    })),
  }
}

test.each<[string, Json]>([
  ['nothing but text', { one: 'a', two: ['b', '', 'ü'] }],
  ['numbers of four digits', { step: 1234, shape: [1000, 2000, 3000] }],
  ['what is empty', { list: [], object: {}, none: null, absent: undefined }],
  ['true and null', [true, null, [[true]]]],
])('a header of %s counts the bytes of its JSON', (_, header) => {
  expect(jsonBytes(header)).toBe(Buffer.byteLength(JSON.stringify(header)))
})

test.each([0, 1, -1, Math.LN10, 1e-9, 123_456_789_012_345])(
  'the number %d counts four bytes',
  (loss) => {
    expect(jsonBytes({ loss, losses: [loss] })).toBe(jsonBytes({ loss: null, losses: [null] }))
  },
)

test('a question counts its frame, its header and its body', () => {
  const message = { header: { step: 1234 }, body: new Uint8Array(100) }
  const headBytes = PREFIX_BYTES + '{"step":1234}'.length
  expect(loadOf('/test/1.0.0', message, SIZES)).toEqual({ headBytes, bodyBytes: 100 })
  const scaled = loadOf('/test/1.0.0', message, { ...SIZES, bodyScale: 10 })
  expect(scaled).toEqual({ headBytes, bodyBytes: 1000 })
  const { headBytes: shared } = loadOf('/test/1.0.0', message, { ...SIZES, shareHeaders: true })
  const other = loadOf('/test/1.0.0', { header: null }, { ...SIZES, shareHeaders: true })
  expect(other).toEqual({ headBytes: shared, bodyBytes: undefined })
})

test.each([roster, install])('the roster in a body of $protocol counts by its shape', (carrier) => {
  const bodies = [2, 2.5, Math.LN10, 2.302585e-7].map((loss) => encodeRoster(rosterOf(loss)))
  // With equal lengths the test could not tell the counted size from the length of the body.
  expect(new Set(bodies.map(({ length }) => length)).size).toBeGreaterThan(1)
  const counted = bodies.map((body) => bodyBytes(carrier.protocol, body))
  expect(new Set(counted).size).toBe(1)
  // The counted share of the JSON is near its deflated length. No scale of tensors enlarges it.
  expect(counted[0]! / bodies[2]!.length).toBeGreaterThan(0.5)
  expect(counted[0]! / bodies[2]!.length).toBeLessThan(2)
  expect(bodyBytes(carrier.protocol, bodies[0]!, 1000)).toBe(counted[0])
  expect(bodyBytes(carrier.protocol, encodeRoster(rosterOf(2, 16)))).toBeGreaterThan(counted[0]!)
})

test('a body that should be a roster and is none counts its length', () => {
  expect(bodyBytes(roster.protocol, new Uint8Array(100).fill(255))).toBe(100)
})

test('an error counts its code and its words', () => {
  const error = new ProtocolError('STALE', 'too late')
  const text = JSON.stringify({ code: 'STALE', message: 'too late' })
  expect(errorLoad(error)).toEqual({
    headBytes: PREFIX_BYTES + text.length,
    bodyBytes: undefined,
  })
})

test('a file of JSON in a store counts by its shape, any other file by its length', async () => {
  const took = async (name: string, text: string) => {
    const world = new World({ seed: 1 })
    const stored: number[] = []
    const link = { latencyMs: 10, bytesPerMs: 1 }
    const store = linkedStore(world.clock, link, (bytes) => stored.push(bytes))
    const content = Buffer.from(text)
    const run = <T>(outcome: Promise<T>) => world.run(outcome, { waitingFor: 'the store' })
    await run(store.write(name, [content]))
    const writtenAt = world.clock.now()
    const into = new Uint8Array(content.length)
    await run(store.read(name, 0, into))
    expect(Buffer.from(into).toString()).toBe(text)
    expect(stored).toEqual([writtenAt - 20])
    expect(world.clock.now()).toBe(2 * writtenAt)
    return stored[0]!
  }
  const long = '{"gradientNorm":0.30000000000000004}'
  expect(await took('part.json', long)).toBe(await took('part.json', '{"gradientNorm":1}'))
  expect(await took('tensors.bin', long)).toBe(long.length)
})
