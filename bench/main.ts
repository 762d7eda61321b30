/**
 * `npm run bench`: a stage, a link and a swarm on this machine, as ratios to references that the same run measures. No
 * bounds.
 */
import { availableParallelism, cpus } from 'node:os'
import { newRun } from '../src/cli/init.ts'
import { stageConfig } from '../src/run/run.ts'
import { benchLink } from './link.ts'
import { benchStage } from './stage.ts'
import { benchSwarm } from './swarm.ts'

const threads = availableParallelism()
const run = await newRun({}, undefined, process.cwd())
const result = {
  format: 'gensyn-bench',
  version: 1,
  machine: { cores: threads, processor: cpus()[0]?.model.trim(), node: process.versions.node },
  stage: await benchStage(stageConfig(run), threads),
  link: await benchLink(),
  swarm: await benchSwarm({ processes: run.stages + 1, hidden: run.model.hiddenSize }, threads),
}
console.log(JSON.stringify(result, null, 2))
