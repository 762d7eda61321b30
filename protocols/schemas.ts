/** Schemas that many protocols share. */
import { z } from 'zod'

/** A number of things, or the index of one: an integer from 0. */
export const count = z.int().nonnegative()

/** The id of a run: the SHA-256 of its manifest, 64 hexadecimal digits. */
export const run = z.string().max(64)
