/**
 * A store in a bucket of S3, or of another service with its HTTP protocol. An object appears whole or not at all. That is
 * enough for a checkpoint, because its manifest is written last.
 */
import { AwsClient } from 'aws4fetch'
import { type Clock, withDeadline } from '../../protocols/clock.ts'
import { sha256 } from '../../protocols/weights.ts'
import { InputError } from '../base/errors.ts'
import { STORE_ATTEMPTS, TIMEOUTS } from '../base/limits.ts'
import { CheckpointError } from './error.ts'
import type { Store, StoredFile } from './store.ts'

export interface S3Options {
  readonly bucket: string
  /** Prefix of every name; empty, or ending in `/`. */
  readonly prefix: string
  readonly region: string
  /** Null for Amazon's endpoint. */
  readonly endpoint: string | null
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
}

/** Characters of an unexpected answer that an error message quotes. */
const EXCERPT_LENGTH = 300

export class S3Store implements Store {
  readonly location: string
  readonly #client: AwsClient
  readonly #base: string
  readonly #prefix: string
  readonly #clock: Clock

  constructor({ bucket, prefix, endpoint, ...credentials }: S3Options, clock: Clock) {
    const { region, accessKeyId, secretAccessKey, sessionToken } = credentials
    this.location = `s3://${bucket}/${prefix}`
    this.#base =
      endpoint === null
        ? `https://${bucket}.s3.${region}.amazonaws.com`
        : `${endpoint.replace(/\/+$/, '')}/${bucket}`
    this.#prefix = prefix
    this.#clock = clock
    this.#client = new AwsClient({
      service: 's3',
      region,
      accessKeyId,
      secretAccessKey,
      ...(sessionToken === undefined ? {} : { sessionToken }),
    })
  }

  async list(prefix: string): Promise<StoredFile[]> {
    const files: StoredFile[] = []
    let token: string | undefined
    do {
      const query = new URLSearchParams({
        'list-type': '2',
        'encoding-type': 'url',
        prefix: this.#prefix + prefix,
        ...(token === undefined ? {} : { 'continuation-token': token }),
      })
      const { body } = await this.#request('GET', `?${query}`, [200])
      const xml = new TextDecoder().decode(body)
      for (const [, entry] of xml.matchAll(/<Contents>(.*?)<\/Contents>/gs)) {
        const key = decodeURIComponent(textOf(entry!, 'Key')!.replaceAll('+', ' '))
        files.push({ name: key.slice(this.#prefix.length), bytes: Number(textOf(entry!, 'Size')) })
      }
      token = textOf(xml, 'NextContinuationToken')
    } while (token !== undefined)
    return files
  }

  async read(name: string, offset: number, into: Uint8Array): Promise<void> {
    const range = `bytes=${offset}-${offset + into.length - 1}`
    const { status, body } = await this.#request('GET', this.#path(name), [206, 404, 416], {
      headers: { range },
    })
    if (status === 404) throw new CheckpointError(`${name} is missing`)
    const length = status === 416 ? 0 : body.length
    if (length !== into.length) throw new CheckpointError(`${name} ends at byte ${offset + length}`)
    into.set(body)
  }

  async write(name: string, content: readonly Uint8Array[]): Promise<void> {
    const body = Buffer.concat(content)
    // The server compares the body with this digest.
    const digest = sha256(body)
    await this.#request('PUT', this.#path(name), [200], {
      body,
      headers: { 'x-amz-content-sha256': digest },
    })
  }

  async remove(name: string): Promise<void> {
    await this.#request('DELETE', this.#path(name), [200, 204, 404])
  }

  #path(name: string): string {
    return (this.#prefix + name).split('/').map(encodeURIComponent).join('/')
  }

  async #request(
    method: string,
    path: string,
    expected: readonly number[],
    init: { body?: Uint8Array<ArrayBuffer>; headers?: Record<string, string> } = {},
  ): Promise<{ status: number; body: Uint8Array }> {
    const url = `${this.#base}/${path}`
    const what = `${method} ${url}`
    for (let attempt = 1; ; attempt++) {
      const last = attempt === STORE_ATTEMPTS
      const answer = await this.#attempt(what, url, { method, ...init }).catch((error: unknown) => {
        if (last) {
          throw new Error(`${this.location} cannot be reached: ${what}: ${reasonOf(error)}`, {
            cause: error,
          })
        }
        return null
      })
      if (answer !== null && expected.includes(answer.status)) return answer
      const passing = answer === null || answer.status >= 500 || answer.status === 429
      if (!passing || last) throw refusal(this.location, what, answer!)
      await this.#clock.sleep(TIMEOUTS.storeRetryMs * 2 ** (attempt - 1))
    }
  }

  #attempt(what: string, url: string, init: RequestInit) {
    return withDeadline(
      { clock: this.#clock, timeoutMs: TIMEOUTS.storeMs },
      what,
      async (signal) => {
        const request = await this.#client.sign(url, init)
        const response = await fetch(request, { signal, redirect: 'error' })
        return { status: response.status, body: new Uint8Array(await response.arrayBuffer()) }
      },
    )
  }
}

function refusal(
  location: string,
  what: string,
  { status, body }: { status: number; body: Uint8Array },
): Error {
  const text = new TextDecoder().decode(body).slice(0, EXCERPT_LENGTH)
  const message = `${location}: ${what} was answered ${status}: ${text || 'nothing'}`
  if (status !== 403 && status !== 401 && status !== 404) return new Error(message)
  return new InputError(
    `${message}. Check the bucket, and AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and ` +
      'AWS_ENDPOINT_URL.',
  )
}

function reasonOf(error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error ? `${message}: ${cause.message}` : message
}

function textOf(xml: string, tag: string): string | undefined {
  return new RegExp(`<${tag}>(.*?)</${tag}>`, 's').exec(xml)?.[1]
}
