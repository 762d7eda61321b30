/** The node's own errors, and what they mean to the shell that started it. */

/**
 * The user asked for something that cannot be done as asked. The message names the thing and the remedy, and needs
 * no stack trace to be understood.
 */
export class InputError extends Error {
  static override readonly name = 'InputError'
  override readonly name = 'InputError'
}

export const EXIT = { done: 0, failed: 1, badInput: 2 } as const

export function exitCodeOf(error: unknown): number {
  return error instanceof InputError ? EXIT.badInput : EXIT.failed
}

/** The `code` of a system error such as ENOENT; undefined for any other. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}
