/**
 * `npm run bench:swarm`: swarms of 2, 4, 7 and 8 processes with hidden size 256, and of 7 with hidden size 512. Each swarm runs
 * beside the same training in one process. Six layers are divided into one, three and six body stages. Eight processes have
 * seven layers, as has the one process beside them. `npm run bench:swarm -- 7` measures seven processes alone, and `-- 7 128`
 * with hidden size 128, the default of a new run. JSON on the standard output, a line for each swarm on the standard error.
 * The program has no bound and no exit code: the share depends on the number of cores and on other programs.
 */
import { availableParallelism, cpus } from 'node:os'
import { benchSingle, benchSwarm, type SwarmCase } from './swarm.ts'

const HIDDEN = 256
const CASES: readonly SwarmCase[] = [
  ...[2, 4, 7, 8].map((processes) => ({ processes, hidden: HIDDEN })),
  { processes: 7, hidden: 512 },
]

const threads = availableParallelism()
const [processes, hidden] = process.argv.slice(2).map(Number)
const cases =
  processes === undefined ? CASES : [{ processes, hidden: hidden ?? HIDDEN } satisfies SwarmCase]
const single = await benchSingle(cases[0]!.hidden, threads)
const swarms = []
for (const each of cases) {
  const swarm = await benchSwarm(each, threads)
  const { hidden, shareOfSingleProcess, shareOfCpu } = swarm
  console.error(
    `${each.processes} processes, hidden size ${hidden}: ${shareOfSingleProcess} of the tokens/s of one process with ${threads} threads; ${shareOfCpu} by processor time`,
  )
  swarms.push(swarm)
}
const machine = { cores: threads, processor: cpus()[0]?.model.trim(), node: process.versions.node }
const result = { format: 'gensyn-bench-swarm', version: 1, machine, single, swarms }
console.log(JSON.stringify(result, null, 2))
