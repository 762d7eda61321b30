/** `gensyn-node join`: takes part in a run as a peer. */
import { availableParallelism, hostname } from 'node:os'
import { type Command, Option } from 'commander'
import { systemClock } from '../../../protocols/clock.ts'
import { DOMAIN_LENGTH } from '../../../protocols/membership.ts'
import { EXIT } from '../../base/errors.ts'
import { SPOT_PROVIDERS } from '../../node/spot-notice.ts'
import {
  type CommandContext,
  command,
  domainLabel,
  positiveNumber,
  seconds,
  wholeNumber,
  withSecret,
} from '../command-options.ts'

export function joinCommand(all: Command, { terminal, listen }: CommandContext): void {
  const join = command(
    all,
    'join',
    'join a run as a peer, or found the run if no peer of it is found',
  )
  join.argument('[invitation]', 'the line that the founder and `gensyn-node invite` print')
  withStart(withPeer(join)).action(async (invitation: string | undefined, options) => {
    const { join: joinRun } = await import('../../node/join.ts')
    const finished = await joinRun(
      { ...options, invitation, stage: options.stage === 'auto' ? null : options.stage },
      { terminal, clock: systemClock, signal: listen() },
    )
    if (finished.failure !== null) process.exitCode = EXIT.failed
  })
}

/** The options that say which run, what this peer is, and how others reach it. */
function withPeer(join: Command): Command {
  return withSecret(join)
    .option('--run <file>', 'manifest of the run', 'run.json')
    .addOption(
      new Option(
        '--stage <stage>',
        'stage to hold: auto, the one that needs a holder most; or a number, 0 for the ends',
      )
        .default('auto')
        .argParser((value) => (value === 'auto' ? 'auto' : wholeNumber(value))),
    )
    .option('--bootstrap <address...>', 'multiaddrs of peers of the run')
    .option('--listen <address...>', 'multiaddrs to listen on', ['/ip4/127.0.0.1/tcp/0'])
    .option('--allow <file>', 'file with the ids of the only peers that may connect, one a line')
    .option('--ban <peer...>', 'ids of peers that may not connect')
    .option('--no-mdns', 'do not look for peers on the local network')
    .addOption(
      new Option('--provider <provider>', 'what computes the stage')
        .choices(['auto', 'cpu', 'cuda', 'webgpu'])
        .default('auto'),
    )
    .option('--threads <count>', 'threads of this peer', positiveNumber, availableParallelism())
    .option(
      '--steps <count>',
      'number of steps after which the run ends, if this peer coordinates it',
      wholeNumber,
    )
    .option(
      '--data-dir <folder>',
      'folder for identity, journal and weights (default: .gensyn beside the manifest)',
    )
    .option(
      '--journal-size <MiB>',
      'bound of the journal of this peer; older entries leave, and their history stays (default: 32)',
      positiveNumber,
    )
    .addOption(
      new Option(
        '--domain <label>',
        'failure domain: peers with the same label are likely to be lost together',
      )
        .default(hostname().slice(0, DOMAIN_LENGTH), "the host's name")
        .argParser(domainLabel),
    )
    .addOption(
      new Option(
        '--spot <cloud>',
        'leave in order when this cloud announces that it takes the machine back',
      )
        .choices(['off', 'auto', ...SPOT_PROVIDERS])
        .default('off'),
    )
    .addOption(new Option('--spot-url <url>', 'URL of the metadata service').hideHelp())
}

/** The options that say what the run starts from, and when it goes on with fewer stages. */
function withStart(join: Command): Command {
  return join
    .option(
      '--weights <folder>',
      'folder of the checkpoint that an imported run starts from, if it was moved',
    )
    .option(
      '--checkpoints <place>',
      'store for checkpoints, for a run whose policy names checkpoint: a folder that all peers share, or s3://BUCKET/PREFIX',
    )
    .option(
      '--resume <store>',
      'start the swarm from a checkpoint of any number of stages: a folder, or s3://BUCKET/PREFIX',
    )
    .option(
      '--resume-step <step>',
      'step of that checkpoint (default: the last complete one)',
      wholeNumber,
    )
    .option(
      '--anew',
      'start the run again from its first step, although steps of it were made here',
    )
    .option(
      '--reshard-after <seconds>',
      'continue with fewer stages from a checkpoint when peers have been too few for this long (default: wait for joiners)',
      seconds,
    )
}
