/**
 * Watches for a cloud's notice that it takes this machine back. It is one interface over the metadata services of AWS,
 * Google and Azure, which answer on a link-local address. No service is asked unless the user names a provider.
 */
import { z } from 'zod'
import { type Clock, withDeadline } from '../../protocols/clock.ts'
import { InputError } from '../base/errors.ts'

/** Cloud whose metadata service is watched. */
export type SpotProvider = 'aws' | 'gcp' | 'azure'

/** The announcement of a cloud that this machine ends. */
export interface SpotNotice {
  readonly provider: SpotProvider
  /** `reclaim`: the machine ends. `rebalance`: the machine is likely to end, at an unknown time. */
  readonly kind: 'reclaim' | 'rebalance'
  /** Shortest time that the provider promises until the machine ends, in milliseconds; null if it promises none. */
  readonly noticeMs: number | null
  /** The provider's announcement, for people. */
  readonly detail: string
}

export interface SpotNoticeOptions {
  readonly clock: Clock
  readonly fetch: typeof fetch
  /** `auto` tries each provider in turn. */
  readonly provider: SpotProvider | 'auto'
  readonly signal: AbortSignal
  /** URL of the metadata service. @default the providers' common address */
  readonly baseUrl?: string | undefined
}

/** A complete HTTP answer. */
interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

/** Asks the metadata service. @throws the error of `fetch`, or a ProtocolError TIMEOUT */
type Ask = (path: string, init?: RequestInit & { timeoutMs?: number }) => Promise<Answer>

interface Provider {
  /** Pause between two questions, in milliseconds. */
  readonly pollMs: number
  /** Finds out whether the service belongs to this provider. Gives a watch on it, or null. */
  open(ask: Ask): Promise<Watch | null>
}

/** Asks the service once. Gives the notice, or null if there is none. */
type Watch = () => Promise<Omit<SpotNotice, 'provider'> | null>

/** Address of the metadata service in all three clouds. */
const ADDRESS = 'http://169.254.169.254'
/** Deadline for an answer, in milliseconds. */
const REQUEST_MS = 10_000

const awsAction = z.object({ action: z.string(), time: z.string() })
const azureEvents = z.object({
  Events: z.array(
    z.object({ EventType: z.string(), Resources: z.array(z.string()), NotBefore: z.string() }),
  ),
})

/** AWS gives two minutes' notice, and a recommendation before it (instance metadata service version 2). */
const aws: Provider = {
  pollMs: 5_000,
  async open(ask) {
    // A token is valid for 60 seconds. A new token for each question is simpler than tracking the old one's age.
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

/** Google gives 30 seconds' notice. A question waits until the value changes. */
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
      // The ETag of the last answer makes the service report a change between two questions at once.
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

/** Scheduled events of Azure that end a machine. */
const AZURE_ENDS = ['Preempt', 'Terminate']

/** Azure gives 30 seconds' notice. It lists the events of a whole set of machines, each with its machines' names. */
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

/** Values of `--spot` beside `auto` and `off`. */
export const SPOT_PROVIDERS = Object.keys(PROVIDERS) as SpotProvider[]

/**
 * Resolves with the first notice. After the service was found, a failed question is asked again, since a busy service
 * is not a notice.
 * @throws InputError if no service of the provider answers
 * @throws the signal's reason if the signal aborts
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
      reasons.push(`the service that answers is not ${provider}'s`)
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

/** Message of a failed fetch. The cause of the error contains the reason. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as Error
  return cause instanceof Error ? cause.message : message
}
