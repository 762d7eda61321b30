/** A new replica of a stage gets the state while the other holders train, and ends with the same bits. */
import { expect, test } from 'vitest'
import { entriesOf, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STEPS = 16

test('a joiner learns a stage while steps are made, and then has a part in them', async () => {
  // Activations are small and stages are large, as in real models.
  const run = tinyRun({ steps: STEPS, spares: 0, microbatch: { batch: 1, context: 4 } })
  // The link is slow, so that the state of a stage takes longer than a step.
  const swarm = new TestSwarm(run, { link: { latencyMs: 20, bytesPerMs: 20 } })
  for (let i = 1; i <= 5; i++) swarm.join(`peer-${i}`)
  let joined = false
  swarm.onEntry((entry) => {
    if (joined || entry.type !== 'step' || entry.step !== 3) return
    joined = true
    swarm.join('peer-6')
  })
  await swarm.world.run(swarm.peers.get('peer-1')!.finished, { waitingFor: 'the end' })
  await swarm.end()

  const [held] = entriesOf(swarm.entries, 'held').filter(({ cause }) => cause === 'replica')
  // Among equal stages the ends are the weakest, since only a copy can recover them.
  expect(held).toMatchObject({ by: 'peer-6', stage: 0, strategy: 'replica' })
  expect(entriesOf(swarm.entries, 'aborted')).toEqual([])
  const steps = entriesOf(swarm.entries, 'step')
  expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1))

  // Steps were made during the fetch. They took longer, because the virtual uplink is one queue, but no step waited for
  // the fetch.
  const began = entriesOf(swarm.entries, 'roster').find(({ roster }) =>
    roster.members.some(({ ready }) => !ready),
  )!
  const meanwhile = steps.filter(({ at }) => at > began.at && at <= held!.at)
  expect(meanwhile.length).toBeGreaterThanOrEqual(1)
  const of = (peer: string) =>
    swarm.saved.find((saved) => saved.peer === peer && saved.stage === 0)!
  expect(
    Buffer.from(of('peer-6').weights.buffer).equals(Buffer.from(of('peer-1').weights.buffer)),
  ).toBe(true)
  const applied = entriesOf(swarm.entries, 'committed').filter(({ peer }) => peer === 'peer-6')
  expect(applied.length).toBeGreaterThan(0)
})
