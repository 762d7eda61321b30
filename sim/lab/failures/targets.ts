/** What a process strikes: stages or peers, each with a random stream of its own. */
import { z } from 'zod'
import { InputError } from '../../../src/base/errors.ts'
import type { Random } from '../../../stages/random.ts'
import { thinnedHours } from './draws.ts'
import type { Loss, Place } from './loss.ts'
import { setting } from './process.ts'

export type Target = { readonly stage: number } | { readonly slot: number }

/** What processes that strike stages and peers alike ask for. */
interface Targeting {
  readonly name: string
  readonly of: 'stage' | 'peer'
  readonly ends: boolean
  readonly edges: boolean
}

export const stageFields = {
  ends: setting(
    z.boolean().default(false),
    '',
    'true: stage 0, which is the embeddings and the head, fails like the others. For stages only.',
  ),
  edges: setting(
    z.boolean().default(true),
    '',
    'true: the first and the last body stage fail like the others. Plain CheckFree cannot average these stages. For stages only.',
  ),
}

export const targetFields = {
  of: setting(
    z.enum(['stage', 'peer']),
    '',
    'What fails: `stage`, all holders of a stage at once; or `peer`, a single peer.',
  ),
  ...stageFields,
}

export const PEERS_HAVE_NO_ENDS = {
  message: '`ends` and `edges` are about stages; leave them out where peers fail',
}

export function endsFit({ of, ends, edges }: Omit<Targeting, 'name'>): boolean {
  return of === 'stage' || (!ends && edges)
}

/** @throws InputError if nothing is left that may fail */
export function targetsOf(targeting: Targeting, place: Place): Target[] {
  if (targeting.of === 'peer') return Array.from({ length: place.peers }, (_, slot) => ({ slot }))
  return stagesOf(targeting, place)
}

/** @throws InputError if no stage is left that may fail */
export function stagesOf(
  { name, ends, edges }: Omit<Targeting, 'of'>,
  { stages }: Place,
): { stage: number }[] {
  const all = Array.from({ length: stages + 1 }, (_, stage) => ({ stage }))
  const failing = all.filter(({ stage }) =>
    stage === 0 ? ends : edges || (stage > 1 && stage < stages),
  )
  if (failing.length > 0) return failing
  throw new InputError(
    `Failures ${name}: of ${stages} body stages the first and the last are all there are, and edges is false. Take three stages or more, or set edges to true.`,
  )
}

/**
 * Each of the targets fails by itself, at a hazard that may change with the hour.
 * @param hazardMax an hour: no hour has a higher one
 * @throws InputError if nothing is left that may fail
 */
export function lossesAt(
  targeting: Targeting,
  { place, random }: { readonly place: Place; readonly random: Random },
  hazardMax: number,
  hazardAt: (hour: number) => number,
): Loss[] {
  return targetsOf(targeting, place).flatMap((target) =>
    thinnedHours(streamOf(random, target), place.hours, hazardMax, hazardAt).map((hours) => ({
      hours,
      ...target,
    })),
  )
}

/** Depends on the target alone, not on how many others there are. */
export function streamOf(random: Random, target: Target): Random {
  return 'stage' in target
    ? random.stream('stage').stream(target.stage)
    : random.stream('slot').stream(target.slot)
}

/** For descriptions: `Each body stage`, `Each of the peers`. */
export function eachOf({ of, ends, edges }: Omit<Targeting, 'name'>): string {
  if (of === 'peer') return 'Each peer'
  const which = edges ? 'Each body stage' : 'Each body stage but the first and the last'
  return ends ? `${which}, and stage 0,` : which
}
