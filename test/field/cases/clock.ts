/** Clocks that jump, and machines that sleep. */
import { type FieldCase, must } from '../case.ts'
import { movedClock } from '../preload.ts'

const PEERS = 6

export const CLOCK_CASES: readonly FieldCase[] = [
  {
    name: 'clock-two-hours',
    outcome: 'All clocks jump by two hours, the coordinator is killed, and the others go on.',
    async play(field) {
      const swarm = await field.swarm()
      const clock = movedClock(field.folder)
      const [founder] = await swarm.start(PEERS, () => clock.launch)
      clock.begin()
      await swarm.steps(10)
      const { step } = swarm
      founder!.kill()
      field.note(`on after ${(await swarm.trains()).toFixed(1)} s`)
      must(swarm.step > step, `the run went back from step ${step} to ${swarm.step}`)
    },
  },
]
