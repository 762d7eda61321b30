/** Plays one case and removes what it made. The folder of a case that fails is kept, with all journals. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../protocols/clock.ts'
import { RunView } from '../../src/node/view.ts'
import type { Field, FieldCase, Need } from './case.ts'
import { Lan } from './lan.ts'
import type { FieldPeer } from './peer.ts'
import { type FieldSettings, FieldSwarm } from './swarm.ts'

export interface Verdict {
  readonly result: 'passed' | 'failed' | 'skipped'
  readonly seconds: number
  /** The figures of a case that passed, the reason of another one. */
  readonly text: string
}

/** What a machine must have for each need, and what is missing otherwise. */
const NEEDS: Readonly<Record<Need, { readonly has: () => boolean; readonly missing: string }>> = {
  root: {
    has: () => process.getuid?.() === 0 && works('ip', ['netns', 'list']),
    missing: 'root, for network namespaces and mounts (iproute2)',
  },
  nft: { has: () => works('nft', ['--version']), missing: 'nft (the package nftables)' },
}

export async function play(fieldCase: FieldCase, keep: boolean): Promise<Verdict> {
  const missing = (fieldCase.needs ?? []).filter((need) => !NEEDS[need].has())
  if (missing.length > 0) {
    const text = `needs ${missing.map((need) => NEEDS[need].missing).join(' and ')}`
    return { result: 'skipped', seconds: 0, text }
  }
  const startMs = systemClock.now()
  const seconds = () => (systemClock.now() - startMs) / 1000
  const running = new RunningCase(fieldCase.name)
  try {
    await fieldCase.play(running)
    await running.end(keep)
    const texts = [...running.notes, ...(keep ? [`journals in ${running.folder}`] : [])]
    return { result: 'passed', seconds: seconds(), text: texts.join(', ') }
  } catch (error) {
    await running.end(true)
    const text = `${(error as Error).message}; journals in ${running.folder}`
    return { result: 'failed', seconds: seconds(), text }
  }
}

class RunningCase implements Field {
  readonly folder: string
  readonly notes: string[] = []
  readonly #swarms: FieldSwarm[] = []
  readonly #ends: (() => void)[] = []

  constructor(name: string) {
    this.folder = mkdtempSync(join(tmpdir(), `gensyn-field-${name}-`))
  }

  async swarm(settings: FieldSettings = {}): Promise<FieldSwarm> {
    const folder = join(this.folder, `swarm-${this.#swarms.length + 1}`)
    const swarm = await FieldSwarm.create(folder, settings)
    this.#swarms.push(swarm)
    return swarm
  }

  lan(hosts: number): Lan {
    const lan = new Lan(hosts)
    this.onEnd(() => lan.close())
    return lan
  }

  smallDisk(name: string, bytes: number): string {
    const path = join(this.folder, name)
    mkdirSync(path)
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'field', path])
    this.onEnd(() => execFileSync('umount', ['--lazy', path]))
    return path
  }

  onEnd(end: () => void): void {
    this.#ends.push(end)
  }

  note(text: string): void {
    this.notes.push(text)
  }

  async end(keep: boolean): Promise<void> {
    for (const swarm of this.#swarms) {
      await swarm.close()
      if (keep) this.#keep(swarm)
    }
    for (const end of this.#ends.reverse()) end()
    if (!keep) rmSync(this.folder, { recursive: true, force: true })
  }

  /** Writes two files for each process: all that it said, and what a person reads at its terminal. */
  #keep(swarm: FieldSwarm): void {
    swarm.peers.forEach((peer, i) => {
      const path = join(this.folder, `${String(i + 1).padStart(2, '0')}-${peer.name}`)
      writeFileSync(`${path}.log`, lines(peer.texts()))
      writeFileSync(`${path}.txt`, lines(readBy(peer, swarm)))
    })
  }
}

/** Rows of steps, which a person reads between all other lines. */
const ROWS: ReadonlySet<string> = new Set(['step', 'committed'])

/** The lines at a terminal, without the rows of steps, each with the second since the first process began. */
function readBy({ entries, messages }: FieldPeer, swarm: FieldSwarm): string[] {
  const startMs = swarm.entries[0]?.at ?? 0
  const view = new RunView(swarm.run.stages + 1)
  const shown = entries.flatMap((entry) => {
    const second = ((entry.at - startMs) / 1000).toFixed(1).padStart(7)
    const texts = view.show(entry)
    return ROWS.has(entry.type) ? [] : texts.map((text) => `${second} ${text}`)
  })
  return [...shown, ...messages]
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\n`).join('')
}

function works(command: string, args: readonly string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
