/** Noise's primitives against those of @libp2p/noise in plain JavaScript. */
import { noise, pureJsCrypto } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import fc from 'fast-check'
import { createLibp2p } from 'libp2p'
import { describe, expect, test } from 'vitest'
import { noiseCrypto } from '../../protocols/noise-crypto.ts'
import { CALL, noise as noiseBytes, PROTOCOL, sameBytes } from '../conformance/network-fixture.ts'
import { createPeer, frameBytes } from './libp2p-fixture.ts'

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const packets = fc.record({
  key: bytes(32),
  nonce: bytes(12),
  ad: fc.uint8Array({ maxLength: 40 }),
  plaintext: fc.uint8Array({ minLength: 1, maxLength: 2_000, size: 'max' }),
})

describe('the cipher', () => {
  test('encrypts and decrypts like the other implementation', () => {
    fc.assert(
      fc.property(packets, ({ key, nonce, ad, plaintext }) => {
        const ours = noiseCrypto.chaCha20Poly1305Encrypt(plaintext, nonce, ad, key).subarray()
        const theirs = pureJsCrypto.chaCha20Poly1305Encrypt(plaintext, nonce, ad, key).subarray()
        expect(Buffer.compare(ours, theirs)).toBe(0)
        const back = noiseCrypto.chaCha20Poly1305Decrypt(theirs, nonce, ad, key).subarray()
        expect(Buffer.compare(back, plaintext)).toBe(0)
      }),
    )
  })

  test('returns nothing of a packet with a changed bit', () => {
    fc.assert(
      fc.property(packets, fc.nat(), fc.nat(7), ({ key, nonce, ad, plaintext }, at, bit) => {
        const packet = noiseCrypto.chaCha20Poly1305Encrypt(plaintext, nonce, ad, key).subarray()
        packet[at % packet.length]! ^= 1 << bit
        expect(() => noiseCrypto.chaCha20Poly1305Decrypt(packet, nonce, ad, key)).toThrow()
      }),
    )
  })

  test('returns nothing of a packet that is shorter than its tag', () => {
    const [key, nonce, ad] = [new Uint8Array(32), new Uint8Array(12), new Uint8Array(0)]
    for (const packet of [new Uint8Array(0), new Uint8Array(15), new Uint8Array(16)]) {
      expect(() => noiseCrypto.chaCha20Poly1305Decrypt(packet, nonce, ad, key)).toThrow()
    }
  })
})

test('the hash is that of the other implementation', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (data) => {
      const theirs = pureJsCrypto.hashSHA256(data)
      expect(Buffer.compare(noiseCrypto.hashSHA256(data), theirs)).toBe(0)
    }),
  )
})

test('two peers share a key, with either implementation on each side', () => {
  for (const [one, two] of [
    [noiseCrypto, noiseCrypto],
    [noiseCrypto, pureJsCrypto],
  ] as const) {
    const [a, b] = [one.generateX25519KeyPair(), two.generateX25519KeyPair()]
    const shared = one.generateX25519SharedKey(a.privateKey, b.publicKey)
    expect(shared).toHaveLength(32)
    const same = two.generateX25519SharedKey(b.privateKey, a.publicKey)
    expect(Buffer.compare(same, shared)).toBe(0)
  }
})

test('a key pair from a seed is that of the other implementation', () => {
  fc.assert(
    fc.property(bytes(32), (seed) => {
      const ours = noiseCrypto.generateX25519KeyPairFromSeed(seed)
      const theirs = pureJsCrypto.generateX25519KeyPairFromSeed(seed)
      expect(Buffer.compare(ours.publicKey.subarray(), theirs.publicKey.subarray())).toBe(0)
    }),
    { numRuns: 20 },
  )
})

test('a peer with the primitives of @libp2p/noise can be called, with packets of any size', async () => {
  const peer = await createPeer()
  const other = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
  })
  const body = noiseBytes(300_000)
  await other.handle(PROTOCOL, (stream) => {
    const answer = frameBytes({ kind: 'answer', id: 1 }, { header: 'whole', body })
    let received = 0
    stream.addEventListener('message', ({ data }) => {
      received += data.byteLength
      if (received > body.length) stream.send(answer)
    })
  })
  await peer.connect(other.getMultiaddrs()[0]!.toString(), CALL)
  const answer = await peer.call(
    other.peerId.toString(),
    PROTOCOL,
    { header: null, body },
    { ...CALL, accept: (_header, length) => new Uint8Array(length) },
  )
  expect(sameBytes(answer.body, body)).toBe(true)
  await Promise.all([peer.stop(), other.stop()])
})
