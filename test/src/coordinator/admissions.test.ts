/** Admissions: newcomers that wait for their admission, and members that wait for their release. */
import { expect, test, vi } from 'vitest'
import { ProtocolError } from '../../../protocols/errors.ts'
import { ABSENCES, TIMEOUTS } from '../../../src/base/limits.ts'
import { Admissions } from '../../../src/coordinator/admissions.ts'
import { Health } from '../../../src/coordinator/health.ts'
import { WorkFaults } from '../../../src/coordinator/work-faults.ts'
import { entriesOf } from '../../fixtures/swarm.ts'
import { createPartContext } from './part-context.ts'

function createAdmissions() {
  const context = createPartContext([0, 1, 2])
  const sleeps: { until: number; wake(): void }[] = []
  const { clock } = context.agreement
  clock.sleep = (ms: number) =>
    new Promise<void>((wake) => sleeps.push({ until: clock.now() + ms, wake }))
  /** Lets time pass, and wakes what has slept until then. */
  const tick = async (ms: number) => {
    context.pass(ms)
    for (const { until, wake } of sleeps) if (until <= clock.now()) wake()
    await Promise.resolve()
    await Promise.resolve()
  }
  const leavingNow = vi.fn()
  const { agreement, changed } = context
  const health = new Health({ ...agreement, changed })
  const faults = new WorkFaults(agreement.clock)
  const admissions = new Admissions({
    ...agreement,
    bodyStages: 2,
    wish: null,
    health,
    faults,
    changed,
    leavingNow,
  })
  const admit = (peer: string, stage: number | null, session = 1) =>
    admissions.admit(peer, {
      run: 'run',
      addresses: [],
      session,
      domain: '',
      stage,
      resumes: false,
      claim: 'may',
      incarnation: 'run',
    })
  return { ...context, health, faults, admissions, admit, tick, leavingNow }
}

test('a newcomer waits until it is in the roster, also if it asks again', async () => {
  const { admissions, admit } = createAdmissions()
  await admit('new', 2)
  await admit('new', 2)
  const [newcomer] = admissions.take(10)
  expect(admissions.waiting).toBe(1)
  expect(newcomer).toMatchObject({ peer: 'new', session: 1 })
  admissions.admitted([newcomer!])
  expect(admissions.waiting).toBe(0)
})

test('a restarted process replaces its earlier entry among the waiting newcomers', async () => {
  const { admissions, admit } = createAdmissions()
  await admit('new', 1, 1)
  await admit('new', 2, 2)
  expect(admissions.take(10)).toMatchObject([{ peer: 'new', session: 2 }])
  expect(admissions.wishes.get('new')).toBe(2)
})

test('the wish of a member that leaves is dropped, unless the same peer waits for its admission', async () => {
  const { admissions, admit, members, dead } = createAdmissions()
  dead.add('peer-1').add('peer-2')
  await admit('peer-1', 1, 2)
  await admit('peer-2', 2, 2)
  const again = admissions.take(10).filter(({ peer }) => peer === 'peer-2')
  admissions.admitted(again)
  admissions.forget(members[1]!)
  admissions.forget(members[2]!)
  expect([...admissions.wishes.keys()]).toEqual(['peer-0', 'peer-1'])
})

test('a restarted process makes its old member lost, and a second process with the same key is refused', async () => {
  const { admit, health, dead } = createAdmissions()
  dead.add('peer-1')
  await admit('peer-1', null, 2)
  expect(health.lost.members.map(({ peer }) => peer)).toEqual(['peer-1'])
  await expect(admit('peer-2', null, 2)).rejects.toMatchObject({ code: 'REFUSED' })
})

test('a stage that does not exist is refused', async () => {
  const { admit } = createAdmissions()
  await expect(admit('new', 3)).rejects.toThrow('stage 3 of 3: stages are 0..2')
})

test('a member that leaves waits until it is out of the roster', async () => {
  const { admissions, members } = createAdmissions()
  let isGone = false
  const gone = admissions.leave('peer-1', 'as a test', 120_000).then(() => {
    isGone = true
  })
  expect([...admissions.leaving.keys()]).toEqual([1])
  await Promise.resolve()
  expect(isGone).toBe(false)
  admissions.forget(members[1]!)
  await gone
  expect(admissions.leaving.size).toBe(0)
})

test('a member that asks again may leave earlier than it said before, and never later', () => {
  const { admissions } = createAdmissions()
  const urgency = () => admissions.leaving.get(1)!.urgency
  void admissions.leave('peer-1', 'a spot notice', 120_000)
  expect(urgency()).toBe('patient')
  void admissions.leave('peer-1', 'Ctrl-C', null)
  expect(urgency()).toBe('hasty')
  void admissions.leave('peer-1', 'a spot notice', 120_000)
  expect(urgency()).toBe('hasty')
})

test('when the time of one member is almost over, all whose time ends soon leave with it', async () => {
  const { admissions, tick, leavingNow, entries } = createAdmissions()
  void admissions.leave('peer-1', 'a spot notice', 115_000)
  void admissions.leave('peer-2', 'a spot notice', 120_000)
  void admissions.leave('peer-0', 'a spot notice', 300_000)
  const urgencies = () => [0, 1, 2].map((id) => admissions.leaving.get(id)!.urgency)
  expect(urgencies()).toEqual(['patient', 'patient', 'patient'])
  await tick(105_000)
  expect(urgencies()).toEqual(['patient', 'now', 'now'])
  expect(leavingNow).toHaveBeenCalledOnce()
  expect(entriesOf(entries, 'notice')).toHaveLength(3)
})

test('the end of the coordination fails the waits of members that leave', async () => {
  const { admissions } = createAdmissions()
  const gone = admissions.leave('peer-1', 'as a test', 120_000)
  admissions.end(new ProtocolError('STALE', 'as a test'))
  await expect(gone).rejects.toMatchObject({ code: 'STALE' })
})

test('a peer that lost its stage three times for its own faults is refused with the reason, until they are forgotten', async () => {
  const { faults, admit, pass } = createAdmissions()
  for (let i = 1; i <= 2; i++) faults.strike('new', 'its output is not finite')
  await admit('new', null)
  faults.strike('new', 'its compute hangs')
  const again = { code: 'REFUSED', message: expect.stringContaining('its compute hangs') }
  await expect(admit('new', null, 2)).rejects.toMatchObject(again)
  pass(3_600_001)
  await admit('new', null, 2)
})

test('newcomers that never take part are turned away, and one change of many newcomers counts once', async () => {
  const { admissions, admit } = createAdmissions()
  const many = Array.from({ length: 20 }, (_, i) => ({ peer: `lan-${i}`, host: '203.0.113.0/24' }))
  admissions.neverCame(many)
  await admit('lan-0', null)
  for (let i = 0; i <= ABSENCES.most; i++) admissions.neverCame([{ peer: 'silent', host: '' }])
  // BUSY does not end the search of a peer for good.
  await expect(admit('silent', null)).rejects.toMatchObject({ code: 'BUSY' })
  await admit('other', null)
})

test('a member that moves all the time is heard once in a while', async () => {
  const { admissions, tick, members } = createAdmissions()
  const { session } = members[1]!
  const move = (place: string) =>
    admissions.moved('peer-1', { run: 'run', session, addresses: [place] })
  move('/a')
  admissions.hasMoved(admissions.takeMoves(10))
  move('/b')
  expect(admissions.takeMoves(10)).toEqual([])
  await tick(TIMEOUTS.movePauseMs)
  move('/b')
  expect(admissions.takeMoves(10)).toMatchObject([{ addresses: ['/b'] }])
})
