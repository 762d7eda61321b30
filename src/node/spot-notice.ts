/**
 * Hears from the cloud that this machine will be taken back: one interface over the metadata services of AWS, Google
 * and Azure, which answer on an address of the machine itself. Nothing is asked unless the user names a provider.
 */
import { z } from 'zod'
import { type Clock, withDeadline } from '../../protocols/clock.ts'
import { InputError } from '../base/errors.ts'

export type SpotProvider = 'aws' | 'gcp' | 'azure'

export interface SpotNotice {
  readonly provider: SpotProvider
  /** `reclaim`: the machine ends. `rebalance`: it is likely to, and nobody has said when. */
  readonly kind: 'reclaim' | 'rebalance'
  /** The least time that the provider promises until the machine ends, milliseconds; null if it promises none. */
  readonly noticeMs: number | null
  /** What the provider said, for people. */
  readonly detail: string
}

export interface SpotNoticeOptions {
  readonly clock: Clock
  readonly fetch: typeof fetch
  /** `auto` asks each in turn which it is. */
  readonly provider: SpotProvider | 'auto'
  readonly signal: AbortSignal
  /** Where the metadata service answers. @default the provider's own address */
  readonly baseUrl?: string | undefined
}

/** An answer in whole. */
interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

/** @throws whatever fetch does, or a ProtocolError TIMEOUT */
type Ask = (path: string, init?: RequestInit & { timeoutMs?: number }) => Promise<Answer>

interface Provider {
  /** Between two questions. */
  readonly pollMs: number
  /** What tells that this service is the provider's; gives the watch over it, null if it is another's. */
  open(ask: Ask): Promise<Watch | null>
}

/** One question, or several: the notice if there is one. */
type Watch = () => Promise<Omit<SpotNotice, 'provider'> | null>

/** Of all three. */
const ADDRESS = 'http://169.254.169.254'
/** The service is on this very machine: one that does not answer by then is not there. */
const REQUEST_MS = 10_000

const awsAction = z.object({ action: z.string(), time: z.string() })
const azureEvents = z.object({
  Events: z.array(
    z.object({ EventType: z.string(), Resources: z.array(z.string()), NotBefore: z.string() }),
  ),
})

/** Two minutes' notice, and a hint before it (instance metadata service version 2). */
const aws: Provider = {
  pollMs: 5_000,
  async open(ask) {
    /** Seconds that a token lasts: it is asked for anew with each look, which costs less than to keep track of it. */
    const headers = { 'X-aws-ec2-metadata-token-ttl-seconds': '60' }
    const newToken = () => ask('/latest/api/token', { method: 'PUT', headers })
    if ((await newToken()).status !== 200) return null
    return async () => {
      const { text: token } = await newToken()
      const look = (path: string) =>
        ask(`/latest/meta-data/${path}`, { headers: { 'X-aws-ec2-metadata-token': token } })
      const action = await look('spot/instance-action')
      if (action.status === 200) {
        const { action: what, time } = awsAction.parse(JSON.parse(action.text))
        return { kind: 'reclaim', noticeMs: 120_000, detail: `AWS: ${what} at ${time}` }
      }
      const rebalance = await look('events/recommendations/rebalance')
      if (rebalance.status !== 200) return null
      return { kind: 'rebalance', noticeMs: null, detail: `AWS recommends to rebalance` }
    }
  },
}

/** Half a minute's notice; a question waits for the change. */
const gcp: Provider = {
  pollMs: 1_000,
  async open(ask) {
    const headers = { 'Metadata-Flavor': 'Google' }
    const path = '/computeMetadata/v1/instance/preempted'
    const first = await ask(path, { headers })
    if (first.headers.get('Metadata-Flavor') !== 'Google') return null
    let known = first
    const waitSeconds = 60
    return async () => {
      // Without its mark a change between two questions would be slept through.
      const mark = encodeURIComponent(known.headers.get('ETag') ?? '0')
      if (known.text.trim() !== 'TRUE') {
        known = await ask(
          `${path}?wait_for_change=true&timeout_sec=${waitSeconds}&last_etag=${mark}`,
          { headers, timeoutMs: waitSeconds * 1000 + REQUEST_MS },
        )
      }
      if (known.status !== 200 || known.text.trim() !== 'TRUE') return null
      return { kind: 'reclaim', noticeMs: 30_000, detail: 'Google Cloud preempts this machine' }
    }
  },
}

