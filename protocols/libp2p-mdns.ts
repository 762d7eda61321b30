/** Finds peers on the local network by multicast DNS. A node that listens on loopback alone searches loopback alone. */
import type { Socket } from 'node:dgram'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { PeerDiscovery, PeerInfo, Startable } from '@libp2p/interface'
import { type MulticastDNSComponents, mdns } from '@libp2p/mdns'

/** Characters of a group's name that are used. A label of the domain name system has at most 63 characters. */
const NAME_LENGTH = 40

const GROUP = '224.0.0.251'
const LOOPBACK = '127.0.0.1'
const LOOPBACK_ADDRESS = /^\/ip4\/127\.|^\/ip6\/::1\//

type Discovery = PeerDiscovery & Startable

interface LocalDiscoveryInit {
  readonly listen: readonly string[]
  /** Name of the group of peers that find each other: letters, digits and hyphens. */
  readonly group: string
  found(peer: PeerInfo): void
}

export function localDiscovery({
  listen,
  group,
  found,
}: LocalDiscoveryInit): (components: MulticastDNSComponents) => PeerDiscovery {
  return (components) => {
    const serviceTag = `_gensyn-node-${group.slice(0, NAME_LENGTH)}._udp.local`
    const discovery = mdns({ serviceTag, ip: GROUP })(components) as Discovery
    discovery.addEventListener('peer', ({ detail }) => found(detail))
    if (listen.every((address) => LOOPBACK_ADDRESS.test(address))) keepOnLoopback(discovery)
    return discovery
  }
}

/**
 * @libp2p/mdns joins the multicast group on every interface. The library has no option against this, and does not expose its
 * socket. Node announces each new UDP socket on a diagnostics channel, and `start` creates this one synchronously.
 */
function keepOnLoopback(discovery: Discovery): void {
  const start = discovery.start.bind(discovery)
  discovery.start = () => {
    subscribe('udp.socket', restrict)
    try {
      return start()
    } finally {
      unsubscribe('udp.socket', restrict)
    }
  }
}

function restrict(announced: unknown): void {
  const { socket } = announced as { socket: Socket }
  const bind = socket.bind.bind(socket)
  const addMembership = socket.addMembership.bind(socket)
  const setMulticastInterface = socket.setMulticastInterface.bind(socket)
  Object.assign(socket, {
    // A socket that is bound to the group receives nothing that is sent to this machine's own addresses.
    bind: (port: number, _: unknown, done: () => void) => bind(port, GROUP, done),
    addMembership: (group: string, address: string) => {
      if (address === LOOPBACK) addMembership(group, LOOPBACK)
    },
    setMulticastInterface: () => setMulticastInterface(LOOPBACK),
  })
}
