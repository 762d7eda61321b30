/** Every message of every legal run fits the limits of the wire, at its largest. */
import { readdirSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ASSIGNS_MAX, JOINS_MAX, propose } from '../../protocols/agreement.ts'
import {
  decodeDrives,
  decodeLosses,
  drivesBytesMax,
  encodeDrives,
  encodeLosses,
  LOSSES_BYTES_MAX,
} from '../../protocols/drives.ts'
import { checkLimits, encodeHeader } from '../../protocols/frame.ts'
import { DOMAIN_LENGTH, MEMBERS_MAX, type Member } from '../../protocols/membership.ts'
import { ADDRESS_LENGTH, ADDRESSES_MAX, type Json, LIMITS } from '../../protocols/network.ts'
import type { Procedure } from '../../protocols/procedure.ts'
import { HOPS_MAX, type Journey, MICROBATCHES_MAX } from '../../protocols/step.ts'
import { planJourneys } from '../../src/coordinator/journeys.ts'
import { fitting } from '../../src/membership/change-size.ts'
import { runSchema } from '../../src/run/run-schema.ts'
import { largest } from './largest.ts'

const folder = new URL('../../protocols/', import.meta.url)

/** All procedures, by their protocol. */
const procedures = new Map<string, Procedure<unknown, unknown>>()
for (const file of readdirSync(folder)) {
  const module: object = await import(new URL(file, folder).href)
  for (const each of Object.values(module)) {
    if (typeof each?.protocol === 'string' && each.question) procedures.set(each.protocol, each)
  }
}

/** The longest route, which is the one part that a function checks and no schema. */
const route = Array.from({ length: HOPS_MAX }, () => ({ stage: HOPS_MAX, id: 0xffff_ffff }))

/** Procedures whose questions or answers have a change: the sender cuts it (below). */
const WITH_CHANGE = ['propose', 'promise', 'install']

const nameOf = (protocol: string) => protocol.split('/')[2]!

describe('the largest header fits', () => {
  expect(procedures.size).toBeGreaterThan(25)
  test.each([...procedures.keys()].filter((each) => !WITH_CHANGE.includes(nameOf(each))))(
    '%s',
    (protocol) => {
      const { question, answer } = procedures.get(protocol)!
      for (const schema of [question, answer]) {
        const header = largest(schema, () => route)
        expect(schema.safeParse(header).error).toBeUndefined()
        expect(encodeHeader({ header: header as Json }).length).toBeLessThanOrEqual(LIMITS.header)
      }
    },
  )
})

const times = <T>(count: number, item: T): T[] => Array.from({ length: count }, () => item)

const ID = 0xffff_ffff
const addresses = times(ADDRESSES_MAX, 'x'.repeat(ADDRESS_LENGTH))
const newcomer = {
  peer: 'x'.repeat(64),
  session: Number.MAX_SAFE_INTEGER,
  addresses,
  domain: '\u0001'.repeat(DOMAIN_LENGTH),
  host: '2001:0db8:85a3::/48',
}

test('a change of any number of members is cut so that each message with it fits', () => {
  const upTo = (max: number) => fc.oneof(fc.integer({ min: 0, max }), fc.constant(max))
  const counts = fc.tuple(upTo(JOINS_MAX), upTo(4096), upTo(JOINS_MAX), upTo(ASSIGNS_MAX))
  const ballot = { round: Number.MAX_SAFE_INTEGER, id: ID }
  const epoch = Number.MAX_SAFE_INTEGER
  const other = { run: 'x'.repeat(64), ballot, epoch }
  const reason = '\u0001'.repeat(256)
  fc.assert(
    fc.property(counts, ([joins, leaves, moves, assigns]) => {
      const asked = {
        type: 'members' as const,
        join: times(joins, newcomer),
        leave: times(leaves, ID),
        move: times(moves, { id: ID, addresses }),
        assign: times(assigns, { id: ID, stage: HOPS_MAX, ready: false }),
        restart: false,
        reason,
      }
      const change = { ...fitting(asked), coordinator: ID, ballot }
      const accepted = { ballot, epoch, change }
      for (const header of [
        { ...other, change },
        { ...other, promised: true, accepted, reason },
      ]) {
        encodeHeader({ header })
      }
      expect(propose.question.safeParse({ ...other, change }).error).toBeUndefined()
      const isSmall = JSON.stringify(asked).length < LIMITS.header / 2
      if (isSmall) expect(change).toMatchObject(asked)
      // Peers that leave come first: the others can do nothing without a majority.
      if (change.leave.length < leaves) expect([...change.move, ...change.join]).toEqual([])
    }),
    { numRuns: 30 },
  )
})

