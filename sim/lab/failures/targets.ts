/** Targets of a process: stages or peers, each with its own random stream. */
import { z } from 'zod'
import { InputError } from '../../../src/base/errors.ts'
import type { Random } from '../../../stages/random.ts'
import { thinnedHours } from './draws.ts'
import type { Loss, Place } from './loss.ts'
import { setting } from './process.ts'

export type Target = { readonly stage: number } | { readonly slot: number }

/** Settings of processes that can strike stages or peers. */
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

/**
 * Lists the stages or peers that may fail.
 * @throws InputError if nothing may fail
 */
export function targetsOf(targeting: Targeting, place: Place): Target[] {
  if (targeting.of === 'peer') return Array.from({ length: place.peers }, (_, slot) => ({ slot }))
  return stagesOf(targeting, place)
}

/**
 * Lists the stages that may fail.
 * @throws InputError if no stage may fail
 */
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
 * Draws losses of each target independently, at a hazard that may change with the hour.
 * @param hazardMax upper bound of `hazardAt`, an hour
 * @throws InputError if nothing may fail
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

/** Random stream of a target, which does not depend on the number of targets. */
export function streamOf(random: Random, target: Target): Random {
  return 'stage' in target
    ? random.stream('stage').stream(target.stage)
    : random.stream('slot').stream(target.slot)
}

/** Subject of a description, for example `Each body stage` or `Each peer`. */
export function eachOf({ of, ends, edges }: Omit<Targeting, 'name'>): string {
  if (of === 'peer') return 'Each peer'
  const which = edges ? 'Each body stage' : 'Each body stage but the first and the last'
  return ends ? `${which}, and stage 0,` : which
}
