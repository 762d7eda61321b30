/** Types of tensors: element and dimensions. */

export type DType = 'float32' | 'float16' | 'int32' | 'int64'

export interface Type {
  readonly dtype: DType
  readonly shape: readonly number[]
}

/** Error for a node with invalid operands. The message names the node, its operator and the shapes. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError'
}

export function show(type: Type): string {
  return `${type.dtype} [${type.shape.join(', ')}]`
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, dimension) => size * dimension, 1)
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dimension, i) => dimension === b[i])
}
