/**
 * `npm run test:hostile`: what a swarm of real processes bears. `strangers` have no key of the run, and `liars` have its
 * manifest. Names choose a part.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { lies } from './liars.ts'
import { strangers } from './strangers.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    /** Length of one turn of the strangers, and of the lies of one role. */
    seconds: { type: 'string', default: '20' },
    turns: { type: 'string', default: '3' },
    /** Connections of the stranger in a second. */
    rate: { type: 'string', default: '1000' },
    /** Frames in which bytes were changed. */
    frames: { type: 'string', default: '10000' },
  },
})
const seconds = Number(values.seconds)
const [turns, rate, frames] = [values.turns, values.rate, values.frames].map(Number) as [
  number,
  number,
  number,
]

const PARTS = {
  strangers: (folder: string) => strangers(folder, { seconds, turns, rate }),
  liars: (folder: string) => lies(folder, { seconds, frames }),
}

let failed = 0
let passed = 0
for (const [name, part] of Object.entries(PARTS)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue
  const folder = mkdtempSync(join(tmpdir(), 'gensyn-hostile-'))
  try {
    const faults = await part(folder)
    for (const fault of faults) console.log(`${name}: ${fault}`)
    if (faults.length > 0) failed++
    else passed++
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
