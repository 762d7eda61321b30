/**
 * How the tensors that a stage holds become the tensors of a checkpoint, and back. Without a rule a tensor is saved as it
 * is, and its copies are held to be equal.
 */
import type { Parameter } from './stage.ts'

type Rule =
  /** Every holder has the same; one copy is kept, and one that differs is refused. */
  | { readonly kind: 'replicated' }
  /** Holders may have drifted apart; every copy is kept, and their mean is loaded. */
  | { readonly kind: 'averaged' }
  /** Several tensors in one, along an axis; they are kept apart under names of their own. */
  | {
      readonly kind: 'fused'
      readonly axis: number
      readonly parts: readonly { readonly name: string; readonly length: number }[]
    }
  /** Longer along an axis than it means; what is beyond `length` is not kept, and loaded as zero. */
  | { readonly kind: 'padded'; readonly axis: number; readonly length: number }

export type TensorRule = Rule & {
  /** What a tensor's name matches for the rule to hold. */
  readonly tensors: RegExp
}

export type Copies = 'equal' | 'mean'

/** A tensor of the checkpoint, and where it begins within the stage's tensor. */
export interface Piece {
  readonly name: string
  readonly shape: readonly number[]
  /** One a dimension. */
  readonly at: readonly number[]
  readonly copies: Copies
}

type Held = Pick<Parameter, 'name' | 'shape'>

/** One row a kind of rule. */
const PIECES: {
  readonly [K in Rule['kind']]: (held: Held, rule: Extract<Rule, { kind: K }>) => Piece[]
} = {
  replicated: (held) => [whole(held, 'equal')],
  averaged: (held) => [whole(held, 'mean')],
  fused: ({ name, shape }, { axis, parts }) => {
    let at = 0
    const pieces = parts.map((part): Piece => {
      const piece = {
        name: part.name,
        shape: shape.with(axis, part.length),
        at: shape.map((_, i) => (i === axis ? at : 0)),
        copies: 'equal' as const,
      }
      at += part.length
      return piece
    })
    if (at !== shape[axis]) throw new RangeError(`${name} [${shape}]: its parts make up ${at}`)
    return pieces
  },
  padded: ({ name, shape }, { axis, length }) => {
    if (length > shape[axis]!) throw new RangeError(`${name} [${shape}] has no ${length} to keep`)
    return [whole({ name, shape: shape.with(axis, length) }, 'equal')]
  },
}

function whole({ name, shape }: Held, copies: Copies): Piece {
  return { name, shape, at: shape.map(() => 0), copies }
}

/** @throws RangeError if a rule does not fit the tensor's shape */
export function piecesOf(held: Held, rules: readonly TensorRule[]): Piece[] {
  const rule: Rule = rules.find(({ tensors }) => tensors.test(held.name)) ?? { kind: 'replicated' }
  const row = PIECES[rule.kind] as (held: Held, rule: Rule) => Piece[]
  return row(held, rule)
}
