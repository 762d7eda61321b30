/** Frames arrive from any division of the stream, and any change of their bytes is detected. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ProtocolError } from '../../protocols/errors.ts'
import {
  CHUNK_BYTES,
  encodeFrame,
  encodeHeader,
  type FrameHead,
  PREFIX_BYTES,
} from '../../protocols/frame.ts'
import { FrameDecoder, type FrameReceiver } from '../../protocols/frame-decoder.ts'
import { type Json, LIMITS, type Message } from '../../protocols/network.ts'

interface Sent {
  readonly head: FrameHead
  readonly message: Message
}

function* chunksOf({ head, message }: Sent): Generator<Uint8Array> {
  yield* encodeFrame(head, encodeHeader(message), message.body)
}

const bytesOf = (...frames: Sent[]): Uint8Array =>
  Buffer.concat(frames.flatMap((frame) => [...chunksOf(frame)]))

/** A receiver that accepts every body and records all calls. */
function listener(accept?: FrameReceiver['accept']) {
  const received: Sent[] = []
  const refused: [id: number, why: unknown][] = []
  const receiver: FrameReceiver = {
    accept: accept ?? ((_head, _header, length) => new Uint8Array(length)),
    received: ({ kind, id }, message) =>
      received.push({ head: { kind, id }, message: message as Message }),
    refused: ({ id }, why) => refused.push([id, why]),
  }
  return { received, refused, decoder: new FrameDecoder(receiver) }
}

const messages = fc.record(
  {
    header: fc.jsonValue({ noUnicodeString: false }).map((value) => value as Json),
    body: fc.uint8Array({ maxLength: 300, size: 'max' }),
  },
  { requiredKeys: ['header'] },
)
const heads = fc.record({
  kind: fc.constantFrom('request', 'answer', 'error'),
  id: fc.nat(0xffff_ffff),
}) as fc.Arbitrary<FrameHead>
const frames = fc.record({ head: heads, message: messages })

const a = (header: Json, body?: Uint8Array): Sent => ({
  head: { kind: 'request', id: 7 },
  message: body === undefined ? { header } : { header, body },
})

describe('a frame', () => {
  test('is decoded unchanged from any division of the stream', () => {
    fc.assert(
      fc.property(
        fc.array(frames, { minLength: 1, maxLength: 4 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }),
        (sent, sizes) => {
          const bytes = bytesOf(...sent)
          const { received, refused, decoder } = listener()
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const size = sizes[i % sizes.length]!
            decoder.push(bytes.subarray(at, at + size))
            at += size
          }
          decoder.end()
          expect(received).toEqual(sent.map(throughJson))
          expect(refused).toEqual([])
        },
      ),
    )
  })

  test('is not received if any byte of it changed', () => {
    fc.assert(
      fc.property(frames, fc.nat(), fc.integer({ min: 1, max: 255 }), (sent, at, change) => {
        const bytes = bytesOf(sent)
        bytes[at % bytes.length]! ^= change
        const { received, refused, decoder } = listener()
        expect(thrownBy(() => decoder.push(bytes)) ?? refused[0]?.[1]).toMatchObject({
          code: 'CORRUPT',
        })
        expect(received).toEqual([])
      }),
    )
  })

  test('is not received if its end is missing', () => {
    fc.assert(
      fc.property(frames, fc.nat(), (sent, cut) => {
        const bytes = bytesOf(sent)
        const { received, refused, decoder } = listener()
        decoder.push(bytes.subarray(0, cut % bytes.length))
        decoder.end()
        expect(received).toEqual([])
        // A frame with an incomplete prefix has no id, so nothing is refused.
        if (cut % bytes.length < PREFIX_BYTES) expect(refused).toEqual([])
        else expect(refused).toMatchObject([[sent.head.id, { code: 'CORRUPT' }]])
      }),
    )
  })

  test('does not copy its body, which may be in shared memory', () => {
    const body = new Uint8Array(new SharedArrayBuffer(2 * CHUNK_BYTES + 1)).fill(3)
    const [first, ...chunks] = chunksOf(a('header', body))
    expect(chunks.map((chunk) => chunk.length)).toEqual([CHUNK_BYTES, CHUNK_BYTES + 1])
    expect(chunks.every((chunk) => chunk.buffer === body.buffer)).toBe(true)

    const into = new Uint8Array(new SharedArrayBuffer(body.length))
    const { received, decoder } = listener(() => into)
    for (const chunk of [first!, ...chunks]) decoder.push(chunk)
    expect(received[0]!.message.body).toBe(into)
    expect(Buffer.compare(into, body)).toBe(0)
  })

  test('has a short rest of its body in the last chunk, and a longer rest in another chunk', () => {
    const lengths = (length: number) =>
      [...chunksOf(a('header', new Uint8Array(length)))].slice(1).map((chunk) => chunk.length)
    const most = 16 * 1024
    expect(lengths(CHUNK_BYTES)).toEqual([CHUNK_BYTES])
    expect(lengths(CHUNK_BYTES + most)).toEqual([CHUNK_BYTES + most])
    expect(lengths(CHUNK_BYTES + most + 1)).toEqual([CHUNK_BYTES, most + 1])
  })

  test('with a body that is overwritten during sending arrives as CORRUPT', () => {
    const body = new Uint8Array(CHUNK_BYTES + 1)
    const { received, refused, decoder } = listener()
    for (const chunk of chunksOf(a('header', body))) {
      decoder.push(chunk)
      body.fill(1)
    }
    expect(received).toEqual([])
    expect(refused).toMatchObject([[7, { code: 'CORRUPT' }]])
  })
})

