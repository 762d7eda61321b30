/** Calls whose thread ends. */
import { Worker } from 'node:worker_threads'
import { expect, it } from 'vitest'
import { StageGoneError } from '../../stages/stage-calls.ts'
import { StageThread } from '../../stages/stage-thread.ts'

/** A thread that runs this code instead of a stage. `port` is its end of the channel. */
function threadOf(code: string): StageThread {
  const prelude = "const { parentPort: port } = require('node:worker_threads');"
  return new StageThread(new Worker(prelude + code, { eval: true }), 4)
}

it('rejects pending and later calls when the thread crashes', async () => {
  const thread = threadOf("port.once('message', () => { throw new Error('out of luck') })")
  const calls = [thread.ready, thread.call('forward', []), thread.call('backward', [])]
  for (const result of await Promise.allSettled(calls)) {
    expect(result).toMatchObject({
      reason: { name: 'StageGoneError', message: 'the thread of stage 4 died: out of luck' },
    })
  }
  await expect(thread.call('forward', [])).rejects.toThrow(StageGoneError)
  await thread.close()
})

it('rejects pending calls when the thread ends without an error', async () => {
  const thread = threadOf("port.once('message', () => process.exit(3))")
  const calls = [thread.ready, thread.call('forward', [])]
  for (const result of await Promise.allSettled(calls)) {
    expect(result).toMatchObject({
      reason: { message: 'the thread of stage 4 ended with code 3' },
    })
  }
})

it('passes errors of calls on, and serves later calls', async () => {
  const thread = threadOf(`
    port.postMessage({ id: 0, result: 'here' })
    port.on('message', ({ id, method }) => {
      if (method === 'fail') port.postMessage({ id, error: new RangeError('no such token') })
      else port.postMessage({ id, result: method })
      if (method === 'close') port.close()
    })`)
  expect(await thread.ready).toBe('here')
  await expect(thread.call('fail', [])).rejects.toThrow(new RangeError('no such token'))
  expect(await thread.call('forward', [])).toBe('forward')
  await thread.close()
})

it('fails the calls of a thread that was given up, and does not wait for its end', async () => {
  const thread = threadOf(
    "port.postMessage({ id: 0, result: 'here' }); port.once('message', () => { for (;;) {} })",
  )
  expect(await thread.ready).toBe('here')
  const hanging = thread.call('update', [])
  thread.giveUp('the thread of stage 4 hangs')
  await expect(hanging).rejects.toThrow(new StageGoneError('the thread of stage 4 hangs'))
  await expect(thread.call('forward', [])).rejects.toThrow(StageGoneError)
  await thread.close()
})
