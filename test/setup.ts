/** Matchers shared by all tests. */
import { expect } from 'vitest'

interface Tolerance {
  /** Bound of the error, relative to the largest magnitude of the expected values. */
  relative: number
}

expect.extend({
  /** Checks the largest absolute difference, divided by the largest expected magnitude. */
  toBeAllclose(actual: ArrayLike<number>, expected: ArrayLike<number>, { relative }: Tolerance) {
    if (actual.length !== expected.length) {
      return { pass: false, message: () => `length ${actual.length}, expected ${expected.length}` }
    }
    let worst = 0
    let at = 0
    let scale = 0
    for (let i = 0; i < expected.length; i++) {
      const difference = Math.abs(Number(actual[i]) - Number(expected[i]))
      scale = Math.max(scale, Math.abs(Number(expected[i])))
      if (!(difference <= worst)) {
        worst = difference
        at = i
      }
    }
    const error = worst / Math.max(scale, Number.MIN_VALUE)
    return {
      pass: worst === 0 || error <= relative,
      message: () => `relative error ${error} at ${at}: ${actual[at]}, expected ${expected[at]}`,
    }
  },
})

declare module 'vitest' {
  interface Matchers<R extends void | Promise<void> = void | Promise<void>, T = unknown> {
    toBeAllclose(expected: ArrayLike<number>, tolerance: Tolerance): R
  }
}