describe('a body that is refused', () => {
  test('is skipped without being stored', () => {
    const refusal = new ProtocolError('STALE', 'of step 7')
    const { received, refused, decoder } = listener(() => {
      throw refusal
    })
    const [first, ...chunks] = chunksOf(a('large', new Uint8Array(LIMITS.body)))
    decoder.push(first!)
    const before = process.memoryUsage().arrayBuffers
    for (const chunk of chunks) decoder.push(chunk)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(CHUNK_BYTES)
    expect(refused).toEqual([[7, refusal]])

    decoder.push(bytesOf(a('next')))
    expect(received).toEqual([a('next')])
  })

  test('is one for which accept returns memory of another length', () => {
    const { received, refused, decoder } = listener(
      (_head, _header, length) => new Uint8Array(length + 1),
    )
    decoder.push(bytesOf(a('header', new Uint8Array(3))))
    expect(received).toEqual([])
    expect(String(refused[0]?.[1])).toContain('accept gave 4 bytes for a body of 3')
  })

  test('is one whose call is over: its memory is not changed', () => {
    const into = new Uint8Array(8)
    const { received, refused, decoder } = listener(() => into)
    const bytes = bytesOf(a('header', new Uint8Array(8).fill(1)))
    decoder.push(bytes.subarray(0, -4))
    decoder.drop(8, 'of another call')
    decoder.push(bytes.subarray(-4, -2))
    decoder.drop(7, 'the call is over')
    decoder.push(bytes.subarray(-2))
    expect([...into]).toEqual([1, 1, 1, 1, 1, 1, 0, 0])
    expect([received, refused]).toEqual([[], [[7, 'the call is over']]])
  })
})

describe('the limits', () => {
  test('hold for sent messages', () => {
    const largest = 'x'.repeat(LIMITS.header - 2)
    expect(encodeHeader({ header: largest }).length).toBe(LIMITS.header)
    const tooLarge = expect.objectContaining({ code: 'TOO_LARGE' })
    expect(() => encodeHeader({ header: `${largest}x` })).toThrow(tooLarge)
    const body = new Uint8Array(LIMITS.body + 1)
    expect(() => encodeHeader({ header: null, body })).toThrow(tooLarge)
  })

  test('hold for received messages, even if the sender ignores them', () => {
    const header = new Uint8Array(LIMITS.header + 1)
    const [frame] = encodeFrame({ kind: 'request', id: 1 }, header)
    expect(() => listener().decoder.push(frame!)).toThrow(/over the limit of 65536 bytes/)

    const { refused, decoder } = listener(() => expect.fail('was asked for so much memory'))
    const body = new Uint8Array(LIMITS.body + 1)
    for (const chunk of encodeFrame(
      { kind: 'request', id: 1 },
      encodeHeader({ header: 0 }),
      body,
    )) {
      decoder.push(chunk)
    }
    expect(refused).toMatchObject([[1, { code: 'TOO_LARGE' }]])
  })

  test('include that a header is JSON', () => {
    const { refused, decoder } = listener()
    decoder.push(Buffer.concat([...encodeFrame({ kind: 'answer', id: 2 }, Buffer.from('{'))]))
    decoder.push(Buffer.concat([...encodeFrame({ kind: 'answer', id: 3 }, Buffer.from([0xff]))]))
    expect(refused).toMatchObject([
      [2, { code: 'BAD_MESSAGE' }],
      [3, { code: 'BAD_MESSAGE' }],
    ])
  })
})

test('the bytes on the wire are fixed: another layout needs another magic', () => {
  const wire = [
    ['magic, version', '67736e01'],
    ['request, with a body', '01010000'],
    ['call id', '07000000'],
    ['length of the header', '0a000000'],
    ['length of the body', '02000000'],
    ['checksum of the header', '91ad1911'],
    ['checksum of the body', '9242ccb6'],
    ['checksum of the prefix', 'ebb4efd6'],
    ['header', Buffer.from('{"step":1}').toString('hex')],
    ['body', '0102'],
  ]
  const bytes = bytesOf(a({ step: 1 }, new Uint8Array([1, 2])))
  expect(Buffer.from(bytes).toString('hex')).toBe(wire.map(([, hex]) => hex).join(''))
})

/** A message after a round trip through JSON, which has no -0. */
function throughJson({ head, message }: Sent): Sent {
  const header = JSON.parse(JSON.stringify(message.header))
  return { head, message: { ...message, header } }
}

function thrownBy(work: () => void): unknown {
  try {
    work()
    return undefined
  } catch (error) {
    return error
  }
}
