/**
 * `npm run test:soak -- --minutes 60`: a real swarm on loopback, some of whose processes are killed and started again all the time. Every
 * minute the processes say what they hold. The memory, the descriptors, the timers, the connections of the processes that live on,
 * and the journals of all must be flat after the first quarter (flat.ts has the rule).
 */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HOUR_MS, systemClock } from '../../protocols/clock.ts'
import { JOURNAL_BYTES } from '../../src/base/limits.ts'
import { Random } from '../../stages/random.ts'
import type { FieldPeer } from '../field/peer.ts'
import { FieldSwarm, type PeerSettings } from '../field/swarm.ts'
import { numericOptions } from '../fixtures/numeric-options.ts'
import {
  judgeBound,
  judgeFlat,
  lineOf,
  QUANTITIES,
  type QuantityName,
  type Sample,
} from './flat.ts'
import { PROBED } from './probed.ts'

const {
  minutes,
  peers: size,
  churn,
} = numericOptions({
  minutes: 60,
  peers: 7,
  /** Seconds between two losses. */
  churn: 60,
})
/** Processes that are never killed. They are measured. */
const LASTING = 3
/** Number of samples of each process. */
const SAMPLES = Math.max(20, minutes)
const INTERVAL_MS = (minutes * 60_000) / SAMPLES
/** Share of the time that does not count. */
const WARM_SHARE = 0.25
/** Share of the losses that take two processes at once. */
const DOUBLE_SHARE = 0.2
/** Seconds until a killed process is started again. */
const AWAY_SECONDS = 5

const startMs = systemClock.now()
const hours = () => (systemClock.now() - startMs) / HOUR_MS
const samples = new Map<string, Sample[]>()

function sample(who: string, key: QuantityName, value: number): void {
  const series = samples.get(`${who} ${key}`) ?? []
  series.push({ hours: hours(), value })
  samples.set(`${who} ${key}`, series)
}

const probed: PeerSettings = {
  nodeOptions: ['--expose-gc', '--import', new URL('./probe.ts', import.meta.url).href],
  env: { SOAK_INTERVAL_MS: String(INTERVAL_MS) },
}

/** Takes what a process has printed about itself since the last time. */
function readProbes(peer: FieldPeer): void {
  for (const text of peer.messages.splice(0)) {
    if (!text.startsWith(PROBED)) continue
    const probe = JSON.parse(text.slice(PROBED.length)) as Record<QuantityName, number>
    for (const key of Object.keys(probe) as QuantityName[]) sample(peer.name, key, probe[key])
  }
}

/** Bytes of all journals of one machine. */
function journalBytes(folder: string, name: string): number {
  const files = readdirSync(join(folder, name), { recursive: true, encoding: 'utf8' })
  const journals = files.filter((file) => /journal[^/]*\.jsonl$/.test(file))
  return journals.reduce((sum, file) => sum + statSync(join(folder, name, file)).size, 0)
}

/** Kills one process or two, and starts them again. */
async function churnOnce(swarm: FieldSwarm, random: Random, lasting: readonly FieldPeer[]) {
  const count = random.float() < DOUBLE_SHARE ? 2 : 1
  const killed: FieldPeer[] = []
  for (let i = 0; i < count; i++) {
    const candidates = swarm.live.filter((peer) => !lasting.includes(peer))
    const peer = candidates[random.integer(candidates.length)]
    if (peer === undefined) break
    peer.kill()
    killed.push(peer)
  }
  await systemClock.sleep(AWAY_SECONDS * 1000)
  for (const { name } of killed) swarm.join(name, lasting[0]!)
  return killed.length
}

function report(names: readonly string[], steps: number, losses: number): boolean {
  const rule = { from: (WARM_SHARE * minutes) / 60 }
  console.log(`${''.padEnd(31)}${'first third'.padStart(10)}${'last third'.padStart(11)}`)
  let passed = 0
  let all = 0
  for (const name of names) {
    for (const key of Object.keys(QUANTITIES) as QuantityName[]) {
      const series = samples.get(`${name} ${key}`)
      if (series === undefined) continue
      const flat = { ...rule, slack: QUANTITIES[key].slack }
      const verdict =
        key === 'journal' ? judgeBound(series, flat, JOURNAL_BYTES) : judgeFlat(series, flat)
      all++
      if (verdict.isFlat) passed++
      console.log(lineOf(name, key, verdict))
    }
  }
  const what = `${minutes} minutes, ${size} processes, ${steps} steps, ${losses} losses`
  console.log(`${passed === all ? 'passed' : 'FAILED'}: ${what}; ${passed} of ${all} series flat`)
  console.log(`${passed} passed, ${all - passed} failed`)
  return passed === all
}

const folder = mkdtempSync(join(tmpdir(), 'gensyn-soak-'))
const swarm = await FieldSwarm.create(folder, {})
try {
  const peers = await swarm.start(size, () => probed)
  const lasting = peers.slice(-LASTING)
  const random = new Random('soak')
  const endMs = startMs + minutes * 60_000
  let losses = 0
  let steps = swarm.step
  let nextSampleMs = startMs
  for (let turn = 1; systemClock.now() < endMs; turn++) {
    const turnMs = startMs + turn * churn * 1000
    await systemClock.sleep(Math.max(0, Math.min(turnMs, endMs) - systemClock.now()))
    losses += await churnOnce(swarm, random, lasting)
    steps = Math.max(steps, swarm.step)
    for (const peer of lasting) readProbes(peer)
    if (systemClock.now() >= nextSampleMs) {
      nextSampleMs = systemClock.now() + INTERVAL_MS
      for (const { name } of lasting) sample(name, 'journal', journalBytes(folder, name))
    }
  }
  await swarm.trains({ seconds: 180 })
  for (const peer of lasting) readProbes(peer)
  const ok = report(
    lasting.map(({ name }) => name),
    Math.max(steps, swarm.step),
    losses,
  )
  process.exitCode = ok ? 0 : 1
} catch (error) {
  console.log(`FAILED: ${(error as Error).message}`)
  console.log('0 passed, 1 failed')
  process.exitCode = 1
} finally {
  await swarm.close()
  rmSync(folder, { recursive: true, force: true })
}
