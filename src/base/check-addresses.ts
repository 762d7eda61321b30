/** Refuses addresses that a user got wrong. */
import { isAddress } from '../../protocols/address.ts'
import { InputError } from './errors.ts'

/** @throws InputError that names the first text that is no multiaddr */
export function checkAddresses(addresses: readonly string[]): void {
  const wrong = addresses.find((address) => !isAddress(address))
  if (wrong === undefined) return
  throw new InputError(`${wrong} is no address; one looks like /ip4/127.0.0.1/tcp/4001.`)
}
