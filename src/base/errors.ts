/** Errors of the node, and the exit codes that they lead to. */

/**
 * A mistake in what the user asked for. The message names the wrong thing and the remedy, so that it is clear without
 * a stack trace.
 */
export class InputError extends Error {
  static override readonly name = 'InputError'
  override readonly name = 'InputError'
}

/** Exit codes of the process. */
export const EXIT = { done: 0, failed: 1, badInput: 2 } as const

/** Exit code for an error that ended a command. */
export function exitCodeOf(error: unknown): number {
  return error instanceof InputError ? EXIT.badInput : EXIT.failed
}

/** The `code` of a system error, such as ENOENT; undefined for an error without a code. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}
