/** The command line: parses arguments, runs a command, and sets the exit code. Each command loads its own code when it is called. */
import { Command, CommanderError } from 'commander'
import { EXIT, exitCodeOf } from '../base/errors.ts'
import { createTerminal, type Terminal } from '../base/terminal.ts'
import { COMMANDS } from './commands/table.ts'

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

/** Ends a command in order at the first Ctrl-C, SIGTERM, closed terminal or lost parent, and at once at the second. */
class Interrupt {
  readonly #controller = new AbortController()
  readonly #stop: (what: string) => void
  readonly #orphaned = () => this.#stop('the parent process is gone')
  /** The last line against a fault that nothing has caught: the person reads it, and the command ends in order. */
  readonly #failed: (error: unknown) => void

  constructor(terminal: Terminal) {
    this.#stop = (what) => {
      if (this.#controller.signal.aborted) process.exit(EXIT.failed)
      terminal.line(`${what}: stopping; once more to stop at once`)
      this.#controller.abort(new Error(`stopped: ${what}`))
    }
    this.#failed = (error) => {
      terminal.fail(error)
      process.exitCode = EXIT.failed
      this.#stop('an error that nothing has caught')
    }
  }

  /** Starts to handle the signals. Before this call a signal ends the process at once. */
  listen(): AbortSignal {
    for (const signal of SIGNALS) process.on(signal, this.#stop)
    process.once('disconnect', this.#orphaned)
    // It also gets the rejections that nobody handles.
    process.on('uncaughtException', this.#failed)
    // Listening on the channel must not keep the process alive when its work is done.
    process.channel?.unref()
    return this.#controller.signal
  }

  release(): void {
    for (const signal of SIGNALS) process.off(signal, this.#stop)
    process.off('disconnect', this.#orphaned)
    process.off('uncaughtException', this.#failed)
  }
}

function program(terminal: Terminal, interrupt: Interrupt): Command {
  const all = new Command('gensyn-node')
    .description(
      'Train a Llama across peers that join and leave; a lost stage is rebuilt without a checkpoint.',
    )
    .version('0.1.0')
    .showSuggestionAfterError()
    .exitOverride()

  const context = { terminal, listen: () => interrupt.listen() }
  for (const addCommand of COMMANDS) addCommand(all, context)
  return all
}
