/** Files by digest, from donors that fail, send wrong bytes, or have another file. */
import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Network } from '../../protocols/network.ts'
import { serve } from '../../protocols/procedure.ts'
import { CHUNK_BYTES, fetchShard, shards } from '../../protocols/shards.ts'
import { sha256 } from '../../protocols/weights.ts'
import { VirtualNetwork } from '../../sim/world/network.ts'
import { World } from '../../sim/world/world.ts'
import { Random } from '../../stages/random.ts'

const OPTIONS = { chunkTimeoutMs: 60_000, maxBytes: 1 << 24 }

function randomBytes(length: number): Uint8Array {
  const random = new Random('shard')
  return Uint8Array.from({ length }, () => random.integer(256))
}

/** A file of two whole chunks and a rest. */
const file = randomBytes(2 * CHUNK_BYTES + 100)
const digest = createHash('sha256').update(file).digest('hex')

interface Donor {
  readonly bytes?: Uint8Array
  /** Called before each chunk is answered. */
  readonly before?: (offset: number) => void
  /** Replaces the hash of a chunk. */
  readonly hash?: (chunk: Uint8Array) => string
}

function setUp(donors: Record<string, Donor>) {
  const world = new World({ seed: 1 })
  const network = new VirtualNetwork({
    world,
    links: () => ({ latencyMs: 5, bytesPerMs: 10_000 }),
  })
  const asked: string[] = []
  for (const [name, { bytes = file, before, hash = sha256 }] of Object.entries(donors)) {
    const peer = network.join(name)
    const answer = async (offset: number, length: number) => {
      asked.push(`${name} ${offset}`)
      before?.(offset)
      const body = bytes.slice(offset, offset + length)
      return { answer: { sha256: hash(body), total: bytes.length }, body }
    }
    serve(peer, shards, { serve: (_, { offset, length }) => answer(offset, length) }, () => {})
  }
  const me: Network = network.join('me')
  for (const name of Object.keys(donors)) me.learn(name, [`sim://${name}`])
  const fetch = (names = Object.keys(donors), options = OPTIONS) =>
    world.run(fetchShard(me, names, { run: 'r', sha256: digest }, options), {
      waitingFor: 'the file',
    })
  return { network, asked, fetch }
}

test('a file comes whole, in chunks, from the first donor', async () => {
  const { asked, fetch } = setUp({ a: {}, b: {} })
  expect(Buffer.from(await fetch()).equals(file)).toBe(true)
  expect(asked).toEqual([0, 1, 2].map((chunk) => `a ${chunk * CHUNK_BYTES}`))
})

test('after a donor has failed half-way the next donor continues', async () => {
  const set = setUp({
    a: { before: (offset) => void (offset > 0 && set.network.kill('a')) },
    b: {},
  })
  expect(Buffer.from(await set.fetch()).equals(file)).toBe(true)
  expect(set.asked).toEqual(['a 0', `a ${CHUNK_BYTES}`, `b ${CHUNK_BYTES}`, `b ${2 * CHUNK_BYTES}`])
})

test('a chunk with another hash is fetched from the next donor', async () => {
  const { asked, fetch } = setUp({ a: { hash: () => '0'.repeat(64) }, b: {} })
  expect(Buffer.from(await fetch()).equals(file)).toBe(true)
  expect(asked[1]).toBe('b 0')
})

test('wrong bytes with right hashes do no harm: each donor is asked for the whole file', async () => {
  const lie = file.slice()
  lie[7]! ^= 1
  const { fetch } = setUp({ a: { bytes: lie }, b: {} })
  expect(Buffer.from(await fetch()).equals(file)).toBe(true)
  await expect(fetch(['a'])).rejects.toThrow(
    /no peer gives the file .*a: the file has another digest/,
  )
})

test('a file that is too long, or longer than before, is refused before it is stored', async () => {
  const { fetch } = setUp({ a: {}, b: { bytes: randomBytes(100) } })
  const refused = fetch(['a'], { ...OPTIONS, maxBytes: CHUNK_BYTES })
  await expect(refused).rejects.toThrow(/a: .* more than 1048576/)
  await expect(refused).rejects.toThrow(ProtocolError)
  await expect(fetch(['b'])).rejects.toThrow(/another digest/)
})

test('the errors for no donor, and for no donor with the file, differ', async () => {
  const refusing = () => {
    throw new ProtocolError('REFUSED', 'this peer does not have it')
  }
  const { fetch } = setUp({ a: { before: refusing } })
  await expect(fetch([])).rejects.toThrow(/there is none/)
  await expect(fetch()).rejects.toThrow(/a: this peer does not have it/)
})
