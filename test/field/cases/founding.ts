/** Two processes that begin a run at the same moment. */
import { type Field, type FieldCase, must } from '../case.ts'
import { AT_GATE, gate } from '../preload.ts'
import { MDNS } from '../swarm.ts'

/** The outcome depends on which of the two is faster, and by how much. */
const TRIES = 3

export const FOUNDING_CASES: readonly FieldCase[] = [
  {
    name: 'two-founders',
    outcome:
      'Two machines of one network that start at one moment train one run, three times of three.',
    needs: ['root'],
    async play(field) {
      for (let i = 0; i < TRIES; i++) await startTwo(field)
    },
  },
]

async function startTwo(field: Field): Promise<void> {
  const swarm = await field.swarm({ run: { stages: '1', layers: '1' } })
  const lan = field.lan(2)
  const start = gate(field.folder)
  const both = [1, 2].map((host) => {
    const args = [MDNS, '--listen', '/ip4/0.0.0.0/tcp/4001']
    return swarm.launch(`p${host}`, { ...start.launch, under: lan.under(host), args })
  })
  const isLoaded = () => both.every(({ messages }) => messages.includes(AT_GATE))
  await swarm.until('both processes at the gate', 60, isLoaded)
  start.begin()
  field.note(`one run after ${(await swarm.trains({ seconds: 60 })).toFixed(1)} s`)
  const founders = both.filter((peer) => peer.last('founded') !== undefined)
  must(founders.length > 0, 'nobody founded the run')
  for (const peer of both) peer.kill()
}
