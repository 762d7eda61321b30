import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/setup.ts'],
    reporters: ['default', './test/reporter.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Two cores: a worker a core, so that tests with real processes are not starved by their neighbours.
    maxWorkers: 2,
    // A worker runs many files: a process and its imports for each would take a third of the processor time of all tests.
    isolate: false,
    // Processes that tests start find their code compiled, as those of the program do.
    env: { NODE_COMPILE_CACHE: join(tmpdir(), 'node-compile-cache') },
  },
})
