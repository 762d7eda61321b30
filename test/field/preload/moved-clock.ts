/** Loaded before a node (`--import`): moves the clock of the process forward by two hours as soon as the file FIELD_TRIGGER exists. */
import { existsSync } from 'node:fs'

const MOVED_MS = 2 * 3_600_000
/** Interval at which the file is looked for, in milliseconds. */
const LOOK_MS = 100

const { FIELD_TRIGGER: trigger = '' } = process.env
const RealDate = Date
let moved = 0

globalThis.Date = class extends RealDate {
  static override now(): number {
    return RealDate.now() + moved
  }

  constructor(...args: []) {
    if (args.length > 0) super(...args)
    else super(RealDate.now() + moved)
  }
} as DateConstructor

setInterval(() => {
  moved = existsSync(trigger) ? MOVED_MS : 0
}, LOOK_MS).unref()
