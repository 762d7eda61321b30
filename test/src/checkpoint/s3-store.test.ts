/** The store in a bucket, with a server on loopback that checks the signature of every request. */
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { openStore } from '../../../src/checkpoint/open-store.ts'
import { latestComplete, retain } from '../../../src/checkpoint/steps.ts'
import type { Store } from '../../../src/checkpoint/store.ts'
import { CREDENTIALS, FakeS3, signatureOf } from './fake-s3.ts'
import { holdsSmallStep, saveSmallStep } from './small-step.ts'

/** A clock whose pauses end at once. */
const clock = {
  now: () => 0,
  sleep: (ms: number, signal?: AbortSignal) =>
    ms < 10_000
      ? Promise.resolve()
      : new Promise<void>((_, reject) =>
          signal?.addEventListener('abort', () => reject(signal.reason), { once: true }),
        ),
}

const env = {
  AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
  AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
  AWS_REGION: 'eu-central-1',
}

let server: FakeS3
let store: Store
let endpoint: string

beforeEach(async () => {
  server = new FakeS3()
  endpoint = await server.listen()
  onTestFinished(() => server.close())
  const context = { clock, env: { ...env, AWS_ENDPOINT_URL: endpoint } }
  store = openStore("s3://models/my run's (first)+/", context)
})

test("the server computes the signature of the example in Amazon's documentation", () => {
  const headers = {
    host: 'examplebucket.s3.amazonaws.com',
    range: 'bytes=0-9',
    'x-amz-content-sha256': 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    'x-amz-date': '20130524T000000Z',
  }
  const request = { method: 'GET', path: '/test.txt', query: new URLSearchParams(), headers }
  expect(
    signatureOf(request, Object.keys(headers).join(';'), '20130524/us-east-1/s3/aws4_request'),
  ).toBe('f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41')
})

test('a checkpoint is written and read again, in ranges of its boxes', async () => {
  await saveSmallStep(store, 1)
  await saveSmallStep(store, 2)
  const keys = [...server.objects.keys()]
  expect(keys.every((key) => key.startsWith("my run's (first)+/step-0000"))).toBe(true)
  const manifest = (await latestComplete(store, { depth: 'content' }))!
  expect(manifest.step).toBe(2)
  server.sent = 0
  expect(await holdsSmallStep(store, manifest)).toBe(true)
  const boxes = Object.values(manifest.tensors).flatMap(({ copies }) => copies[0]!.boxes)
  expect(server.sent).toBe(boxes.reduce((sum, { begin, end }) => sum + end - begin, 0))
  await retain(store, 1)
  expect([...server.objects.keys()].every((key) => key.includes('step-000000000002'))).toBe(true)
})

describe('when the server fails', () => {
  test('a temporary failure is tried again, and any other is reported', async () => {
    await store.write('step-1/a.bin', [Uint8Array.of(1, 2, 3)])
    server.failures.push(503, 0, 429)
    const into = new Uint8Array(2)
    await store.read('step-1/a.bin', 1, into)
    expect([...into]).toEqual([2, 3])
    server.failures.push(500, 502, 503, 504)
    await expect(store.list('')).rejects.toThrow(/was answered 504: <Code>SlowDown/)
    server.failures.push(0, 0, 0, 0)
    await expect(store.remove('step-1/a.bin')).rejects.toThrow(/cannot be reached: DELETE/)
    const before = server.requests
    server.failures.push(400)
    await expect(store.list('')).rejects.toThrow('400')
    expect(server.requests).toBe(before + 1)
  })

  test('a missing or short object counts as damage, and a refusal does not', async () => {
    await store.write('step-1/a.bin', [Uint8Array.of(1, 2, 3)])
    const damage = { name: 'CheckpointError' }
    await expect(store.read('step-1/b.bin', 0, new Uint8Array(1))).rejects.toMatchObject(damage)
    for (const offset of [2, 3]) {
      await expect(store.read('step-1/a.bin', offset, new Uint8Array(2))).rejects.toMatchObject({
        ...damage,
        message: 'step-1/a.bin ends at byte 3',
      })
    }
    const secret = { AWS_SECRET_ACCESS_KEY: 'another', AWS_ENDPOINT_URL: endpoint }
    const stranger = openStore('s3://models', { clock, env: { ...env, ...secret } })
    await expect(stranger.list('')).rejects.toMatchObject({ name: 'InputError' })
    await expect(latestComplete(stranger, { depth: 'lengths' })).rejects.toThrow(
      /SignatureDoesNotMatch.*Check the bucket/s,
    )
  })
})

test('an address without a bucket and missing credentials are refused by name', () => {
  expect(() => openStore('s3://', { clock, env })).toThrow('write s3://BUCKET/PREFIX')
  const { AWS_SECRET_ACCESS_KEY: _, ...partly } = env
  expect(() => openStore('s3://models', { clock, env: partly })).toThrow(
    's3://models needs AWS_SECRET_ACCESS_KEY in the environment',
  )
})
