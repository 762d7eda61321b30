/** Every protocol is asked by every role: a question is worked on, and its body is taken, only if the role may ask. */
import { describe, expect, test } from 'vitest'
import type { Roster } from '../../../protocols/membership.ts'
import type { Json } from '../../../protocols/network.ts'
import { VirtualNetwork } from '../../../sim/world/network.ts'
import { World } from '../../../sim/world/world.ts'
import { ASKERS } from '../../../src/membership/border.ts'
import { foundingRoster } from '../../../src/membership/roster.ts'
import { serveRun } from '../../../src/membership/serve-run.ts'
import { Random } from '../../../stages/random.ts'
import { forge, PROCEDURES } from '../../fixtures/forger.ts'

const RUN = 'a'.repeat(64)
const PEERS = ['coordinator', 'holder', 'spare', 'guest'] as const

const founder = { peer: 'coordinator', session: 1, addresses: [], domain: '' }
const ROSTER: Roster = (() => {
  const roster = foundingRoster(founder)
  const [first] = roster.members
  const holder = { ...first!, id: 1, peer: 'holder', stage: 1 }
  const spare = { ...first!, id: 2, peer: 'spare', stage: null }
  return { ...roster, nextId: 3, members: [{ ...first!, stage: 0 }, holder, spare] }
})()

/** What each role may ask beyond what those before may, by the name in the protocol's id. */
const MAY_ASK: Readonly<Record<(typeof PEERS)[number], readonly string[]>> = {
  guest: [
    ...['hello', 'roster', 'vouch', 'heartbeat', 'leave', 'probe'],
    ...['compare-foundings', 'gather', 'meet', 'supersede', 'offer', 'come-back'],
    ...['weights', 'snapshot', 'shards', 'propose', 'promise', 'install'],
  ],
  spare: [
    ...['incarnate', 'moved', 'microbatch', 'gradients', 'study', 'studied', 'report'],
    ...['saved', 'kept', 'copy'],
  ],
  holder: ['keep', 'learnt'],
  coordinator: [
    ...['finish', 'move-over', 'superseded', 'minority', 'hold', 'learn', 'prepare', 'reduce'],
    ...['evaluate', 'reach', 'notice'],
  ],
}

test('the table has each protocol once', () => {
  expect([...ASKERS.keys()].sort()).toEqual(PROCEDURES.map(({ protocol }) => protocol).sort())
})

test('the expectation of this test has each protocol once', () => {
  const names = PROCEDURES.map(({ protocol }) => protocol.split('/')[2])
  expect(Object.values(MAY_ASK).flat().sort()).toEqual(names.sort())
})

describe.each(PROCEDURES.map((procedure) => [procedure.protocol, procedure] as const))(
  '%s',
  (protocol, procedure) => {
    const name = protocol.split('/')[2]!
    const mayAsk = (peer: (typeof PEERS)[number]) => {
      const also = peer === 'coordinator' || peer === 'holder' ? ['spare'] : []
      const roles = ['guest', peer, ...also] as const
      return roles.some((role) => MAY_ASK[role as keyof typeof MAY_ASK].includes(name))
    }
    test.each(PEERS)('asked by the %s', async (peer) => {
      const world = new World({ seed: 1 })
      const links = () => ({ latencyMs: 1, bytesPerMs: Number.POSITIVE_INFINITY })
      const network = new VirtualNetwork({ world, links })
      const [asker, asked] = [network.join(peer), network.join('asked')]
      const done: string[] = []
      const refused: string[] = []
      const journal = { write: ({ type }: { type: string }) => refused.push(type) }
      serveRun(
        {
          network: asked,
          runId: RUN,
          journal: journal as never,
          border: { roster: () => ROSTER, heardCoordinator: () => done.push('heard') },
        },
        procedure as never,
        {
          accept: (_: string, __: unknown, length: number) => {
            done.push('took the body')
            return new Uint8Array(length)
          },
          serve: async () => {
            done.push('worked')
            return { answer: {} as never }
          },
        },
      )
      asker.learn('asked', asked.addresses)
      const known = { random: new Random(1), run: RUN, self: peer, roster: ROSTER, address: 'x' }
      const forged = forge(known, procedure).header as Record<string, Json>
      // The holder of the roster holds stage 1.
      const header = { ...forged, ...('stage' in forged && { stage: 1 }) }
      const message = { header, body: Uint8Array.of(1) }
      const options = { timeoutMs: 1_000, accept: () => new Uint8Array(1) }
      const answer = asker.call('asked', protocol, message, options).then(
        () => 'answered',
        (error) => error.code,
      )
      const outcome = await world.run(answer, { waitingFor: 'an answer' })
      if (mayAsk(peer)) {
        expect({ outcome, done }).toMatchObject({ outcome: 'answered' })
        expect(done.filter((what) => what !== 'heard')).toEqual(['took the body', 'worked'])
        return
      }
      expect(['NOT_MEMBER', 'STALE', 'REFUSED']).toContain(outcome)
      expect({ done, refused }).toEqual({ done: [], refused: ['refused'] })
    })
  },
)
