/** `gensyn-node status`: listens to the announcements of a run without being a member, and prints them. */
import { dirname, join as joinPath, resolve } from 'node:path'
import { type Announcement, listen } from '../../protocols/announcement.ts'
import type { Clock } from '../../protocols/clock.ts'
import { InputError } from '../base/errors.ts'
import type { Terminal } from '../base/terminal.ts'
import { asGuest } from '../model/guest.ts'
import { openDoor } from '../run/door.ts'
import { readRun, runId } from '../run/run.ts'

export interface StatusOptions {
  readonly run: string
  readonly secretFile?: string | undefined
  readonly bootstrap?: readonly string[] | undefined
  readonly dataDir?: string | undefined
  readonly seconds: number
}

export interface StatusIo {
  readonly terminal: Terminal
  readonly clock: Clock
  readonly signal: AbortSignal
}

/**
 * Listens for some seconds, and prints the last announcement of each peer.
 * @throws InputError if no peer of the run can be reached, or no peer made an announcement
 */
export async function status(options: StatusOptions, io: StatusIo): Promise<void> {
  const { terminal, clock, signal } = io
  const run = readRun(options.run)
  const id = runId(run)
  const dataDir = options.dataDir ?? joinPath(dirname(resolve(options.run)), '.gensyn')
  const door = openDoor(run, options.run, options.secretFile)
  const guest = { runId: id, door, addresses: options.bootstrap, dataDir, option: '--bootstrap' }
  const announcements = new Map<string, Announcement>()
  await asGuest({ ...guest, clock, signal }, async (network, { length: connected }) => {
    listen(network, id, (from, announcement) => announcements.set(from, announcement))
    await clock.sleep(options.seconds * 1000, signal)
    if (announcements.size > 0) return
    throw new InputError(
      `${connected} peers are connected, but none made a step within ${options.seconds} s. ` +
        'Listen longer with --seconds, or look at the output of the founder.',
    )
  })
  show(announcements, run.steps, terminal)
}

function show(
  announcements: ReadonlyMap<string, Announcement>,
  steps: number,
  terminal: Terminal,
): void {
  const rows = [...announcements].sort(([, a], [, b]) => a.stage - b.stage)
  terminal.line(
    `${'stage'.padStart(6)}${'step'.padStart(8)}${'loss'.padStart(9)}${'busy s'.padStart(8)}  peer`,
  )
  for (const [peer, announcement] of rows) {
    const { stage, step, loss, busySeconds } = announcement
    terminal.event({ type: 'announcement', peer, ...announcement })
    terminal.line(
      `${String(stage).padStart(6)}${String(step).padStart(8)}${loss.toFixed(4).padStart(9)}${busySeconds.toFixed(2).padStart(8)}  ${peer}`,
    )
  }
  const latest = rows.reduce((best, row) => (row[1].step > best[1].step ? row : best))[1]
  terminal.line(`step ${latest.step} of ${steps}, epoch ${latest.epoch}, ${latest.members} members`)
}
