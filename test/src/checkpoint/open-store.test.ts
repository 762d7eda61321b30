/** The store of a run's checkpoints: needed if the policy names checkpoint, and not shared with another run. */
import { expect, test } from 'vitest'
import { systemClock } from '../../../protocols/clock.ts'
import { DirectoryStore } from '../../../src/checkpoint/directory-store.ts'
import { openCheckpoints } from '../../../src/checkpoint/open-store.ts'
import { workFolder } from '../../fixtures/cli.ts'
import { RUN, saveSmallStep } from './small-step.ts'

const context = { clock: systemClock, env: {} }
const named = { ...RUN, recovery: { ...RUN.recovery, policy: ['checkpoint', 'copy'] } }
const plain = { ...RUN, recovery: { ...RUN.recovery, policy: ['copy'] } }

test('a store is required if the policy names checkpoint, and refused otherwise', async () => {
  await expect(openCheckpoints(named, undefined, context)).rejects.toThrow('--checkpoints')
  await expect(openCheckpoints(plain, 'x', context)).rejects.toThrow('does not name checkpoint')
  expect((await openCheckpoints(plain, undefined, context)).store).toBeNull()
  const folder = workFolder()
  expect((await openCheckpoints(named, folder, context)).store!.location).toBe(folder)
})

test('a store with the checkpoints of another run is refused, and the message names that run', async () => {
  const folder = workFolder()
  await saveSmallStep(new DirectoryStore(folder), 4, named)
  expect((await openCheckpoints(named, folder, context)).store!.location).toBe(folder)
  const other = { ...named, name: 'other' }
  await expect(openCheckpoints(other, folder, context)).rejects.toThrow('of another run')
})
