/** Schemas that many protocols share. */
import { z } from 'zod'
import { ADDRESS_LENGTH, ADDRESSES_MAX } from './network.ts'

/** A number of things, or the index of one: an integer from 0. */
export const count = z.int().nonnegative()

/** Id of a member. It is short, so that thousands fit a header. */
export const memberId = z.int().min(0).max(0xffff_ffff)

/** A peer's identity. The longest of libp2p has 53 characters, of one byte of JSON each. */
export const peerId = z
  .string()
  .regex(/^[!#-[\]-~]+$/)
  .max(64)

/** Text of an address. Each character is one byte of JSON. */
export const addressText = z.string().regex(/^[!#-[\]-~]+$/)

/** The name of a recovery strategy. */
export const strategyName = z
  .string()
  .regex(/^[a-z+-]+$/)
  .max(32)

/** The id of a run: the SHA-256 of its manifest, 64 hexadecimal digits. */
export const run = z.string().max(64)

/** Each character of an address is one byte of JSON. */
const address = z
  .string()
  .max(ADDRESS_LENGTH)
  .regex(/^[!#-[\]-~]+$/)
export const addresses = z.array(address).max(ADDRESSES_MAX)
