/** The command line: what can be asked for, and how it ends. Each command loads its own code when it is called. */
import { availableParallelism, hostname } from 'node:os'
import { join } from 'node:path'
import { Command, CommanderError, Option } from 'commander'
import { systemClock } from '../../protocols/clock.ts'
import { DOMAIN_LENGTH } from '../../protocols/membership.ts'
import { EXIT, exitCodeOf } from '../base/errors.ts'
import { createTerminal, type Terminal } from '../base/terminal.ts'
import { SPOT_PROVIDERS } from '../node/spot-notice.ts'
import { RECOVERY_NAMES } from '../recovery/index.ts'
import {
  command,
  domainLabel,
  positiveNumber,
  seconds,
  settingsIn,
  wholeNumber,
  withSettings,
  withTokenizer,
} from './command-options.ts'
import { benchCommand } from './commands/bench.ts'
import { evalCommand } from './commands/eval.ts'
import { exportCommand } from './commands/export.ts'
import { generateCommand } from './commands/generate.ts'
import { importCommand } from './commands/import.ts'
import { prepareCommand } from './commands/prepare.ts'
import { reshardCommand } from './commands/reshard.ts'
import { simCommand } from './commands/sim.ts'
import { tokenizerCommand } from './commands/tokenizer.ts'

export async function main(argv: readonly string[]): Promise<void> {
  const json = argv.includes('--json')
  const terminal = createTerminal({ json })
  const interrupt = new Interrupt(terminal)
  try {
    await program(terminal, interrupt).parseAsync(argv)
  } catch (error) {
    // Commander has printed its own message; --help and --version end here too.
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? EXIT.done : EXIT.badInput
      return
    }
    terminal.fail(error)
    process.exitCode = exitCodeOf(error)
  } finally {
    interrupt.release()
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** For commands that end in order: the first Ctrl-C, SIGTERM, closed terminal or lost parent asks, a second ends at once. */
class Interrupt {
  readonly #controller = new AbortController()
  readonly #stop: (what: string) => void
  readonly #orphaned = () => this.#stop('the parent process is gone')

  constructor(terminal: Terminal) {
    this.#stop = (what) => {
      if (this.#controller.signal.aborted) process.exit(EXIT.failed)
      terminal.line(`${what}: stopping; once more to stop at once`)
      this.#controller.abort(new Error(`stopped: ${what}`))
    }
  }

  /** From now on signals are taken here; until then they end the process as they always do. */
  listen(): AbortSignal {
    for (const signal of SIGNALS) process.on(signal, this.#stop)
    process.once('disconnect', this.#orphaned)
    // Listening on the channel must not keep the process alive when its work is done.
    process.channel?.unref()
    return this.#controller.signal
  }

  release(): void {
    for (const signal of SIGNALS) process.off(signal, this.#stop)
    process.off('disconnect', this.#orphaned)
  }
}

function program(terminal: Terminal, interrupt: Interrupt): Command {
  const all = new Command('gensyn-node')
    .description(
      'Train a Llama across peers that come and go; a lost stage is rebuilt without a checkpoint.',
    )
    .version('0.1.0')
    .showSuggestionAfterError()
    .exitOverride()

  initCommand(all, terminal)
  joinCommand(all, terminal, interrupt)
  demoCommand(all, terminal, interrupt)
  simCommand(all, terminal)
  benchCommand(all, terminal)
  statusCommand(all, terminal, interrupt)
  doctorCommand(all, terminal)
  prepareCommand(all, terminal)
  tokenizerCommand(all, terminal)
  exportCommand(all, terminal)
  importCommand(all, terminal)
  evalCommand(all, terminal)
  generateCommand(all, terminal)
  reshardCommand(all, terminal)
  return all
}

function initCommand(all: Command, terminal: Terminal): void {
  withTokenizer(withSettings(command(all, 'init', 'write the manifest of a new run')))
    .option('--out <file>', 'where to write it', 'run.json')
    .option('--force', 'replace a manifest that is there already', false)
    .action(async (options) => {
      const { initRun } = await import('./init.ts')
      const { runId } = await import('../run/run.ts')
      const { out } = options
      const run = await initRun({ ...options, settings: settingsIn(options) })
      terminal.event({ type: 'initialized', path: out, run: runId(run), stages: run.stages })
      terminal.line(
        `${out}: run ${runId(run).slice(0, 12)}, ${run.stages} body stages and the ends. ` +
          `Start ${run.stages + 1} peers with \`gensyn-node join --stage auto\`, and one more as a spare.`,
      )
    })
}

function joinCommand(all: Command, terminal: Terminal, interrupt: Interrupt): void {
  command(all, 'join', 'join a run as a peer, or found it if nobody is there')
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
    .action(async (options) => {
      const { join: joinRun } = await import('../node/join.ts')
      const finished = await joinRun(
        { ...options, stage: options.stage === 'auto' ? null : options.stage },
        { terminal, clock: systemClock, signal: interrupt.listen() },
      )
      if (finished.failure !== null) process.exitCode = EXIT.failed
    })
}

/** As long as it takes to see a stage come back. */
const DEMO_SETTINGS = { steps: '120' }

function demoCommand(all: Command, terminal: Terminal, interrupt: Interrupt): void {
  const demo = command(
    all,
    'demo',
    'a whole swarm on this machine; one stage is killed and rebuilt',
  )
  withSettings(demo, { defaults: DEMO_SETTINGS })
    .option(
      '--spares <count>',
      'peers beyond one a stage (default: one for each that is killed)',
      wholeNumber,
    )
    .option('--no-kill', 'leave the swarm undisturbed')
    .addOption(
      new Option('--recovery <strategy>', 'tried first when a stage is lost')
        .choices(['auto', ...RECOVERY_NAMES])
        .conflicts('policy')
        .default('checkfree'),
    )
    .option(
      '--kill-stage <stages>',
      'whose holders are killed: middle, first, last, ends, or numbers (3,4)',
      'middle',
    )
    .option('--kill-step <step>', 'after which step (default: half-way)', wholeNumber)
    .option('--report <file>', 'where the figures go', 'demo-report.json')
    .option('--keep <folder>', 'leave the run there: its manifest, journals and trained weights')
    .action(async ({ report: reportPath, ...options }) => {
      const { demo, failureOf, summaryOf } = await import('./demo.ts')
      const report = await demo(
        {
          ...options,
          reportPath,
          recovery: options.policy === undefined ? options.recovery : undefined,
          settings: { ...DEMO_SETTINGS, ...settingsIn(options) },
        },
        { clock: systemClock, line: terminal.line, signal: interrupt.listen() },
      )
      terminal.event({ type: 'report', path: reportPath, ...report })
      terminal.line('')
      for (const text of summaryOf(report)) terminal.line(text)
      terminal.line(`${'report'.padEnd(14)}${reportPath}`)
      const { keep } = options
      if (keep !== undefined) {
        const run = join(keep, 'run.json')
        terminal.line(`${'kept'.padEnd(14)}${keep}; try \`gensyn-node generate --run ${run}\``)
      }
      const failure = failureOf(report)
      if (failure !== null) throw new Error(failure)
    })
}

function statusCommand(all: Command, terminal: Terminal, interrupt: Interrupt): void {
  command(all, 'status', 'listen to a run without being a member of it')
    .option('--run <file>', 'its manifest', 'run.json')
    .option('--bootstrap <address...>', 'multiaddrs of peers of the run')
    .option('--seconds <seconds>', 'for so long', positiveNumber, 5)
    .option(
      '--data-dir <folder>',
      'of the peers on this machine (default: .gensyn beside the manifest)',
    )
    .action(async (options) => {
      const { status } = await import('./status.ts')
      await status(options, { terminal, clock: systemClock, signal: interrupt.listen() })
    })
}

function doctorCommand(all: Command, terminal: Terminal): void {
  command(all, 'doctor', 'what this machine can do, and what to mend')
    .option('--listen <address...>', 'multiaddrs to try to listen on', ['/ip4/127.0.0.1/tcp/0'])
    .option('--data-dir <folder>', 'to try to write to', '.gensyn')
    .action(async (options) => {
      const { doctor } = await import('./doctor.ts')
      if (!(await doctor(options, terminal, systemClock))) process.exitCode = EXIT.failed
    })
}
