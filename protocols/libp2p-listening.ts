/** The addresses at which others can reach a node now. */
import { networkInterfaces } from 'node:os'
import { ADDRESS_LENGTH, ADDRESSES_MAX } from './network.ts'

const LOOPBACK = /^\/ip4\/127\.|^\/ip6\/::1\//

/**
 * Picks from the addresses of a node those that lead here: ADDRESSES_MAX at most. A machine may lose an address that its user
 * chose. The listener on it stays, and nobody can connect to it.
 * @param own all addresses of the node
 * @param listen addresses that the user chose
 * @param machine addresses that the machine has now
 */
export function reachable(
  own: readonly string[],
  listen: readonly string[],
  machine = addressesOfMachine(),
): string[] {
  const gone = listen.map(hostOf).filter((host) => isConcrete(host) && !machine.includes(host))
  const here = own.filter(
    (address) => address.length <= ADDRESS_LENGTH && !gone.includes(hostOf(address)),
  )
  // Those that lead here from this machine alone come last, when there are too many.
  const first = here.length > ADDRESSES_MAX ? here.filter((each) => !LOOPBACK.test(each)) : here
  return [...new Set([...first, ...here])].slice(0, ADDRESSES_MAX)
}

function addressesOfMachine(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap((each) => each?.map((own) => own.address) ?? [])
}

/** The second part of /ip4/10.0.0.1/tcp/4001. */
function hostOf(address: string): string {
  return address.split('/')[2] ?? ''
}

/** False for the addresses that stand for all of a machine, and for the loopback, which a machine never loses. */
function isConcrete(host: string): boolean {
  return host !== '' && host !== '0.0.0.0' && !/^[0:]+$/.test(host) && !/^127\.|^::1$/.test(host)
}
