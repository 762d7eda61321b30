/** The libp2p node: its parts and their settings. */

import { type GossipSub, gossipsub } from '@chainsafe/libp2p-gossipsub'
import { bootstrap } from '@libp2p/bootstrap'
import { privateKeyFromProtobuf } from '@libp2p/crypto/keys'
import { type Identify, identify } from '@libp2p/identify'
import type { Libp2p, PeerInfo } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { type Ping, ping } from '@libp2p/ping'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { localDiscovery } from './libp2p-mdns.ts'
import { corkedTcp } from './libp2p-tcp.ts'
import { ListenError } from './listen-error.ts'
import { noiseCrypto } from './noise-crypto.ts'
import { unreachable } from './unreachable.ts'

/** Yamux's default. A sender assumes the same value at the receiver, so this is no setting. */
const INITIAL_WINDOW_BYTES = 256 * 1024

/**
 * Bytes of one stream that may be under way. On a slow uplink these bytes delay everything else on the connection, the
 * monitor's ping included. On a fast link with a long round trip they limit throughput to one window a round trip.
 */
export const DEFAULT_WINDOW_BYTES = 1024 * 1024

/** Many peers of one host (a test, a demo, a NAT) connect within one second. libp2p's default is 5. */
const CONNECTIONS_PER_HOST_AND_SECOND = 256

/**
 * Deadline of libp2p for a handshake, in milliseconds. Calls have shorter deadlines of their own. libp2p's default of 10 s is
 * too short for one side on a busy machine, and the work of both sides would be lost.
 */
const HANDSHAKE_MS = 30_000

/** Slower than the heartbeats of the swarm, so that a busy peer, or one behind a slow uplink, keeps its connection. */
const MONITOR = { pingInterval: 10_000, pingTimeout: { minTimeout: 20_000, maxTimeout: 60_000 } }

/**
 * The monitor starts a ping every 10 s, and a ping may take 60 s. With libp2p's limit of one ping at a time the second ping
 * would fail, and the monitor would close the connection.
 */
const PINGS_AT_ONCE = 8

/** Gossip has no backpressure. A peer that does not read loses announcements beyond this many bytes. */
const GOSSIP_BUFFER_BYTES = 8 * 1024 * 1024

const PEER_ADDRESS = /^\/.+\/p2p\/[1Q][1-9A-HJ-NP-Za-km-z]{40,}$/

export interface NodeInit {
  /** Private key from `loadOrCreateIdentity`. Without a key the node creates a new identity. */
  readonly identity?: Uint8Array | undefined
  /** Multiaddrs to listen on, such as "/ip4/127.0.0.1/tcp/4001"; port 0 takes any free port. */
  readonly listen: readonly string[]
  /** Multiaddrs with peer ids, to which the node connects at its start. */
  readonly bootstrap: readonly string[]
  /** Name of a group of peers that find each other on the local network: letters, digits, hyphens. Null searches no peers. */
  readonly mdns: string | null
  readonly found: (peer: PeerInfo) => void
  /** Prologue of the Noise handshake. Peers with another prologue cannot connect. Left out: an empty one. */
  readonly prologue?: Uint8Array | undefined
  /** Called for each connection that was closed, since its first bytes did not prove the prologue. */
  readonly refused?: (() => void) | undefined
  /** Says whether a peer may connect, and may be dialled. Left out: all may. */
  readonly admits?: ((peer: string) => boolean) | undefined
  /** @default DEFAULT_WINDOW_BYTES */
  readonly windowBytes?: number | undefined
}

export type Node = Libp2p<{ pubsub: GossipSub; identify: Identify; ping: Ping }>

/**
 * Creates a node without starting it, so that listeners can be added before the first event.
 * @throws ListenError for a bad address to listen on, ProtocolError UNREACHABLE for a bootstrap address without a peer id
 */
export async function createNode(init: NodeInit): Promise<Node> {
  const { listen, mdns, found, prologue, admits = () => true } = init
  const { windowBytes = DEFAULT_WINDOW_BYTES } = init
  listen.forEach(ListenError.check)
  init.bootstrap.forEach(checkBootstrap)
  return await createLibp2p({
    start: false,
    ...(init.identity && { privateKey: privateKeyFromProtobuf(init.identity) }),
    addresses: { listen: [...listen] },
    transports: [corkedTcp({ prologue, refused: init.refused })],
    connectionEncrypters: [
      noise({ crypto: noiseCrypto, ...(prologue && { prologueBytes: prologue }) }),
    ],
    streamMuxers: [
      yamux({
        streamOptions: {
          initialStreamWindowSize: INITIAL_WINDOW_BYTES,
          maxStreamWindowSize: windowBytes,
          maxReadBufferLength: 8 * windowBytes,
        },
      }),
    ],
    connectionGater: {
      // The peer id is proved by the handshake, so that it is known from then on.
      denyInboundEncryptedConnection: (peer) => !admits(peer.toString()),
      denyDialPeer: (peer) => !admits(peer.toString()),
      denyOutboundEncryptedConnection: (peer) => !admits(peer.toString()),
    },
    connectionManager: {
      inboundConnectionThreshold: CONNECTIONS_PER_HOST_AND_SECOND,
      maxIncomingPendingConnections: CONNECTIONS_PER_HOST_AND_SECOND,
      dialTimeout: HANDSHAKE_MS,
      inboundUpgradeTimeout: HANDSHAKE_MS,
      inboundStreamProtocolNegotiationTimeout: HANDSHAKE_MS,
      outboundStreamProtocolNegotiationTimeout: HANDSHAKE_MS,
    },
    connectionMonitor: MONITOR,
    // libp2p would drop an address after an hour, also that of a peer which is called every minute. libp2p-addresses.ts
    // drops what is not needed any more.
    peerStore: { maxAddressAge: Number.POSITIVE_INFINITY, maxPeerAge: Number.POSITIVE_INFINITY },
    peerDiscovery: [
      ...(init.bootstrap.length > 0 ? [bootstrap({ list: [...init.bootstrap], timeout: 0 })] : []),
      ...(mdns === null ? [] : [localDiscovery({ listen, group: mdns, found })]),
    ],
    services: {
      identify: identify(),
      ping: ping({ maxInboundStreams: PINGS_AT_ONCE, maxOutboundStreams: PINGS_AT_ONCE }),
      // No maxInboundDataLength: one longer message would end the receiver's stream for good, without an error on
      // either side. `publish` and the validator of the topic check the length.
      pubsub: gossipsub({
        globalSignaturePolicy: 'StrictSign',
        allowPublishToZeroTopicPeers: true,
        emitSelf: false,
        fallbackToFloodsub: false,
        doPX: false,
        maxOutboundBufferSize: GOSSIP_BUFFER_BYTES,
      }),
    },
  })
}

/** @throws ListenError that names the address and the remedy */
export async function startNode(node: Node, listen: readonly string[]): Promise<void> {
  try {
    await node.start()
  } catch (error) {
    throw ListenError.from(error, listen) ?? error
  }
}

/** @libp2p/bootstrap ignores an address without a peer id without an error. */
function checkBootstrap(address: string): void {
  if (!PEER_ADDRESS.test(address)) {
    throw unreachable(
      address,
      new Error('it does not end in a peer id, as in …/tcp/4001/p2p/12D3…'),
    )
  }
}
