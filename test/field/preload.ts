/** Faults inside of a node, which a module that is loaded before it brings about. The node's own code is unchanged. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Launch } from '../../src/cli/children.ts'

/** A fault that waits for its beginning. */
export interface Waiting {
  readonly launch: Launch
  begin(): void
}

/** A clock that is two hours ahead from a moment on. */
export function movedClock(folder: string): Waiting {
  return waiting(folder, 'moved-clock')
}

/**
 * A stage's thread that fails from a moment on.
 * @param fault row of FAULTS in preload/faulty-stage.ts
 */
export function faultyStage(folder: string, fault: string): Waiting {
  return waiting(folder, 'faulty-stage', { FIELD_FAULT: fault })
}

/** What a process prints when it waits at the gate. */
export const AT_GATE = 'at the gate'

/** A start that waits at a gate, so that several nodes begin at one moment. */
export function gate(folder: string): Waiting {
  return waiting(folder, 'gate')
}

let triggers = 0

function waiting(
  folder: string,
  module: string,
  env: Readonly<Record<string, string>> = {},
): Waiting {
  triggers++
  const trigger = join(folder, `trigger-${triggers}`)
  return {
    launch: {
      nodeOptions: ['--import', new URL(`./preload/${module}.ts`, import.meta.url).href],
      env: { ...env, FIELD_TRIGGER: trigger },
    },
    begin: () => writeFileSync(trigger, ''),
  }
}
