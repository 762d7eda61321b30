/** The coordinator monitor: which messages are signs of life of the coordinator. */
import { expect, test, vi } from 'vitest'
import type { Json, Network } from '../../../protocols/network.ts'
import { CoordinatorMonitor } from '../../../src/membership/coordinator-monitor.ts'
import { foundingRoster } from '../../../src/membership/roster.ts'

const founder = { peer: 'founder', session: 1, addresses: [], domain: '', host: '' }
const self = {
  peer: 'me',
  session: 1,
  addresses: [],
  domain: '',
  host: '',
  id: 1,
  stage: null,
  ready: false,
}
const roster = { ...foundingRoster(founder), nextId: 2 }
const members = [...roster.members, self]

test('a coordinator whose connection broke is suspect until it answers, even if its earlier messages arrive', async () => {
  let lose = (_: string) => {}
  let answer: () => Promise<{ header: Json }> = () => Promise.reject(new Error('refused'))
  const network = {
    self: 'me',
    call: () => answer(),
    onLost: (listener: (peer: string) => void) => {
      lose = listener
      return () => {}
    },
  } as unknown as Network
  const ticks: (() => void)[] = []
  const clock = {
    now: () => 0,
    sleep: (ms: number) =>
      new Promise<void>((resolve) => (ms > 0 ? ticks.push(resolve) : resolve())),
  }
  const over = new AbortController()
  const tryToTakeOver = vi.fn(async () => {})
  const watch = new CoordinatorMonitor({
    network,
    clock,
    runId: 'r',
    signal: over.signal,
    roster: () => ({ ...roster, members }),
    own: () => self,
    deposed: () => false,
    dropped: () => {},
    tryToTakeOver,
  })
  void watch.run()
  expect(watch.hearsCoordinator).toBe(true)
  lose('founder')
  watch.heard()
  expect(watch.hearsCoordinator).toBe(false)
  await vi.waitFor(() => expect(tryToTakeOver).toHaveBeenCalled())
  expect(watch.hearsCoordinator).toBe(false)

  answer = async () => ({ header: { epoch: 0, session: 1, queuedWork: 0, workingMs: 0 } })
  for (const tick of ticks.splice(0)) tick()
  await vi.waitFor(() => expect(watch.hearsCoordinator).toBe(true))
})
