/** A node keeps its identity between starts, and only its owner can read the key. */
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import { expect, test } from 'vitest'
import { IdentityError, loadOrCreateIdentity } from '../../protocols/identity.ts'
import { temporaryFolder } from '../fixtures/folder.ts'
import { createPeer } from './libp2p-fixture.ts'

test('is created once, readable by its owner alone, with no other file', async () => {
  const folder = temporaryFolder()
  const path = join(folder, 'identity')
  const made = await loadOrCreateIdentity(path)
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  expect(await readdir(folder)).toEqual(['identity'])
  expect(Buffer.from(await loadOrCreateIdentity(path)).equals(made)).toBe(true)
})

test('is the id of a peer', async () => {
  const path = join(temporaryFolder(), 'identity')
  const names: string[] = []
  for (let start = 0; start < 2; start++) {
    const peer = await createPeer({ identity: await loadOrCreateIdentity(path) })
    names.push(peer.self)
    await peer.stop()
  }
  const another = await createPeer()
  expect(names[1]).toBe(names[0])
  expect(another.self).not.toBe(names[0])
  await another.stop()
})

test('is not replaced when its file is damaged: the error names the file', async () => {
  const path = join(temporaryFolder(), 'identity')
  const whole = await loadOrCreateIdentity(path)
  const flipped = whole.slice()
  flipped[20]! ^= 1
  const otherKind = privateKeyToProtobuf(await generateKeyPair('secp256k1'))
  for (const damaged of [flipped, whole.subarray(0, -1), new Uint8Array(0), otherKind]) {
    await writeFile(path, damaged)
    const error = await loadOrCreateIdentity(path).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(IdentityError)
    expect((error as Error).message).toContain(path)
    expect(Buffer.compare(await readFile(path), damaged)).toBe(0)
  }
})

test('fails where it cannot be written', async () => {
  const path = join(temporaryFolder(), 'missing', 'identity')
  await expect(loadOrCreateIdentity(path)).rejects.toMatchObject({ code: 'ENOENT' })
})
