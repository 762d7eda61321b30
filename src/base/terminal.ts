/** The only place that prints: text for people, or one JSON object a line with --json. */
import { systemCode } from './errors.ts'

export interface Terminal {
  /** A line for people; left out with --json. */
  readonly line: (text: string) => void
  /** Text as it comes, without a new line after it; left out with --json. */
  readonly text: (text: string) => void
  /** An object for programs; left out without --json. */
  readonly event: (event: object) => void
  /** Says what ended the command: to stderr, or as an event of type `error`. */
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
  const write = writer(streams.stream ?? process.stdout)
  const print = (line: string) => write(`${line}\n`)
  const complain = writer(streams.errorStream ?? process.stderr)
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
        complain(`${visible(`gensyn-node: ${isMistake(error) ? error.stack : message}`)}\n`)
    },
  }
}

/** Writes for as long as someone reads: `gensyn-node demo | head` must not end the demo with an error. */
function writer(stream: NodeJS.WritableStream): (text: string) => void {
  let closed = false
  stream.on('error', (error) => {
    if (systemCode(error) !== 'EPIPE') throw error
    closed = true
  })
  return (text) => {
    if (!closed) stream.write(text)
  }
}

/** What only a programming mistake throws. Its message alone would tell nobody where to look. */
function isMistake(error: unknown): error is Error {
  return [TypeError, RangeError, ReferenceError].some((kind) => error instanceof kind)
}

/** Text from peers and files must not steer the terminal. */
function visible(text: string): string {
  return text.replace(/(?![\n\t])\p{Cc}/gu, '\ufffd')
}
