/**
 * Faults of the coordinator. The coordinator is lost at any point of a step, and returns when another peer may have its
 * place.
 */
import type { PeerId } from '../../protocols/network.ts'
import { exponential } from '../exponential.ts'
import type { VirtualNetwork } from '../world/network.ts'
import type { World } from '../world/world.ts'

export interface CoordinatorFaults {
  readonly world: World
  readonly network: VirtualNetwork
  /** The peer that coordinates by the newest roster. */
  readonly coordinator: () => PeerId | undefined
  /** Mean time between two faults. */
  readonly gapMs: number
  /** Mean time that a fault lasts. */
  readonly lengthMs: number
  /** Time from which no fault begins and all earlier faults have ended. */
  readonly calmAtMs: number
  /** Called when a fault begins and when it ends. */
  readonly tell: (what: string) => void
}

/** Freezes the coordinator or cuts it off, again and again, until the calm time. */
export function disturbCoordinator(options: CoordinatorFaults): void {
  const { world, network, coordinator, gapMs, lengthMs, calmAtMs, tell } = options
  const random = world.random.stream('coordinator')
  const next = () => world.schedule(exponential(gapMs, random), 'the coordinator is struck', strike)
  const strike = () => {
    const left = calmAtMs - world.clock.now()
    if (left <= 0) return
    next()
    const peer = coordinator()
    if (peer === undefined || !network.living.includes(peer)) return
    const stands = random.integer(2) === 0
    if (stands && network.machineOf(peer).frozen) return
    const what = `the coordinator ${peer} ${stands ? 'stands still' : 'is cut off'}`
    tell(what)
    const heal = stands ? freeze(network, peer) : cutOff(network, peer)
    world.schedule(Math.min(left, exponential(lengthMs, random)), `no more: ${what}`, () => {
      tell(`no more: ${what}`)
      heal()
    })
  }
  next()
}

function freeze(network: VirtualNetwork, peer: PeerId): () => void {
  const machine = network.machineOf(peer)
  machine.freeze()
  return () => machine.thaw()
}

function cutOff(network: VirtualNetwork, peer: PeerId): () => void {
  return network.disturb((from, to) => (from === peer || to === peer ? 'blocked' : undefined))
}
