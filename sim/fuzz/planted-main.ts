/** `npm run sim:planted`: prints each planted mistake, and the seed that finds it. */
import { execFile } from 'node:child_process'
import { createTerminal } from '../../src/base/terminal.ts'
import { checkPlanted, PLANTED } from './planted.ts'

/** Number of seeds within which each mistake must be found. */
const SEEDS = 200

const terminal = createTerminal({ json: false })
const wanted = process.argv.slice(2)

checkPlanted()
let missed = 0
for (const [name, { breaks }] of Object.entries(PLANTED)) {
  if (wanted.length > 0 && !wanted.includes(breaks)) continue
  const found = await finds(name)
  if (found === null) missed++
  terminal.line(`${breaks} ${name}: ${found ?? `not found in ${SEEDS} seeds`}`)
}
terminal.line(`${missed} of ${Object.keys(PLANTED).length} planted mistakes were not found`)
if (missed > 0) process.exitCode = 1

/** Output of the fuzzer about the first seed that fails; null if no seed fails. */
function finds(name: string): Promise<string | null> {
  const at = (file: string) => new URL(file, import.meta.url).pathname
  const args = ['--import', at('./plant.ts'), at('./main.ts'), '--seeds', `${SEEDS}`, '--first']
  const env = { ...process.env, PLANTED: name }
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { env }, (_, stdout, stderr) => {
      const found = /^(I\d: .*)\n +npm run sim:fuzz -- (.*)$/m.exec(stdout)
      if (found !== null) resolve(`${found[2]} finds ${found[1]!.slice(0, 120)}`)
      else if (/ 0 violations, 0 stalls/.test(stdout)) resolve(null)
      else reject(new Error(stdout + stderr))
    })
  })
}
