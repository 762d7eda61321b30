/** A reporter that ends a test run with the line `N passed, N failed`, which programs can read. */
import type { Reporter, TestModule } from 'vitest/node'

export default class PlainLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const count = { passed: 0, failed: unhandledErrors.length, skipped: 0, pending: 0 }
    for (const module of modules) {
      const tests = [...module.children.allTests()]
      for (const test of tests) count[test.result().state]++
      // A module that fails before its first test counts as a failure.
      if (module.state() === 'failed' && tests.every((test) => test.result().state !== 'failed')) {
        count.failed++
      }
    }
    const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : ''
    console.log(`${count.passed} passed, ${count.failed} failed${skipped}`)
  }
}
