/**
 * Rules that map the tensors of a stage to the tensors of a checkpoint, and back. A tensor without a rule is saved unchanged,
 * and its copies must be equal.
 */
import type { Parameter } from './stage.ts'

type Rule =
  /** Every holder has the same tensor. One copy is saved, and a different copy is refused. */
  | { readonly kind: 'replicated' }
  /** Copies of the holders may differ. Every copy is saved, and their mean is loaded. */
  | { readonly kind: 'averaged' }
  /** Several tensors joined along an axis. They are saved separately, each with its own name. */
  | {
      readonly kind: 'fused'
      readonly axis: number
      readonly parts: readonly { readonly name: string; readonly length: number }[]
    }
  /** A tensor with padding along an axis. Elements beyond `length` are not saved, and load as zero. */
  | { readonly kind: 'padded'; readonly axis: number; readonly length: number }

export type TensorRule = Rule & {
  /** Names of the tensors of the rule. */
  readonly tensors: RegExp
}

export type Copies = 'equal' | 'mean'

/** A tensor of the checkpoint, and the place of its first element in the stage's tensor. */
export interface Piece {
  readonly name: string
  readonly shape: readonly number[]
  /** Coordinates of the first element, one for each dimension. */
  readonly at: readonly number[]
  readonly copies: Copies
}

type Held = Pick<Parameter, 'name' | 'shape'>

/** Implementation of each kind of rule. */
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
