/** Links that are broken in one direction, closed, moved, split or lossy. */
import { systemClock } from '../../../protocols/clock.ts'
import { type Field, type FieldCase, must } from '../case.ts'
import type { Lan } from '../lan.ts'
import type { FieldPeer } from '../peer.ts'
import type { FieldSettings, FieldSwarm, PeerSettings } from '../swarm.ts'

const NEEDS = ['root', 'nft'] as const
/** Seconds over which a speed is measured. */
const SPEED_SECONDS = 20

export const LINK_CASES: readonly FieldCase[] = [
  {
    name: 'undialable-newcomer',
    outcome: 'A newcomer that nobody can dial wants a stage, and the steps of the others go on.',
    needs: NEEDS,
    async play(field) {
      const { swarm, lan, peers } = await onLan(field, 5, 6)
      const before = await swarm.speed(SPEED_SECONDS)
      lan.closePorts(6)
      const newcomer = swarm.join('p6', peers[0]!, { ...host(lan, 6, '--stage', '2') })
      const answered = () => newcomer.isMember || !newcomer.isLive || newcomer.says(/"notice"/)
      await swarm.until('answer to the newcomer', 60, answered)
      const during = await swarm.speed(2 * SPEED_SECONDS)
      field.note(`steps a second ${before.toFixed(1)}, then ${during.toFixed(1)}`)
      must(during > before / 3, `steps a second fell from ${before} to ${during}`)
    },
  },
  {
    name: 'one-way-link',
    outcome: 'Nothing gets from one holder to the next any more, and the run goes on all the same.',
    needs: NEEDS,
    async play(field) {
      const { swarm, lan } = await onLan(field, 6, 6)
      const [from, to] = [swarm.holdersOf(2)[0]!, swarm.holdersOf(3)[0]!]
      lan.block(hostOf(from), hostOf(to))
      field.note(`on after ${(await swarm.steps(10, 120)).toFixed(1)} s`)
      lan.heal()
      field.note(`whole ${(await swarm.trains()).toFixed(1)} s after the end`)
    },
  },
  {
    name: 'address-changes',
    outcome: 'A holder gets another address, stays in the run, and can be dialled there.',
    needs: NEEDS,
    async play(field) {
      const { swarm, lan } = await onLan(field, 5, 6)
      const mover = swarm.someHolder
      lan.move(hostOf(mover), MOVED)
      await systemClock.sleep(5_000)
      field.note(`whole after ${(await swarm.trains({ seconds: 150 })).toFixed(1)} s`)
      const address = `/ip4/198.51.100.${MOVED}/tcp/4001`
      swarm.launch('p6', host(lan, 6, '--bootstrap', address))
      await swarm.trains()
    },
  },
  {
    name: 'split-2-3',
    outcome:
      'Two of five are cut off for 40 s, the others go on, and all are in one run afterwards.',
    needs: NEEDS,
    async play(field) {
      const { swarm, lan, peers } = await onLan(field, 5, 5, { run: { stages: '2', layers: '2' } })
      const [first, second, ...others] = peers as [FieldPeer, FieldPeer, ...FieldPeer[]]
      lan.split([hostOf(first), hostOf(second)], others.map(hostOf))
      const { step } = swarm
      await swarm.until('steps of the majority', 60, () =>
        others.some((peer) => peer.all('step').some((entry) => entry.step > step + 5)),
      )
      await systemClock.sleep(40_000)
      lan.heal()
      field.note(`one run ${(await swarm.trains({ seconds: 120 })).toFixed(1)} s after the end`)
    },
  },
  {
    name: 'split-both-train',
    outcome:
      'Both sides of a split have all stages. Afterwards there is one run, with the steps of the longer side.',
    isLong: true,
    needs: NEEDS,
    async play(field) {
      const { swarm, lan, peers } = await onLan(field, 5, 5, { run: { stages: '1', layers: '1' } })
      const [first, second, ...others] = peers as [FieldPeer, FieldPeer, ...FieldPeer[]]
      lan.split([hostOf(first), hostOf(second)], others.map(hostOf))
      await systemClock.sleep(100_000)
      const most = Math.max(...peers.map(({ step }) => step))
      lan.heal()
      field.note(`one run ${(await swarm.trains({ seconds: 180 })).toFixed(1)} s after the end`)
      must(swarm.step >= most, `the run went back from step ${most} to ${swarm.step}`)
    },
  },
  {
    name: 'loss-5-percent',
    outcome: '5 % of the packets are lost for a minute, and no member is.',
    needs: NEEDS,
    async play(field) {
      const { swarm, lan } = await onLan(field, 5, 5)
      const from = swarm.entries.length
      lan.lose(5)
      const during = await swarm.speed(60)
      lan.heal()
      const changes = swarm.entries.slice(from).filter(({ type }) => CHANGES.has(type))
      must(changes.length === 0, `the members changed: ${JSON.stringify(changes[0])}`)
      field.note(`steps a second meanwhile ${during.toFixed(1)}`)
    },
  },
  {
    name: 'loss-30-percent',
    outcome:
      '30 % of the packets are lost for a minute. Within 20 s after it the run has its speed again.',
    needs: NEEDS,
    async play(field) {
      const { swarm, lan } = await onLan(field, 5, 5)
      const before = await swarm.speed(SPEED_SECONDS)
      lan.lose(30)
      const during = await swarm.speed(60)
      lan.heal()
      const whole = await swarm.trains({ seconds: 20 })
      const after = await swarm.speed(SPEED_SECONDS)
      field.note(
        `steps a second ${before.toFixed(1)}, ${during.toFixed(2)}, ${after.toFixed(1)}; whole after ${whole.toFixed(1)} s`,
      )
      // Half, since other work on the machine disturbs both measurements.
      must(after > before / 2, `steps a second fell from ${before} to ${after}`)
    },
  },
]

/** Entries of a change of members. */
const CHANGES: ReadonlySet<string> = new Set(['lost', 'dropped', 'elected'])

/** Last number of the address to which a host moves. */
const MOVED = 77

/** Starts `count` peers, each on a host of its own with the number of its name. */
async function onLan(
  field: Field,
  count: number,
  hosts: number,
  settings: FieldSettings = {},
): Promise<{ swarm: FieldSwarm; lan: Lan; peers: FieldPeer[] }> {
  const swarm = await field.swarm(settings)
  const lan = field.lan(hosts)
  const peers = await swarm.start(count, (number) => host(lan, number))
  return { swarm, lan, peers }
}

function host(lan: Lan, number: number, ...more: string[]): PeerSettings {
  return { under: lan.under(number), args: ['--listen', '/ip4/0.0.0.0/tcp/4001', ...more] }
}

function hostOf({ name }: FieldPeer): number {
  return Number(name.slice(1))
}
