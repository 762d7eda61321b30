/**
 * An invitation: one line of text with all that a peer needs to enter a run. It has the manifest, the run's secret if there
 * is one, and addresses of peers. Who has the line has the secret.
 */

import { existsSync } from 'node:fs'
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { z } from 'zod'
import { isAddress } from '../../protocols/address.ts'
import { InputError } from '../base/errors.ts'
import { digestOfSecret, secretPathOf, writeSecret } from './door.ts'
import { parseRun, type Run, readRun, runId, writeRun } from './run.ts'
import { runSchema } from './run-schema.ts'

export interface Invitation {
  readonly run: Run
  /** Null for a run without a secret. */
  readonly secret: string | null
  /** Addresses of peers of the run, the first of which is asked first. */
  readonly addresses: readonly string[]
}

/** Begins each invitation. The number is the version of the form. */
const PREFIX = 'gensyn1.'
/** A manifest is a page of text. A longer one is not read. */
const TEXT_BYTES = 64 * 1024
const ADDRESSES = 8
const ID_DIGITS = 16

const contents = z.strictObject({
  /** The manifest without the settings that have their defaults. */
  run: z.record(z.string(), z.unknown()),
  /** First digits of the run's id. Defaults that differ between two versions make another run. */
  id: z.string().length(ID_DIGITS),
  secret: z.string().max(64).nullable(),
  addresses: z.array(z.string().max(256)).max(ADDRESSES),
})

/** Writes an invitation as one line without spaces. Takes the first 8 addresses. */
export function encodeInvitation({ run, secret, addresses }: Invitation): string {
  const about = { run: withoutDefaults(run), id: runId(run).slice(0, ID_DIGITS) }
  const text = JSON.stringify({ ...about, secret, addresses: addresses.slice(0, ADDRESSES) })
  return PREFIX + deflateRawSync(text, { level: 9 }).toString('base64url')
}

/** @throws InputError if the text is not a whole invitation of this version */
export function decodeInvitation(text: string): Invitation {
  if (!text.startsWith(PREFIX)) {
    throw new InputError(
      `${text.slice(0, 24)} is not an invitation: one begins with ${PREFIX} (\`gensyn-node invite\` prints one).`,
    )
  }
  const { run: manifest, id, secret, addresses } = parse(text)
  const run = parseRun(manifest, 'the manifest in the invitation')
  if (!runId(run).startsWith(id)) {
    throw new InputError(
      'The invitation was made by another version of gensyn-node, whose defaults differ. Use the same version, or copy run.json.',
    )
  }
  const isFit = run.secret === (secret === null ? null : digestOfSecret(secret))
  if (!isFit || !addresses.every(isAddress)) throw damaged()
  return { run, secret, addresses }
}

/** The manifest without each setting that the schema fills in with the same value. */
function withoutDefaults(run: Run): Record<string, unknown> {
  const short = structuredClone(run) as Record<string, unknown>
  const id = runId(run)
  const drop = (settings: Record<string, unknown>) => {
    for (const [name, value] of Object.entries(settings)) {
      delete settings[name]
      if (isManifestOf(short, id)) continue
      settings[name] = value
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
        drop(value as Record<string, unknown>)
      }
    }
  }
  drop(short)
  return short
}

function isManifestOf(manifest: unknown, id: string): boolean {
  const result = runSchema.safeParse(manifest)
  return result.success && runId(result.data) === id
}

function parse(text: string): z.infer<typeof contents> {
  try {
    const bytes = Buffer.from(text.slice(PREFIX.length), 'base64url')
    const json = inflateRawSync(bytes, { maxOutputLength: TEXT_BYTES }).toString()
    return contents.parse(JSON.parse(json))
  } catch {
    throw damaged()
  }
}

function damaged(): InputError {
  return new InputError(
    'The invitation is damaged, or only a part of it. Copy the whole line again.',
  )
}

/** True for an address that only processes of the same machine reach. */
export function isLocal(address: string): boolean {
  return /^\/(ip4\/127\.|ip6\/::1\/)/.test(address)
}

/**
 * Writes the manifest and the secret of an invitation, unless the files of the same run are there.
 * @param path where the manifest goes; the secret goes beside it
 * @throws InputError if `path` has the manifest of another run, or cannot be written
 */
export function acceptInvitation({ run, secret }: Invitation, path: string): void {
  if (existsSync(path)) {
    if (runId(readRun(path)) !== runId(run)) {
      throw new InputError(
        `${path} is of another run than the invitation. Name another file by --run, or use another folder.`,
      )
    }
  } else {
    writeRun(path, run, { force: false })
  }
  const secretPath = secretPathOf(path)
  if (secret !== null && !existsSync(secretPath)) writeSecret(secretPath, secret, { force: false })
}
