/** Fencing (I6): old questions are sent again, which must change nothing. */
import * as agreement from '../../protocols/agreement.ts'
import * as incarnation from '../../protocols/incarnation.ts'
import { microbatch } from '../../protocols/microbatch.ts'
import type { PeerId } from '../../protocols/network.ts'
import { comeBack } from '../../protocols/return.ts'
import * as step from '../../protocols/step.ts'
import type { Random } from '../../stages/random.ts'
import type { VirtualNetwork } from '../world/network.ts'
import type { World } from '../world/world.ts'
import type { FuzzPeer } from './peer.ts'
import type { Served } from './tap.ts'

/** Protocols whose old questions may come again, since a roster, a ballot, a step or an incarnation fences them. */
const FENCED: ReadonlySet<string> = new Set(
  [
    agreement.propose,
    agreement.promise,
    agreement.install,
    step.prepare,
    step.reduce,
    step.evaluate,
    step.gradients,
    step.report,
    microbatch,
    incarnation.incarnate,
    incarnation.superseded,
    comeBack,
  ].map(({ protocol }) => protocol),
)
const REPLAYED_MAX = 256

export class Replays {
  readonly #random: Random
  /** A sample of the questions that were asked, of any age. */
  readonly #asked: Served[] = []

  constructor(random: Random) {
    this.#random = random
  }

  note(served: Served): void {
    if (FENCED.has(served.protocol)) this.#asked[this.#random.integer(REPLAYED_MAX)] = served
  }

  /** Sends old questions again, one after each `everyMs`, until the calm time. */
  begin(
    world: World,
    network: VirtualNetwork,
    peers: ReadonlyMap<PeerId, FuzzPeer>,
    { everyMs, calmAtMs }: { readonly everyMs: number; readonly calmAtMs: number },
  ): void {
    const again = () => {
      if (world.clock.now() >= calmAtMs) return
      world.schedule(everyMs, 'a question comes again', again)
      const old = this.#asked[this.#random.integer(this.#asked.length)]
      const asked = old && peers.get(old.peer)
      if (!asked?.runs || !network.living.includes(old!.peer)) return
      const { peer, from, protocol, question, body } = old!
      const fire = () => void asked.tap.ask(from, protocol, question, body).catch(() => {})
      network.machineOf(peer).schedule(0, 'a question comes again', fire)
    }
    world.schedule(everyMs, 'a question comes again', again)
  }
}
