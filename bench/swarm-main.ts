/**
 * `npm run bench:swarm`: swarms of 2, 4, 7 and 8 processes, each beside the same training in one process, and seven of
 * wider models. The default model's six layers are dealt to one, three and six body stages; eight processes have seven
 * of one layer each, beside one process with seven layers. `npm run bench:swarm -- 7` measures seven processes alone;
 * `-- 7 256` those of hidden size 256.
 */
import { availableParallelism, cpus } from 'node:os'
import { benchSingle, benchSwarm, type SwarmCase } from './swarm.ts'

const HIDDEN = 128
const CASES: readonly SwarmCase[] = [
  ...[2, 4, 7, 8].map((processes) => ({ processes, hidden: HIDDEN })),
  { processes: 7, hidden: 256 },
  { processes: 7, hidden: 512 },
]

const threads = availableParallelism()
const [processes, hidden] = process.argv.slice(2).map(Number)
const cases =
  processes === undefined ? CASES : [{ processes, hidden: hidden ?? HIDDEN } satisfies SwarmCase]
const single = await benchSingle(cases[0]!.hidden, threads)
const swarms = []
for (const each of cases) swarms.push(await benchSwarm(each, threads))
const machine = { cores: threads, processor: cpus()[0]?.model.trim(), node: process.versions.node }
const result = { format: 'gensyn-bench-swarm', version: 1, machine, single, swarms }
console.log(JSON.stringify(result, null, 2))
