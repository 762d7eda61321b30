/** Two processes that begin a run at the same moment. */
import type { FieldCase } from '../case.ts'
import { MDNS } from '../swarm.ts'

export const FOUNDING_CASES: readonly FieldCase[] = [
  {
    name: 'two-founders',
    outcome: 'Two machines of one network that start at once found one run.',
    needs: ['root'],
    async play(field) {
      const swarm = await field.swarm()
      const lan = field.lan(4)
      const at = (host: number) => ({
        under: lan.under(host),
        args: [MDNS, '--listen', '/ip4/0.0.0.0/tcp/4001'],
      })
      // Both wait, as soon as they are about to look around, until the other is as far.
      const both = [swarm.launch('p1', at(1)), swarm.launch('p2', at(2))]
      for (const peer of both) {
        swarm.onEntry(peer, ({ type }) => type === 'started' && peer.freeze())
      }
      await swarm.until('both to start', 60, () => both.every(({ isFrozen }) => isFrozen))
      for (const peer of both) peer.thaw()
      await swarm.until('a founder', 60, () => swarm.entries.some(({ type }) => type === 'founded'))
      swarm.launch('p3', at(3))
      swarm.launch('p4', at(4))
      field.note(`one run after ${(await swarm.trains()).toFixed(1)} s`)
    },
  },
]
