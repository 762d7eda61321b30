/** Identity of a node: an Ed25519 private key in a file that only its owner can read. */
import { randomUUID } from 'node:crypto'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'

const OWNER_ONLY = 0o600

export class IdentityError extends Error {
  override readonly name = 'IdentityError'
  readonly path: string

  constructor(path: string, what: string, options?: ErrorOptions) {
    super(`${path} ${what}: restore it, or delete it to become a new peer`, options)
    this.path = path
  }
}

/**
 * Reads the private key from a file. A missing file is created with a new key.
 * @throws IdentityError if the file holds something else, so that a node never changes its identity by accident
 */
export async function loadOrCreateIdentity(path: string): Promise<Uint8Array> {
  const known = await read(path)
  if (known === undefined) return await create(path)
  await check(path, known)
  return known
}

async function read(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Signs and verifies once. A key whose public half does not match its private half decodes without an error. */
async function check(path: string, bytes: Uint8Array): Promise<void> {
  const probe = new Uint8Array(32)
  let works: boolean
  try {
    const key = privateKeyFromProtobuf(bytes)
    works = key.type === 'Ed25519' && (await key.publicKey.verify(probe, await key.sign(probe)))
  } catch (cause) {
    throw new IdentityError(path, 'is not a private key', { cause })
  }
  if (!works) throw new IdentityError(path, 'is not a whole Ed25519 key')
}

/** Writes a new key to a temporary file and renames the file, so that a crash leaves either a whole key or none. */
async function create(path: string): Promise<Uint8Array> {
  const bytes = privateKeyToProtobuf(await generateKeyPair('Ed25519'))
  const draft = `${path}.${randomUUID()}`
  try {
    const file = await open(draft, 'wx', OWNER_ONLY)
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(draft, path)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
  await syncDirectory(dirname(path))
  return bytes
}

/** Flushes a directory. A rename may be lost in a power failure otherwise. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
