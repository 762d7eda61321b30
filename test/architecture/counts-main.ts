/** Prints the counts of a checkout, this one unless its folder is named: `npm run count -- [FOLDER]`. */
import { resolve } from 'node:path'
import { createTerminal } from '../../src/base/terminal.ts'
import { countCheckout, describeCounts } from './counts.ts'
import { ROOT } from './sources.ts'

const [folder = ROOT] = process.argv.slice(2)
const terminal = createTerminal({ json: false })
for (const line of describeCounts(countCheckout(resolve(folder)))) terminal.line(line)
