/**
 * A fake S3 server on loopback. It checks each signature with an independent implementation of Signature Version 4, keeps
 * objects in memory, and fails when a test asks for it.
 */
import { createHash, createHmac } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export const CREDENTIALS = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
}

/** Largest number of keys in one answer to a list request. */
const PAGE = 3

export interface Signed {
  readonly method: string
  /** Path in the request line, before the `?`. */
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: Readonly<Record<string, string>>
}

/** Expected signature of a request, from the definition in Amazon's documentation. */
export function signatureOf(
  { method, path, query, headers }: Signed,
  signedHeaders: string,
  scope: string,
): string {
  const quoted = (text: string) =>
    encodeURIComponent(text).replace(
      /[!'()*]/g,
      (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
    )
  const canonical = [
    method,
    path
      .split('/')
      .map((folder) => quoted(decodeURIComponent(folder)))
      .join('/'),
    [...query]
      .map(([name, value]) => `${quoted(name)}=${quoted(value)}`)
      .sort()
      .join('&'),
    ...signedHeaders.split(';').map((name) => `${name}:${headers[name]!.trim()}`),
    '',
    signedHeaders,
    headers['x-amz-content-sha256'],
  ].join('\n')
  const hex = (text: string) => createHash('sha256').update(text).digest('hex')
  const text = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, hex(canonical)].join('\n')
  const hmac = (key: string | Buffer, data: string) =>
    createHmac('sha256', key).update(data).digest()
  const key = scope.split('/').reduce<string | Buffer>(hmac, `AWS4${CREDENTIALS.secretAccessKey}`)
  return hmac(key, text).toString('hex')
}

export class FakeS3 {
  readonly objects = new Map<string, Buffer>()
  /** Statuses of the next answers, in place of the correct ones; 0 breaks the connection. */
  readonly failures: number[] = []
  /** Number of body bytes sent in answers to reads. */
  sent = 0
  requests = 0
  readonly #server = createServer((request, response) => void this.#answer(request, response))

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  close(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests++
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const body = Buffer.concat(parts)
    const failure = this.failures.shift()
    if (failure === 0) return void request.socket.destroy()
    const end = (status: number, content: Buffer | string = '') => {
      response.writeHead(status)
      response.end(content)
    }
    if (failure !== undefined) return end(failure, '<Code>SlowDown</Code>')
    const [path, search] = request.url!.split('?') as [string, string | undefined]
    const query = new URLSearchParams(search)
    if (!this.#isSigned(request, path, query)) return end(403, '<Code>SignatureDoesNotMatch</Code>')
    const [, bucket, ...rest] = path.split('/').map(decodeURIComponent)
    const key = rest.join('/')
    if (bucket !== 'models') return end(404, '<Code>NoSuchBucket</Code>')
    if (request.method === 'PUT') {
      const digest = createHash('sha256').update(body).digest('hex')
      if (request.headers['x-amz-content-sha256'] !== digest) return end(400, 'digest')
      this.objects.set(key, body)
      return end(200)
    }
    if (request.method === 'DELETE') {
      this.objects.delete(key)
      return end(204)
    }
    if (query.has('list-type')) return end(200, this.#list(query))
    const object = this.objects.get(key)
    if (object === undefined) return end(404, '<Code>NoSuchKey</Code>')
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')!
    if (Number(first) >= object.length) return end(416)
    const content = object.subarray(Number(first), Number(last) + 1)
    this.sent += content.length
    return end(206, content)
  }

  #isSigned({ method, headers }: IncomingMessage, path: string, query: URLSearchParams): boolean {
    const pattern =
      /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\S+), SignedHeaders=(\S+), Signature=(\S+)$/
    const [, id, scope, signedHeaders, signature] = pattern.exec(headers.authorization ?? '') ?? []
    if (id !== CREDENTIALS.accessKeyId) return false
    const request = { method: method!, path, query, headers: headers as Record<string, string> }
    return signature === signatureOf(request, signedHeaders!, scope!)
  }

  #list(query: URLSearchParams): string {
    const after = query.get('continuation-token') ?? ''
    const keys = [...this.objects.keys()]
      .filter((key) => key.startsWith(query.get('prefix')!) && key > after)
      .sort()
    const page = keys.slice(0, PAGE)
    const contents = page.map(
      (key) =>
        `<Contents><Key>${encodeURIComponent(key)}</Key><Size>${this.objects.get(key)!.length}</Size></Contents>`,
    )
    const more = keys.length > PAGE
    const next = more ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : ''
    return `<?xml version="1.0"?><ListBucketResult>${contents.join('')}<IsTruncated>${more}</IsTruncated>${next}</ListBucketResult>`
  }
}
