/** `gensyn-node invite`: makes an invitation from the manifest, the secret, and the addresses of peers on this machine. */
import { dirname, join, resolve } from 'node:path'
import { checkAddresses } from '../base/check-addresses.ts'
import { knownAddresses } from '../base/data-dir.ts'
import { InputError } from '../base/errors.ts'
import type { Terminal } from '../base/terminal.ts'
import { readSecretOf } from '../run/door.ts'
import { encodeInvitation, isLocal } from '../run/invitation.ts'
import { readRun, runId } from '../run/run.ts'

export interface InviteOptions {
  readonly run: string
  readonly secretFile?: string | undefined
  readonly address?: readonly string[] | undefined
  readonly dataDir?: string | undefined
}

/** @throws InputError if no address is known, or a file or an address cannot be used */
export function invite(options: InviteOptions, terminal: Terminal): void {
  const run = readRun(options.run)
  const secret = readSecretOf(run, options.run, options.secretFile)
  const dataDir = options.dataDir ?? join(dirname(resolve(options.run)), '.gensyn')
  const addresses = options.address ?? knownAddresses(dataDir, runId(run))
  checkAddresses(addresses)
  if (addresses.length === 0) {
    throw new InputError(
      'No peer of the run is on this machine. Start one with `gensyn-node join`, or name the address of one by --address.',
    )
  }
  const invitation = encodeInvitation({ run, secret, addresses })
  terminal.event({ type: 'invitation', run: runId(run), addresses, invitation })
  terminal.line(invitation)
  if (addresses.every(isLocal)) {
    terminal.line(
      'It serves this machine only: its addresses are loopback. Start a peer with --listen /ip4/0.0.0.0/tcp/4001, or name a public address by --address.',
    )
  }
}
