/** One peer of a fuzzed swarm, as the checkers see it. */
import type { Finished } from '../../src/membership/member-events.ts'
import type { AnyStage } from '../../stages/stage.ts'
import type { Flaws } from '../faults.ts'
import type { Host } from '../virtual-swarm.ts'
import { type Served, type Tap, tap } from './tap.ts'

export class FuzzPeer {
  readonly name: string
  readonly tap: Tap
  readonly flaws: Flaws = { isUnsound: false, isDiskFull: false, readMs: 0 }
  /** When the peer was started, by its own clock. */
  readonly bornAt: number
  /** The stages that the peer built last, by index. */
  readonly built = new Map<number, AnyStage>()
  /** How the node ended; null while it runs. */
  ended: Finished | Error | null = null
  crashed = false
  /** Id of the incarnation of the run that the peer is in, as far as its messages and its journal tell. */
  incarnation: string
  /** The final weights that the peer saved. */
  kept: { readonly stage: number; readonly weights: readonly number[] } | null = null

  constructor({ name, network }: Host, incarnation: string, served: (what: Served) => void) {
    this.incarnation = incarnation
    this.name = name
    this.tap = tap(network, served)
    this.bornAt = Math.floor(network.machine.clock.now())
  }

  get runs(): boolean {
    return this.ended === null && !this.crashed
  }
}
