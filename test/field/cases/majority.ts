/** More than half of the members goes at once. */
import { systemClock } from '../../../protocols/clock.ts'
import { startMetadataServer } from '../../chaos/metadata-server.ts'
import { type Field, type FieldCase, must } from '../case.ts'
import type { FieldPeer } from '../peer.ts'
import type { FieldSwarm } from '../swarm.ts'

const NINE = 9
const FIVE = 5
/** Deadline of the swarm that is left, in seconds: it first waits whether the others come back. */
const LEFT_SECONDS = 240
/** Notice of the fake cloud, in seconds. */
const NOTICE_SECONDS = 120

export const MAJORITY_CASES: readonly FieldCase[] = [
  {
    name: 'five-of-nine-killed',
    outcome: 'Five of nine are killed for good, and the four that are left go on.',
    async play(field) {
      const swarm = await field.swarm()
      await swarm.start(NINE)
      const holders = [swarm.someHolder, swarm.coordinator!]
      await goesOnWithout(field, swarm, [...holders, ...swarm.spares.slice(0, FIVE - 2)])
    },
  },
  {
    name: 'five-of-nine-replaced',
    outcome: 'Five of nine are killed, five new ones join, and the run goes on with nine.',
    async play(field) {
      const swarm = await field.swarm({ run: { stages: '6', layers: '6' } })
      const peers = await swarm.start(NINE)
      const spares = swarm.spares
      const killed = [...spares, ...peers.filter((peer) => !spares.includes(peer))].slice(0, FIVE)
      const replace = () => joinAll(swarm)
      await goesOnWithout(field, swarm, killed, replace)
    },
  },
  {
    name: 'four-spares-of-seven',
    outcome: 'The four spares of seven members are killed, and the three holders go on.',
    async play(field) {
      const swarm = await field.swarm({ run: { stages: '2', layers: '2' } })
      await swarm.start(7)
      await goesOnWithout(field, swarm, swarm.spares)
    },
  },
  {
    name: 'notices-replaced-5s',
    outcome:
      'Five of nine get a spot notice at once, five new ones join after 5 s, and the run goes on.',
    play: (field) => notices(field, { replacedAfter: 5, stages: 5 }),
  },
  {
    name: 'notices-replaced-120s',
    outcome:
      'Five of nine get a spot notice at once, five new ones join after 120 s, and the run goes on.',
    isLong: true,
    play: (field) => notices(field, { replacedAfter: NOTICE_SECONDS, stages: 5 }),
  },
  {
    name: 'notices-never-replaced',
    outcome:
      'Five of nine get a spot notice at once, nobody joins, and the four that are left go on.',
    play: (field) => notices(field, { replacedAfter: null, stages: 3 }),
  },
]

async function goesOnWithout(
  field: Field,
  swarm: FieldSwarm,
  killed: readonly FieldPeer[],
  then = () => {},
): Promise<void> {
  await swarm.steps(20)
  const { step } = swarm
  for (const peer of killed) peer.kill()
  then()
  field.note(`on after ${(await swarm.trains({ seconds: LEFT_SECONDS })).toFixed(1)} s`)
  must(swarm.step > step - KEPT_EVERY, `the run went back from step ${step} to ${swarm.step}`)
}

/** Steps between two copies of a stage by the default policy. */
const KEPT_EVERY = 20

/** Starts five processes that know a live one. */
function joinAll(swarm: FieldSwarm): void {
  const contact = swarm.live.at(-1)!
  for (let i = 1; i <= FIVE; i++) swarm.join(`new${i}`, contact)
}

async function notices(
  field: Field,
  { replacedAfter, stages }: { readonly replacedAfter: number | null; readonly stages: number },
): Promise<void> {
  const server = await startMetadataServer()
  field.onEnd(() => server.close())
  const layers = String(stages)
  const swarm = await field.swarm({ run: { stages: layers, layers } })
  const peers = await swarm.start(NINE, (number) => ({
    args: ['--spot', 'aws', '--spot-url', server.urlOf(number)],
  }))
  await swarm.steps(20)
  const { step } = swarm
  const leaving = peers.slice(0, FIVE)
  for (let number = 1; number <= FIVE; number++) server.takeBack(number)
  const noticeMs = systemClock.now()
  if (replacedAfter !== null) {
    await systemClock.sleep(replacedAfter * 1000)
    joinAll(swarm)
  }
  const gone = () => leaving.every(({ isLive }) => !isLive)
  await swarm.until('end of the five', NOTICE_SECONDS + 60, gone)
  const seconds = (systemClock.now() - noticeMs) / 1000
  const after = await swarm.trains({ seconds: LEFT_SECONDS })
  field.note(`five gone after ${seconds.toFixed(1)} s, whole ${after.toFixed(1)} s later`)
  must(swarm.step > step - KEPT_EVERY, `the run went back from step ${step} to ${swarm.step}`)
}
