/**
 * A local network on this machine: hosts in network namespaces, joined by one bridge. Packets are dropped where they arrive, so that their
 * sender learns nothing. Needs root and iproute2; faults need nft.
 */
import { execFileSync } from 'node:child_process'

/** Number of networks that this process has made. */
let networks = 0

export class Lan {
  readonly #hosts: number
  /** Prefix of the names of the namespaces. */
  readonly #prefix: string

  /** @param hosts number of hosts, from 1 on */
  constructor(hosts: number) {
    this.#hosts = hosts
    networks++
    this.#prefix = `field${process.pid}-${networks}`
    const wire = this.#wire
    ip('netns', 'add', wire)
    // Multicast reaches all hosts, as in a home network without filters. mDNS needs it.
    ip('-n', wire, 'link', 'add', 'lan', 'type', 'bridge', 'mcast_snooping', '0')
    ip('-n', wire, 'link', 'set', 'lan', 'up')
    for (let host = 1; host <= hosts; host++) this.#addHost(host)
  }

  #addHost(host: number): void {
    const [wire, space] = [this.#wire, this.#space(host)]
    ip('netns', 'add', space)
    ip('-n', space, 'link', 'set', 'lo', 'up')
    ip(
      '-n',
      space,
      'link',
      'add',
      'eth0',
      'type',
      'veth',
      'peer',
      'name',
      `h${host}`,
      'netns',
      wire,
    )
    ip('-n', wire, 'link', 'set', `h${host}`, 'master', 'lan', 'up')
    ip('-n', space, 'link', 'set', 'eth0', 'up')
    ip('-n', space, 'address', 'add', `${addressOf(host)}/24`, 'dev', 'eth0')
    ip('-n', space, 'route', 'add', 'default', 'dev', 'eth0')
  }

  get #wire(): string {
    return `${this.#prefix}-wire`
  }

  #space(host: number): string {
    return `${this.#prefix}-${host}`
  }

  /** Command that starts a process on a host. */
  under(host: number): string[] {
    return ['ip', 'netns', 'exec', this.#space(host)]
  }

  /** Gives a host another address. Its old one is gone. */
  move(host: number, to: number): void {
    const space = this.#space(host)
    ip('-n', space, 'address', 'flush', 'dev', 'eth0')
    ip('-n', space, 'address', 'add', `${addressOf(to)}/24`, 'dev', 'eth0')
    ip('-n', space, 'route', 'replace', 'default', 'dev', 'eth0')
  }

  /** Drops all packets from one host to another. The opposite direction works. */
  block(from: number, to: number): void {
    this.#drop(to, `ip saddr ${addressOf(from)}`)
  }

  /** Drops all packets between two groups of hosts. */
  split(some: readonly number[], others: readonly number[]): void {
    for (const one of some) {
      for (const other of others) {
        this.block(one, other)
        this.block(other, one)
      }
    }
  }

  /** Lets no connection to this host begin. The host itself can connect to the others. */
  closePorts(host: number): void {
    this.#drop(host, 'iifname eth0 tcp flags & (syn | ack) == syn')
  }

  /** Drops this share of the packets that arrive at each host. */
  lose(percent: number): void {
    for (let host = 1; host <= this.#hosts; host++) {
      this.#drop(host, `iifname eth0 numgen random mod 100 < ${percent}`)
    }
  }

  /** Ends all faults. */
  heal(): void {
    for (let host = 1; host <= this.#hosts; host++) {
      this.#nft(host, 'add table inet field; delete table inet field')
    }
  }

  #drop(host: number, match: string): void {
    this.#nft(
      host,
      `add table inet field; add chain inet field in { type filter hook input priority 0; }; add rule inet field in ${match} drop`,
    )
  }

  #nft(host: number, commands: string): void {
    execFileSync('ip', ['netns', 'exec', this.#space(host), 'nft', commands])
  }

  close(): void {
    for (let host = 1; host <= this.#hosts; host++) ip('netns', 'delete', this.#space(host))
    ip('netns', 'delete', this.#wire)
  }
}

/** Addresses of a network that is reserved for documentation. */
function addressOf(host: number): string {
  return `198.51.100.${host}`
}

function ip(...args: string[]): void {
  execFileSync('ip', args)
}
