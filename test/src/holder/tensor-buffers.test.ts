/** Reused memory of tensors: one tensor uses a buffer at a time, and the total is bounded. */
import { expect, test } from 'vitest'
import { TensorBuffers } from '../../../src/holder/tensor-buffers.ts'

const floats = (bytes: Uint8Array) => new Float32Array(bytes.buffer, bytes.byteOffset, 4)

test('a released buffer is taken next, and a buffer in use is not', () => {
  const buffers = new TensorBuffers(4, 2)
  const [first, second] = [buffers.take(), buffers.take()]
  expect(first.byteLength).toBe(16)
  expect(second.buffer).not.toBe(first.buffer)
  buffers.give(floats(first))
  expect(buffers.take().buffer).toBe(first.buffer)
  expect(buffers.take().buffer).not.toBe(second.buffer)
})

test('a buffer that is released twice is taken once', () => {
  const buffers = new TensorBuffers(4, 2)
  const first = buffers.take()
  buffers.give(floats(first))
  buffers.give(floats(first))
  expect(buffers.take().buffer).not.toBe(buffers.take().buffer)
})

test('the pool keeps its own buffers, up to its bound', () => {
  const buffers = new TensorBuffers(4, 1)
  const foreign = new Float32Array(4)
  buffers.give(foreign)
  const taken = [buffers.take(), buffers.take()]
  expect(taken.map(({ buffer }) => buffer)).not.toContain(foreign.buffer)
  for (const each of taken) buffers.give(floats(each))
  const again = [buffers.take(), buffers.take()]
  expect(again[0]!.buffer).toBe(taken[0]!.buffer)
  expect(again[1]!.buffer).not.toBe(taken[1]!.buffer)
})
