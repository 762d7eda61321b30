/** The only module that prints: text for people or, with --json, one JSON object a line. */
import { systemCode } from './errors.ts'

/** Output of a command. */
export interface Terminal {
  /** Prints a line for people; does nothing with --json. */
  readonly line: (text: string) => void
  /** Prints text without a new line after it; does nothing with --json. */
  readonly text: (text: string) => void
  /** Prints an object for programs; does nothing without --json. */
  readonly event: (event: object) => void
  /** Prints the error that ended the command: to stderr or, with --json, as an event of type `error`. */
  readonly fail: (error: unknown) => void
}

export interface TerminalOptions {
  readonly json: boolean
  /** Default: stdout. */
  readonly stream?: NodeJS.WritableStream
  /** Default: stderr. */
  readonly errorStream?: NodeJS.WritableStream
}

export function createTerminal({ json, ...streams }: TerminalOptions): Terminal {
  const writeError = writer(streams.errorStream ?? process.stderr, () => {})
  const write = writer(streams.stream ?? process.stdout, (error) => {
    writeError(
      `gensyn-node: the output cannot be written (${error.message}): this process goes on, and prints no more.\n`,
    )
  })
  const print = (line: string) => write(`${line}\n`)
  const event = (event: object) => {
    if (json) print(JSON.stringify(event))
  }
  return {
    line: (text) => {
      if (!json) print(visible(text))
    },
    text: (text) => {
      if (!json) write(visible(text))
    },
    event,
    fail: (error) => {
      const { name, message } = error instanceof Error ? error : new Error(String(error))
      event({ type: 'error', name, message })
      if (!json)
        writeError(`${visible(`gensyn-node: ${isMistake(error) ? error.stack : message}`)}\n`)
    },
  }
}

/**
 * Writes until the stream fails. A reader that closes its pipe, or a file on a full disk, must not end the command with an
 * error.
 * @param broke told of a failure that is not the reader's choice
 */
function writer(
  stream: NodeJS.WritableStream,
  broke: (error: Error) => void,
): (text: string) => void {
  let closed = false
  stream.on('error', (error) => {
    if (closed) return
    closed = true
    if (systemCode(error) !== 'EPIPE') broke(error)
  })
  return (text) => {
    if (!closed) stream.write(text)
  }
}

/** Tells whether only a programming mistake throws such an error. Its stack trace is printed, too. */
function isMistake(error: unknown): error is Error {
  return [TypeError, RangeError, ReferenceError].some((kind) => error instanceof kind)
}

/** Replaces control characters, so that text from peers and files cannot control the terminal. */
function visible(text: string): string {
  return text.replace(/(?![\n\t])\p{Cc}/gu, '\ufffd')
}
