/**
 * `npm run bench:world`: events a second of the simulated world, for loads of increasing cost, in one thread. The code of real
 * nodes is not part of the loads. The program has no bound and no exit code.
 */

import { heartbeat } from '../protocols/membership.ts'
import { type MicrobatchHeader, microbatch } from '../protocols/microbatch.ts'
import type { Network, PeerId } from '../protocols/network.ts'
import { ask, serve } from '../protocols/procedure.ts'
import { VirtualNetwork } from '../sim/world/network.ts'
import { World } from '../sim/world/world.ts'
import { rounded } from './statistics.ts'

const PEERS = 1_000
const STAGES = 64
const ROUND_MS = 100
const TIMEOUT_MS = 60_000
const PROTOCOL = '/bench/world/1.0.0'
const RUN = 'a'.repeat(64)

/** Actions that every peer repeats. `rounds` is the number of repetitions. */
interface Load {
  readonly rounds: number
  start(world: World): (peer: number, round: number) => Promise<unknown>
}

function swarm(world: World, prepare: (peer: Network) => void, shareHeaders = false): Network[] {
  const links = () => ({ latencyMs: 20, bytesPerMs: 1_250 })
  const network = new VirtualNetwork({ world, links, shareHeaders })
  const peers = Array.from({ length: PEERS }, (_, i) => network.join(`peer-${i}`))
  for (const [i, peer] of peers.entries()) {
    peer.learn(nextTo(i), [`sim://${nextTo(i)}`])
    prepare(peer)
  }
  return peers
}

function nextTo(peer: number): string {
  return `peer-${(peer + 1) % PEERS}`
}

const refused = () => {}

const LOADS: Readonly<Record<string, Load>> = {
  /** Every peer sleeps: the cost of the world alone. */
  sleeps: {
    rounds: 400,
    start: (world) => (peer) => world.clock.sleep(ROUND_MS + (peer % 7)),
  },
  /** Every peer makes a call with an empty header. */
  calls: {
    rounds: 60,
    start(world) {
      const peers = swarm(world, (peer) =>
        peer.handle(PROTOCOL, { handle: async () => ({ header: null }) }),
      )
      return (peer) =>
        peers[peer]!.call(nextTo(peer), PROTOCOL, { header: null }, { timeoutMs: TIMEOUT_MS })
    },
  },
  /** Every peer calls a small procedure. Both sides check the headers. */
  heartbeats: {
    rounds: 60,
    start(world) {
      const peers = swarm(world, (peer) =>
        serve(peer, heartbeat, { serve: async (_, { epoch }) => answerOf(epoch) }, refused),
      )
      return (peer, round) =>
        ask(
          peers[peer]!,
          nextTo(peer),
          heartbeat,
          { run: RUN, epoch: round },
          { timeoutMs: TIMEOUT_MS },
        )
    },
  },
  /** Every peer sends a microbatch with a route of 64 stages and a tensor of two elements. */
  microbatches: { rounds: 20, start: (world) => microbatches(world, false) },
  /** The same without the conversion of headers to text and back. */
  microbatchesShared: { rounds: 20, start: (world) => microbatches(world, true) },
}

function answerOf(epoch: number) {
  return { answer: { epoch, session: 1, queuedWork: 0 } }
}

function microbatches(world: World, shareHeaders: boolean) {
  const service = {
    accept: (_from: PeerId, _header: MicrobatchHeader, length: number) => new Uint8Array(length),
    serve: async () => ({ answer: {} }),
  }
  const peers = swarm(world, (peer) => serve(peer, microbatch, service, refused), shareHeaders)
  const route = Array.from({ length: STAGES }, (_, i) => ({ stage: i + 1, id: i }))
  const body = new Uint8Array(8)
  return (peer: number, round: number) => {
    const header: MicrobatchHeader = {
      run: RUN,
      epoch: 1,
      step: round,
      index: peer,
      attempt: 0,
      purpose: 'train',
      direction: 'forward',
      route,
      position: 3,
      driver: 0,
      dtype: 'float32',
      shape: [1, 1, 2],
    }
    return ask(peers[peer]!, nextTo(peer), microbatch, header, { body, timeoutMs: TIMEOUT_MS })
  }
}

const wanted = process.argv.slice(2)
for (const [name, { rounds, start }] of Object.entries(LOADS)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  const begun = process.cpuUsage()
  const world = new World({ seed: 1, eventsMax: Infinity })
  const act = start(world)
  const loop = async (peer: number) => {
    for (let round = 0; round < rounds; round++) await act(peer, round)
  }
  const all = Promise.all(Array.from({ length: PEERS }, (_, i) => loop(i)))
  await world.run(all, { waitingFor: 'all rounds' })
  // Processor time, which other programs on the machine disturb less than the clock.
  const { user, system } = process.cpuUsage(begun)
  const actions = PEERS * rounds
  console.log(
    JSON.stringify({
      load: name,
      actions,
      events: world.fired,
      processorSeconds: rounded((user + system) / 1e6),
      eventsPerSecond: rounded((world.fired * 1e6) / (user + system)),
      microsecondsPerAction: rounded((user + system) / actions),
    }),
  )
}
