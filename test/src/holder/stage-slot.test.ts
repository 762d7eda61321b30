/** A slot is empty, or has one stage that is being built, learning, or active. */
import { expect, test } from 'vitest'
import type { Entry } from '../../../src/base/journal.ts'
import { StageSlot } from '../../../src/holder/stage-slot.ts'
import { foundingRoster } from '../../../src/membership/roster.ts'
import { CountingBody } from './counting-stage.ts'
import { slotContext } from './slot-context.ts'

const roster = foundingRoster({ peer: 'p0', session: 0, addresses: [], domain: '' })

/** A slot whose stages are built when the test says so. */
function slotWithBuilds() {
  const builds: { index: number; stage: PromiseWithResolvers<CountingBody> }[] = []
  const entries: Entry[] = []
  const slot = new StageSlot({
    ...slotContext(entries),
    roster: () => roster,
    own: () => roster.members[0],
    createStage: (index) => {
      const stage = Promise.withResolvers<CountingBody>()
      builds.push({ index, stage })
      return stage.promise
    },
  })
  const hold = (stage: number) =>
    slot.hold({ run: 'r', epoch: 0, step: 0, stage, strategy: 'seed', donors: [] })
  /** Resolves with the build of a stage, once it has begun. */
  const build = async (index: number) => {
    await expect.poll(() => builds.some((each) => each.index === index)).toBe(true)
    return builds.find((each) => each.index === index)!.stage
  }
  return { slot, entries, hold, build, builds }
}

test('a stage is active once it is built, and then refuses another', async () => {
  const { slot, hold, build } = slotWithBuilds()
  const held = hold(1)
  expect(slot.active).toBeNull()
  ;(await build(1)).resolve(new CountingBody())
  await held
  expect(slot.active?.index).toBe(1)
  slot.named()
  await expect(hold(2)).rejects.toMatchObject({ code: 'REFUSED' })
  await expect(slot.learn(2)).rejects.toMatchObject({ code: 'REFUSED' })
  expect(slot.active?.index).toBe(1)
})

test('another question takes the place of a build: the first fails, its stage is freed, and no notice is written', async () => {
  const { slot, entries, hold, build } = slotWithBuilds()
  const first = hold(1)
  const refused = expect(first).rejects.toMatchObject({ code: 'STALE' })
  const firstBuild = await build(1)
  const second = hold(2)
  ;(await build(2)).resolve(new CountingBody())
  await second
  const late = new CountingBody()
  firstBuild.resolve(late)
  await refused
  expect(late.isClosed).toBe(true)
  expect(slot.active?.index).toBe(2)
  expect(entries.map(({ type }) => type)).toEqual(['holding'])
})

test('a failed build leaves the slot empty, and is told', async () => {
  const { slot, entries, hold, build } = slotWithBuilds()
  const failed = expect(hold(1)).rejects.toThrow('no memory')
  ;(await build(1)).reject(new Error('no memory'))
  await failed
  expect(slot.active).toBeNull()
  expect(entries).toMatchObject([{ type: 'notice', message: 'could not take stage 1: no memory' }])
  const held = hold(2)
  ;(await build(2)).resolve(new CountingBody())
  await held
  expect(slot.active?.index).toBe(2)
})

test('giving up frees what is active or learning, but not what is being built', async () => {
  const { slot, hold, build } = slotWithBuilds()
  const learned = slot.learn(1)
  const replica = new CountingBody()
  ;(await build(1)).resolve(replica)
  await learned
  expect(slot.learning?.sync.index).toBe(1)
  await slot.giveUp()
  expect(slot.learning).toBeNull()
  expect(replica.isClosed).toBe(true)
  const held = hold(2)
  await slot.giveUp()
  const stage = new CountingBody()
  ;(await build(2)).resolve(stage)
  await held
  expect(slot.active?.index).toBe(2)
  await slot.giveUp()
  expect(slot.active).toBeNull()
  expect(stage.isClosed).toBe(true)
})

test('the same question joins a rebuild when it is asked again, and gets its answer later too', async () => {
  const { slot, entries, hold, build, builds } = slotWithBuilds()
  const first = hold(1)
  const building = await build(1)
  const again = hold(1)
  // Another coordinator has its place.
  slot.stopBuildingReplica('another coordinates now')
  building.resolve(new CountingBody())
  const answer = await first
  expect(await again).toEqual(answer)
  expect(await hold(1)).toEqual(answer)
  expect(builds).toHaveLength(1)
  expect(entries.map(({ type }) => type)).toEqual(['holding'])
})

test('a rebuilt stage waits for its name while members change, and not when the run is elsewhere', async () => {
  const { slot, hold, build } = slotWithBuilds()
  const held = hold(1)
  ;(await build(1)).resolve(new CountingBody())
  await held
  const member = roster.members[0]!
  const other = { ...member, id: 1, peer: 'p1' }
  expect(slot.isRebuilt({ ...roster, epoch: 7, members: [member, other] })).toBe(true)
  expect(slot.isRebuilt({ ...roster, committed: 1, loss: 3 })).toBe(false)
  slot.named()
  expect(slot.isRebuilt(roster)).toBe(false)
})

test('a rebuilt stage that was not named gives way to another one', async () => {
  const { slot, hold, build } = slotWithBuilds()
  const held = hold(1)
  const unnamed = new CountingBody()
  ;(await build(1)).resolve(unnamed)
  await held
  const second = hold(2)
  ;(await build(2)).resolve(new CountingBody())
  await second
  expect(unnamed.isClosed).toBe(true)
  expect(slot.active?.index).toBe(2)
})
