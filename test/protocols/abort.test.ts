/** Many listeners of one abort signal. */
import { expect, test, vi } from 'vitest'
import { onAbort } from '../../protocols/abort.ts'

test('all remaining functions are called once, and the signal has one listener', () => {
  const over = new AbortController()
  const added = vi.spyOn(over.signal, 'addEventListener')
  const stops = Array.from({ length: 1_000 }, () => vi.fn())
  const removes = stops.map((stop) => onAbort(over.signal, stop))
  for (const remove of removes.slice(0, 500)) remove()
  over.abort()
  over.abort()
  expect(stops.map(({ mock }) => mock.calls.length)).toEqual(
    Array.from({ length: 1_000 }, (_, i) => Number(i >= 500)),
  )
  expect(added).toHaveBeenCalledTimes(1)
})

test('the same function can be added twice', () => {
  const over = new AbortController()
  const stop = vi.fn()
  const remove = onAbort(over.signal, stop)
  onAbort(over.signal, stop)
  remove()
  over.abort()
  expect(stop).toHaveBeenCalledTimes(1)
})
