/** Many listeners of one abort signal. */
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
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

test('a signal keeps nothing of a function that was removed, not of the first one either', async () => {
  const over = new AbortController()
  const removed = removedFrom(over.signal)
  await setImmediate()
  collectGarbage()
  expect(removed.map((each) => each.deref())).toEqual([undefined, undefined])
  expect(over.signal.aborted).toBe(false)
})

/** Adds two functions to a signal and removes them. Gives what each of them refers to. */
function removedFrom(signal: AbortSignal): WeakRef<object>[] {
  return [1, 2].map((name) => {
    const referred = { name }
    onAbort(signal, () => void referred.name)()
    return new WeakRef(referred)
  })
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const gc: () => void = runInNewContext('gc')
  gc()
}
