/** Many joins beside a busy processor, and a machine that sleeps. */
import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { systemClock } from '../../../protocols/clock.ts'
import { type Field, type FieldCase, must } from '../case.ts'

const HERD = 24

export const LOAD_CASES: readonly FieldCase[] = [
  {
    name: 'herd-24',
    outcome:
      '24 processes join at one moment beside a busy processor. All get in, and steps are made.',
    async play(field) {
      const swarm = await field.swarm()
      const [founder] = await swarm.start(5)
      for (let i = 0; i < availableParallelism(); i++) keepBusy(field)
      const from = swarm.entries.length
      for (let i = 1; i <= HERD; i++) swarm.join(`herd${i}`, founder!)
      field.note(`all in after ${(await swarm.trains({ seconds: 400 })).toFixed(1)} s`)
      const losses = swarm.entries.slice(from).filter(({ type }) => type === 'lost')
      field.note(`${losses.length} lost meanwhile`)
      must(
        swarm.peers.every(({ isLive }) => isLive),
        'a process ended',
      )
    },
  },
  {
    name: 'asleep-ten-minutes',
    outcome: 'A holder stands still for ten minutes. The others go on, and it is in the run again.',
    isLong: true,
    async play(field) {
      const swarm = await field.swarm()
      const peers = await swarm.start(6)
      const sleeper = swarm.someHolder
      sleeper.freeze()
      const others = peers.filter((peer) => peer !== sleeper)
      field.note(`on after ${(await swarm.trains({ among: others })).toFixed(1)} s`)
      await systemClock.sleep(600_000)
      sleeper.thaw()
      field.note(`in again after ${(await swarm.trains()).toFixed(1)} s`)
    },
  },
]

/** A program that keeps a core busy, for ten minutes at most. */
const BUSY = 'const end = Date.now() + 600_000; while (Date.now() < end);'

/** Keeps a core busy until the case ends. */
function keepBusy(field: Field): void {
  const busy = spawn(process.execPath, ['-e', BUSY], { stdio: 'ignore' })
  field.onEnd(() => void busy.kill('SIGKILL'))
}