/** What ends a machine, among the scheduled events; the others pass. */
const AZURE_ENDS = ['Preempt', 'Terminate']

/** Half a minute's notice; the events are those of a whole set of machines, told apart by their names. */
const azure: Provider = {
  pollMs: 1_000,
  async open(ask) {
    const headers = { Metadata: 'true' }
    const name = await ask('/metadata/instance/compute/name?api-version=2021-02-01&format=text', {
      headers,
    })
    if (name.status !== 200) return null
    return async () => {
      const { status, text } = await ask('/metadata/scheduledevents?api-version=2020-07-01', {
        headers,
      })
      if (status !== 200) return null
      const { Events } = azureEvents.parse(JSON.parse(text))
      const own = Events.find(
        ({ EventType, Resources }) =>
          AZURE_ENDS.includes(EventType) && Resources.includes(name.text.trim()),
      )
      if (own === undefined) return null
      const { EventType, NotBefore } = own
      const detail = `Azure: ${EventType} not before ${NotBefore || 'now'}`
      return { kind: 'reclaim', noticeMs: 30_000, detail }
    }
  },
}

const PROVIDERS: Readonly<Record<SpotProvider, Provider>> = { aws, gcp, azure }

/** What `--spot` may name besides `auto`, and `off`, with which nobody calls this. */
export const SPOT_PROVIDERS = Object.keys(PROVIDERS) as SpotProvider[]

/**
 * Resolves with the first notice. A question that fails once the service was found is asked again: a busy service is
 * no notice.
 * @throws InputError if no service of the provider answers; the signal's reason
 */
export async function watchSpotNotice(options: SpotNoticeOptions): Promise<SpotNotice> {
  const { clock, signal } = options
  const { provider, watch } = await find(options)
  for (;;) {
    const notice = await watch().catch(() => null)
    signal.throwIfAborted()
    if (notice !== null) return { provider, ...notice }
    await clock.sleep(PROVIDERS[provider].pollMs, signal)
  }
}

async function find(options: SpotNoticeOptions): Promise<{ provider: SpotProvider; watch: Watch }> {
  const { provider: wanted, signal, baseUrl = ADDRESS } = options
  const reasons: string[] = []
  for (const provider of wanted === 'auto' ? SPOT_PROVIDERS : [wanted]) {
    try {
      const watch = await PROVIDERS[provider].open(asking(options))
      if (watch !== null) return { provider, watch }
      reasons.push(`what answers is not ${provider}'s`)
    } catch (error) {
      signal.throwIfAborted()
      reasons.push(`${provider}: ${reasonOf(error)}`)
    }
  }
  throw new InputError(
    `--spot ${wanted}: no metadata service at ${baseUrl} (${reasons.join('; ')}). Use --spot off outside a cloud.`,
  )
}

function asking({ clock, fetch, signal, baseUrl = ADDRESS }: SpotNoticeOptions): Ask {
  return (path, { timeoutMs = REQUEST_MS, ...init } = {}) =>
    withDeadline({ clock, timeoutMs, signal }, `the metadata service at ${path}`, async (over) => {
      const response = await fetch(`${baseUrl}${path}`, {
        ...init,
        redirect: 'error',
        signal: over,
      })
      const { status, headers } = response
      return { status, headers, text: await response.text() }
    })
}

/** Fetch says no more than that it failed; its cause says why. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as Error
  return cause instanceof Error ? cause.message : message
}
