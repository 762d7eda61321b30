/** Work in slices has the results of the work at once, and pauses between slices. */
import { expect, test } from 'vitest'
import { sha256 } from '../../../protocols/weights.ts'
import { encodeParity } from '../../../src/copies/erasure.ts'
import { parityInSlices, sha256InSlices } from '../../../src/copies/slices.ts'

const MIB = 1024 ** 2

function bytes(length: number, factor: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * factor) % 251)
}

test.each([0, 1, 4 * MIB, 9 * MIB + 3])('%i bytes', async (length) => {
  let pauses = 0
  const pause = async () => {
    pauses++
  }
  const [first, second] = [bytes(length, 7), bytes(length, 11)]
  expect(await sha256InSlices(first, pause)).toBe(sha256(first))
  expect(pauses).toBe(Math.max(0, Math.ceil(length / (4 * MIB)) - 1))
  const parity = await parityInSlices([first, second], 2, pause)
  const expected = encodeParity([first, second], 2)
  expect(parity.map((each) => Buffer.from(each).equals(expected.shift()!))).toEqual([true, true])
})
