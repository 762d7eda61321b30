import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { MicrobatchHeader } from '../../../protocols/microbatch.ts'
import { Inbox, type Work } from '../../../src/holder/inbox.ts'
import { StepProgress } from '../../../src/holder/step-progress.ts'

const step = new StepProgress({ run: 'r', epoch: 0, step: 1 })

function work(kind: 'start' | 'forward' | 'backward', index: number): Work {
  const header = { index, direction: kind === 'backward' ? 'backward' : 'forward' }
  return {
    step,
    header: header as MicrobatchHeader,
    tensor: kind === 'start' ? null : new Float32Array(1),
  }
}

function nameOf({ header, tensor }: Work): string {
  return `${tensor === null ? 'start' : header.direction} ${header.index}`
}

test('backward work is taken before forward work, forward work before new work, and the oldest microbatch first', async () => {
  const kinds = ['backward', 'forward', 'start'] as const
  const expected = kinds.flatMap((kind) => [0, 1, 2, 3].map((index) => work(kind, index)))
  await fc.assert(
    fc.asyncProperty(
      fc.shuffledSubarray(expected, { minLength: expected.length }),
      async (shuffled) => {
        const inbox = new Inbox(100)
        for (const item of shuffled) inbox.put(item)
        const taken: string[] = []
        for (let i = 0; i < expected.length; i++) taken.push(nameOf(await inbox.take()))
        expect(taken).toEqual(expected.map(nameOf))
      },
    ),
  )
})

test('a waiting taker gets the next work at once', async () => {
  const inbox = new Inbox(1)
  const taken = inbox.take()
  inbox.put(work('forward', 7))
  expect(nameOf(await taken)).toBe('forward 7')
})

test('a full inbox refuses with BUSY, and keeps its content', async () => {
  const inbox = new Inbox(1)
  inbox.put(work('forward', 1))
  expect(() => inbox.put(work('backward', 0))).toThrow(expect.objectContaining({ code: 'BUSY' }))
  expect(nameOf(await inbox.take())).toBe('forward 1')
})

test('closing ends a pending take with the reason', async () => {
  const inbox = new Inbox(1)
  const taken = inbox.take()
  inbox.close(new Error('over'))
  await expect(taken).rejects.toThrow('over')
})