/** A roster of which only what a plan depends on is real. */
function rosterOf(stages: number, members: number) {
  const entries = Array.from({ length: members }, (_, i): Member => {
    const entry = { peer: `p${i}`, session: 0, addresses: [], domain: '', host: '', ready: true }
    return { ...entry, id: 0xffff_ffff - i, stage: i % (stages + 1) }
  })
  return { members: entries } as never
}

describe('the plan of a step fits its bodies', () => {
  test('for the largest run that the manifest takes', () => {
    const { stages, microbatches } = runSchema.shape
    for (const [setting, most] of [
      [stages, HOPS_MAX],
      [microbatches, MICROBATCHES_MAX],
    ] as const) {
      expect([most, most + 1].map((each) => setting.safeParse(each).success)).toEqual([true, false])
    }
    expect(drivesBytesMax(MICROBATCHES_MAX, HOPS_MAX)).toBeLessThanOrEqual(LIMITS.body)
    checkLimits(0, LOSSES_BYTES_MAX)
  })

  test('for any run, and comes back as it was', () => {
    const runs = fc.record({
      stages: fc.integer({ min: 1, max: 64 }),
      microbatches: fc.integer({ min: 1, max: 256 }),
      spread: fc.integer({ min: 1, max: 4 }),
    })
    fc.assert(
      fc.property(runs, ({ stages, microbatches, spread }) => {
        const members = Math.min(MEMBERS_MAX, (stages + 1) * spread)
        const order = Array.from({ length: stages }, (_, i) => i + 1)
        const orders = Array.from({ length: microbatches }, () => order)
        const drives = planJourneys(rosterOf(stages, members), orders, () => undefined)
        const body = encodeDrives(drives)!
        expect(body.length).toBeLessThanOrEqual(drivesBytesMax(microbatches, stages))
        expect(decodeDrives('peer', body)).toEqual(drives)
      }),
      { numRuns: 12 },
    )
  })

  test('with numbers of any length', () => {
    const longest = Number.MAX_SAFE_INTEGER
    const long: Journey = { index: longest, attempt: longest, driver: longest, route: [] }
    const hops = Array.from({ length: 100 }, () => ({ stage: longest, id: longest }))
    const body = encodeDrives([{ ...long, route: hops }])!
    expect(body.length).toBeLessThanOrEqual(drivesBytesMax(1, 100))
  })

  test('and the losses come back as they were', () => {
    const losses = Array.from({ length: MICROBATCHES_MAX }, (_, index) => ({
      index,
      loss: 1 / (index + 1),
    }))
    expect(decodeLosses('peer', encodeLosses(losses))).toEqual(losses)
    expect(decodeLosses('peer', encodeLosses([]))).toEqual([])
  })

  test.each([
    [
      'drives',
      () => decodeDrives('peer', new TextEncoder().encode('{"routes":[[1]],"drives":[]}')),
    ],
    [
      'drives',
      () => decodeDrives('peer', new TextEncoder().encode('{"routes":[],"drives":[[0,0,0,0]]}')),
    ],
    ['drives', () => decodeDrives('peer', new Uint8Array([255]))],
    ['losses', () => decodeLosses('peer', new Uint8Array(24))],
  ])('malformed %s are refused with the name of the peer', (what, decode) => {
    expect(decode).toThrow(`the ${what} from peer are malformed`)
  })
})
