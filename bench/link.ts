/**
 * Cost of a call over libp2p on loopback, beside the same frames over a plain socket and over TLS 1.3. Two processes alternate
 * between the three in one run.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { systemClock } from '../protocols/clock.ts'
import { createLibp2pNetwork, type Libp2pInit } from '../protocols/libp2p.ts'
import type { Json } from '../protocols/network.ts'
import { socketCalls } from './frame-socket.ts'
import { rounded, sideBySide } from './statistics.ts'

/** Length of a body, about that of the activations of one microbatch. */
export const BODY_BYTES = 4_000_000
/** Calls at the same time, as a stage has microbatches under way. */
export const IN_FLIGHT = 4
export const PROTOCOL = '/bench/link/1.0.0'
export const LOOPBACK: Libp2pInit = {
  listen: ['/ip4/127.0.0.1/tcp/0'],
  bootstrap: [],
  mdns: null,
}

const ROUNDS = 7
const LARGE_CALLS = 40
const SMALL_CALLS = 200
const WARM_UP_CALLS = 200
const TIMEOUT_MS = 60_000

const psk = Buffer.alloc(32, 'loopback only')
const version = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256',
} as const
/** Settings of TLS with a shared key instead of certificates. The encryption of the bodies is the same. */
export const TLS = {
  server: { ...version, pskCallback: () => psk },
  client: {
    ...version,
    pskCallback: () => ({ psk, identity: 'bench' }),
    checkServerIdentity: () => undefined,
  },
}

export interface LinkAddresses {
  readonly libp2p: string
  readonly tcp: number
  readonly tls: number
}

type Call = (header: Json, body?: Uint8Array) => Promise<unknown>

export async function benchLink() {
  const child = fork(new URL('link-peer.ts', import.meta.url))
  const [addresses] = (await once(child, 'message')) as [LinkAddresses]
  const { libp2p, tcp, tls, close } = await connectAll(addresses)
  try {
    const body = new Uint8Array(new SharedArrayBuffer(BODY_BYTES)).map((_, i) => i * 31)
    // Warms the processes up: V8 compiles during the first half gigabyte.
    await inFlight(WARM_UP_CALLS, () => libp2p(null, body))
    const large = await sideBySide(ROUNDS, {
      libp2p: () => inFlight(LARGE_CALLS, () => libp2p(null, body)),
      tcp: () => inFlight(LARGE_CALLS, () => tcp(null, body)),
      tls: () => inFlight(LARGE_CALLS, () => tls(null, body)),
    })
    const small = await sideBySide(ROUNDS, {
      libp2p: () => oneByOne(SMALL_CALLS, () => libp2p('small')),
      tcp: () => oneByOne(SMALL_CALLS, () => tcp('small')),
      tls: () => oneByOne(SMALL_CALLS, () => tls('small')),
    })
    const megabytes = (LARGE_CALLS * BODY_BYTES) / 1e6
    const roundTripMs = (seconds: number) => rounded((seconds / SMALL_CALLS) * 1e3)
    return {
      bodyMegabytes: BODY_BYTES / 1e6,
      megabytesPerSecond: {
        libp2p: rounded(megabytes / large.libp2p),
        tcp: rounded(megabytes / large.tcp),
        tls: rounded(megabytes / large.tls),
      },
      shareOfTcp: rounded(large.tcp / large.libp2p),
      shareOfTls: rounded(large.tls / large.libp2p),
      roundTripMs: {
        libp2p: roundTripMs(small.libp2p),
        tcp: roundTripMs(small.tcp),
        tls: roundTripMs(small.tls),
      },
    }
  } finally {
    await close()
    await ended(child)
  }
}

async function connectAll(addresses: LinkAddresses) {
  const network = await createLibp2pNetwork(LOOPBACK, { clock: systemClock })
  const peer = await network.connect(addresses.libp2p, { timeoutMs: TIMEOUT_MS })
  const libp2p: Call = (header, body) =>
    network.call(peer, PROTOCOL, { header, body }, { timeoutMs: TIMEOUT_MS })
  const plain = connect(addresses.tcp, '127.0.0.1')
  const secure = connectTls({ ...TLS.client, port: addresses.tls, host: '127.0.0.1' })
  await Promise.all([once(plain, 'connect'), once(secure, 'secureConnect')])
  return {
    libp2p,
    tcp: socketCalls(plain),
    tls: socketCalls(secure),
    async close() {
      plain.destroy()
      secure.destroy()
      await network.stop()
    },
  }
}

async function ended(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit')
  child.disconnect()
  await exit
}

async function inFlight(count: number, call: () => Promise<unknown>): Promise<void> {
  let left = count
  const worker = async () => {
    while (left-- > 0) await call()
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
}

async function oneByOne(count: number, call: () => Promise<unknown>): Promise<void> {
  for (let i = 0; i < count; i++) await call()
}
