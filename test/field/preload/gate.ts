/** Loaded before a node (`--import`): loads its code, and then waits for the file FIELD_TRIGGER, so that several nodes begin at one moment. */
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { AT_GATE } from '../preload.ts'

/** Interval at which the file is looked for, in milliseconds. */
const LOOK_MS = 20

const { FIELD_TRIGGER: trigger = '' } = process.env

await import('../../../src/node/join.ts')
console.error(AT_GATE)
while (!existsSync(trigger)) await sleep(LOOK_MS)
