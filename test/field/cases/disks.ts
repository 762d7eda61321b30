/** Disks that are full. */
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Field, type FieldCase, must } from '../case.ts'

const DISK_BYTES = 4 * 1024 ** 2

export const DISK_CASES: readonly FieldCase[] = [
  {
    name: 'coordinator-disk-full',
    outcome: "The coordinator's disk is full. The run goes on, and that peer says what to do.",
    needs: ['root'],
    play: (field) => fullDisk(field, 1),
  },
  {
    name: 'worker-disk-full',
    outcome: "A holder's disk is full. The run goes on, and that peer says what to do.",
    needs: ['root'],
    play: (field) => fullDisk(field, 2),
  },
]

/** @param number number of the peer whose disk is small */
async function fullDisk(field: Field, number: number): Promise<void> {
  const swarm = await field.swarm()
  const disk = field.smallDisk('disk', DISK_BYTES)
  const peers = await swarm.start(5, (each) => ({
    ...(each === number && { disk }),
    // Two hold stages from the beginning: the founder, and the second peer.
    args: each === 2 ? ['--stage', '1'] : [],
  }))
  const victim = peers[number - 1]!
  must(number !== 1 || victim === swarm.coordinator, 'the founder does not coordinate')
  fill(join(disk, 'filler'))
  const { step } = swarm
  await swarm.steps(60, 120)
  must(swarm.step > step, `the run went back from step ${step} to ${swarm.step}`)
  const isTold = () => victim.says(/ENOSPC|no space|disk/i)
  await swarm.until(`${victim.name} to say that its disk is full`, 10, isTold)
  const ended = peers.filter((peer) => peer !== victim && !peer.isLive)
  must(ended.length === 0, `${ended.map(({ name }) => name).join(', ')} ended`)
  field.note(victim.isLive ? 'the peer goes on' : `the peer ended with ${victim.exit}`)
}

/** Writes to a file until the disk is full. */
function fill(path: string): void {
  const block = Buffer.alloc(4096, 'full')
  for (let i = 0; i <= DISK_BYTES / block.length; i++) {
    try {
      appendFileSync(path, block)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return
      throw error
    }
  }
  throw new Error(`${path} does not fill its disk`)
}
