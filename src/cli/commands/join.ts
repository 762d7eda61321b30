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
} from '../command-options.ts'

export function joinCommand(all: Command, { terminal, listen }: CommandContext): void {
  const join = command(all, 'join', 'join a run as a peer, or found it if nobody is there')
  withStart(withPeer(join)).action(async (options) => {
    const { join: joinRun } = await import('../../node/join.ts')
    const finished = await joinRun(
      { ...options, stage: options.stage === 'auto' ? null : options.stage },
      { terminal, clock: systemClock, signal: listen() },
    )
    if (finished.failure !== null) process.exitCode = EXIT.failed
  })
}

/** The options that say which run, what this peer is, and how others reach it. */
function withPeer(join: Command): Command {
  return join
    .option('--run <file>', 'its manifest', 'run.json')
    .addOption(
      new Option('--stage <stage>', 'auto: whichever needs a holder most; or a number, 0 the ends')
        .default('auto')
        .argParser((value) => (value === 'auto' ? 'auto' : wholeNumber(value))),
    )
    .option('--bootstrap <address...>', 'multiaddrs of peers of the run')
    .option('--listen <address...>', 'multiaddrs to listen on', ['/ip4/127.0.0.1/tcp/0'])
    .option('--no-mdns', 'do not look for peers on the local network')
    .addOption(
      new Option('--provider <provider>', 'what computes')
        .choices(['auto', 'cpu', 'cuda', 'webgpu'])
        .default('auto'),
    )
    .option('--threads <count>', 'of this peer', positiveNumber, availableParallelism())
    .option(
      '--steps <count>',
      'end after so many steps in all, if this peer coordinates',
      wholeNumber,
    )
    .option(
      '--data-dir <folder>',
      'identity, journal and weights (default: .gensyn beside the manifest)',
    )
    .addOption(
      new Option('--domain <label>', 'what this peer is likely to be lost together with')
        .default(hostname().slice(0, DOMAIN_LENGTH), "the host's name")
        .argParser(domainLabel),
    )
    .addOption(
      new Option(
        '--spot <cloud>',
        'leave in order when this cloud says that it takes the machine back',
      )
        .choices(['off', 'auto', ...SPOT_PROVIDERS])
        .default('off'),
    )
    .addOption(new Option('--spot-url <url>', 'of its metadata service').hideHelp())
}

/** The options that say what the run starts from, and when it goes on with fewer stages. */
function withStart(join: Command): Command {
  return join
    .option('--weights <folder>', 'the checkpoint that an imported run starts from, if moved')
    .option(
      '--checkpoints <place>',
      'a folder that all peers see, or s3://BUCKET/PREFIX: for a run whose policy names checkpoint',
    )
    .option(
      '--resume <store>',
      'start the swarm from a checkpoint: a folder, or s3://BUCKET/PREFIX; any number of stages',
    )
    .option('--resume-step <step>', 'which one (default: the last complete one)', wholeNumber)
    .option('--anew', 'let the run begin anew, though it was made here before, or a part of it')
    .option(
      '--reshard-after <seconds>',
      'when peers have been too few for so long, go on with fewer stages from a checkpoint (default: wait for joiners)',
      seconds,
    )
}
