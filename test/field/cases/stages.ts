/** Stages that compute wrongly, never answer, or end. */
import { type Field, type FieldCase, must } from '../case.ts'
import { faultyStage, type Waiting } from '../preload.ts'
import type { FieldSwarm } from '../swarm.ts'

export const STAGE_CASES: readonly FieldCase[] = [
  {
    name: 'nan-replica',
    outcome:
      'One of two holders of a stage computes NaN. It loses the stage by name, and the run goes on.',
    async play(field) {
      const swarm = await field.swarm()
      const [founder] = await swarm.start(5)
      const fault = faultyStage(field.folder, 'nan')
      const replica = swarm.join('bad', founder!, { ...fault.launch, args: ['--stage', '1'] })
      await swarm.until('replica', 60, () => swarm.holdersOf(1).includes(replica))
      await swarm.trains()
      fault.begin()
      await swarm.until('removal of the replica', 60, () => swarm.stageOf(replica) !== 1)
      field.note(`on after ${(await swarm.steps(10)).toFixed(1)} s`)
      const others = swarm.peers.filter((peer) => peer !== replica)
      must(
        others.every(({ isLive }) => isLive),
        'another peer than the faulty one ended',
      )
      must(
        others.some((peer) => peer.says(new RegExp(replica.id))),
        'nobody names the faulty peer',
      )
    },
  },
  {
    name: 'nan-only-holder',
    outcome:
      'The only holder of a stage computes NaN. A spare takes the stage, and the run goes on.',
    play: (field) => onlyHolder(field, 'nan'),
  },
  {
    name: 'thread-hangs',
    outcome: 'A computing thread never answers. A spare takes the stage, and the run goes on.',
    play: (field) => onlyHolder(field, 'hang'),
  },
  {
    name: 'thread-dies',
    outcome: 'A computing thread ends. The stage is built again, and the run goes on.',
    play: (field) => onlyHolder(field, 'die'),
  },
  {
    name: 'thread-out-of-memory',
    outcome:
      'A computing thread runs out of memory. The stage is built again, and the run goes on.',
    play: (field) => onlyHolder(field, 'memory'),
  },
]

/** Seconds within which the swarm makes steps again, although nobody tells it of the fault. */
const NOTICED_SECONDS = 150

async function onlyHolder(field: Field, kind: string): Promise<void> {
  const swarm = await field.swarm()
  const faults = new Map<string, Waiting>()
  const peers = await swarm.start(5, (number) => {
    const fault = faultyStage(field.folder, kind)
    faults.set(`p${number}`, fault)
    return fault.launch
  })
  await swarm.steps(30)
  const victim = swarm.someHolder
  const { step } = swarm
  const from = swarm.entries.length
  faults.get(victim.name)!.begin()
  await swarm.until('loss of the stage', NOTICED_SECONDS, () => heldAgain(swarm, from))
  field.note(`stage held again, on after ${(await swarm.steps(10)).toFixed(1)} s`)
  must(swarm.step > step - 20, `the run went back from step ${step} to ${swarm.step}`)
  const ended = peers.filter((peer) => peer !== victim && !peer.isLive)
  must(ended.length === 0, `${ended.map(({ name }) => name).join(', ')} ended`)
}

function heldAgain(swarm: FieldSwarm, from: number): boolean {
  return swarm.entries.slice(from).some((entry) => entry.type === 'held' && entry.cause === 'lost')
}
