/** Processes that come back after their contact, their swarm or all of it has gone. */
import { type Field, type FieldCase, must } from '../case.ts'
import type { FieldPeer } from '../peer.ts'
import { dialable, type FieldSwarm } from '../swarm.ts'

export const RETURN_CASES: readonly FieldCase[] = [
  {
    name: 'bootstrap-gone',
    outcome:
      'A peer whose only bootstrap address is dead finds the run by the members that it knew.',
    async play(field) {
      const swarm = await field.swarm()
      const [founder, second] = await swarm.start(6)
      const args = ['--bootstrap', dialable(founder!)]
      founder!.kill()
      await swarm.trains()
      second!.kill()
      await swarm.trains()
      swarm.launch(second!.name, { args })
      field.note(`in after ${(await swarm.trains()).toFixed(1)} s`)
    },
  },
  {
    name: 'founder-restarts',
    outcome: 'The founder, which has no bootstrap address, is killed and finds the run again.',
    async play(field) {
      const swarm = await field.swarm()
      const [founder] = await swarm.start(5)
      founder!.kill()
      await swarm.trains()
      swarm.launch(founder!.name)
      field.note(`in after ${(await swarm.trains()).toFixed(1)} s`)
    },
  },
  {
    name: 'power-cut',
    outcome: 'All processes are killed and started again, and the run goes on where it was.',
    play: (field) => powerCut(field, (names) => names),
  },
  {
    name: 'power-cut-one-more',
    outcome: 'All are killed, one process more than before starts first, and the run goes on.',
    play: (field) => powerCut(field, (names) => ['new', ...names]),
  },
  {
    name: 'power-cut-one-less',
    outcome: 'All are killed, one machine stays away, and the run goes on.',
    play: (field) => powerCut(field, (names) => names.slice(0, -1)),
  },
  {
    name: 'power-cut-disks-gone',
    outcome: 'All are killed, two of five disks are empty afterwards, and the run goes on.',
    play: (field) =>
      powerCut(field, (names) => names.map((name, i) => (i < 2 ? `${name}-empty` : name))),
  },
]

/** Steps that may be lost when everything was killed: the disks have the stages of some steps ago. */
const LOST_STEPS = 60

/** Kills all peers and starts the machines that `restarted` names, which all know the others' addresses of before. */
async function powerCut(
  field: Field,
  restarted: (names: readonly string[]) => readonly string[],
): Promise<void> {
  const swarm = await field.swarm()
  const ports = new Map<string, number>()
  const all = await swarm.start(5, (number) => {
    ports.set(`p${number}`, PORT + number)
    return { args: ['--listen', addressAt(PORT + number)] }
  })
  await swarm.steps(30)
  const { step } = swarm
  for (const peer of all) peer.kill()
  await swarm.until('end of all', 10, () => swarm.live.length === 0)
  relaunch(swarm, restarted(all.map(({ name }) => name)), ports, all)
  field.note(
    `killed at step ${step}, on after ${(await swarm.trains({ seconds: 180 })).toFixed(1)} s`,
  )
  const first = swarm.entries.findLast(({ type }) => type === 'step')
  must(
    swarm.step > step - LOST_STEPS && swarm.step > 10,
    `the run went back from step ${step} to ${swarm.step} (${first?.type})`,
  )
}

/** First port of the peers of a power cut, below those that the system gives to clients. */
const PORT = 21_400

function addressAt(port: number): string {
  return `/ip4/127.0.0.1/tcp/${port}`
}

function relaunch(
  swarm: FieldSwarm,
  names: readonly string[],
  ports: ReadonlyMap<string, number>,
  before: readonly FieldPeer[],
): void {
  names.forEach((name, i) => {
    const port = ports.get(name) ?? ports.get(name.replace('-empty', '')) ?? PORT + 50 + i
    // Each command is the one of before: the founder's has no bootstrap address, and a new machine knows one of the others.
    const bootstrap = before[0]!.name === name ? [] : ['--bootstrap', addressAt(PORT + 1)]
    swarm.launch(name, { args: ['--listen', addressAt(port), ...bootstrap] })
  })
}
