/**
 * The keys that let a peer into the network of a run. Both come from the manifest and the run's secret, so that a peer
 * without them completes no handshake and recognizes no name. The run's id is in journals and on terminals, so it is not
 * enough.
 */
import { hkdfSync, randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, parse, resolve } from 'node:path'
import { sha256 } from '../../protocols/weights.ts'
import { InputError, systemCode } from '../base/errors.ts'
import { canonical, type Run, writeOut } from './run.ts'

export interface Door {
  /** Prologue of every Noise handshake, 32 bytes. A handshake fails if the prologues of its two sides differ. */
  readonly prologue: Uint8Array
  /** Name of the run's group in multicast DNS, which strangers see: 40 hexadecimal digits. */
  readonly group: string
}

const KEY_BYTES = 32
const GROUP_BYTES = 20
const SECRET_BYTES = 32
const SECRET_PATTERN = /^[A-Za-z0-9_-]{43}$/

/**
 * The door of a run and of its successors. A successor has fewer stages and another policy of recovery, so that these
 * settings have no part in the keys.
 * @param secret the run's secret; null for a run without one
 */
export function doorOf(run: Run, secret: string | null): Door {
  const { stages: _, recovery: __, ...lasting } = run
  const material = `${canonical(lasting)}\n${secret ?? ''}`
  const key = (use: string, bytes: number) =>
    new Uint8Array(hkdfSync('sha256', material, '', `gensyn-node ${use} 1`, bytes))
  return {
    prologue: key('handshake', KEY_BYTES),
    group: Buffer.from(key('mdns', GROUP_BYTES)).toString('hex'),
  }
}

/** Draws a new secret: 256 bits, as 43 characters of base64url. */
export function newSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url')
}

/** What the manifest says about the secret: its SHA-256. 256 drawn bits cannot be found from it. */
export function digestOfSecret(secret: string): string {
  return sha256(`gensyn-node secret ${secret}`)
}

/** Path of the secret of a manifest: `run.secret` beside `run.json`. */
export function secretPathOf(runPath: string): string {
  return join(dirname(resolve(runPath)), `${parse(runPath).name}.secret`)
}

/** Writes a secret that only its owner can read. @throws InputError if the file exists and `force` is not set */
export function writeSecret(path: string, secret: string, { force }: { force: boolean }): void {
  writeOut(path, `${secret}\n`, { force, mode: 0o600 })
}

/**
 * Opens the door of the run with its secret.
 * @param runPath path of the manifest, for messages and for the secret beside it
 * @param secretFile file with the secret; undefined for the file beside the manifest
 * @throws InputError if the secret is missing or is not that of the run
 */
export function openDoor(run: Run, runPath: string, secretFile: string | undefined): Door {
  return doorOf(run, readSecretOf(run, runPath, secretFile))
}

/** The secret of the run; null for a run without one. Parameters and errors are those of `openDoor`. */
export function readSecretOf(
  run: Run,
  runPath: string,
  secretFile: string | undefined,
): string | null {
  if (run.secret === null) {
    if (secretFile === undefined) return null
    throw new InputError(
      `--secret-file ${secretFile}: ${runPath} is of a run without a secret. Leave the option out, or take the right manifest.`,
    )
  }
  const path = secretFile ?? secretPathOf(runPath)
  const secret = readSecret(path, runPath)
  if (digestOfSecret(secret) !== run.secret) {
    throw new InputError(
      `${path} is not the secret of ${runPath}. Take both files from the same place.`,
    )
  }
  return secret
}

function readSecret(path: string, runPath: string): string {
  if (!existsSync(path)) {
    throw new InputError(
      `${runPath} is of a run with a secret, and ${path} does not exist. Get it from the person who made the run, or name it by --secret-file.`,
    )
  }
  try {
    const secret = readFileSync(path, 'utf8').trim()
    if (SECRET_PATTERN.test(secret)) return secret
  } catch (error) {
    throw new InputError(`${path} cannot be read (${systemCode(error)}): make it readable.`)
  }
  throw new InputError(
    `${path} is not a secret: one is 43 letters and digits, as \`gensyn-node init --secret\` writes it.`,
  )
}
