/**
 * A file as a list of pieces, some of them tensors that are still to be read: a format says what goes where, and
 * whoever writes the file reads no more of a tensor at a time than it wants to hold.
 */

export interface TensorPiece {
  /** By the name it has where it is read from. */
  readonly tensor: string
  /** Elements in all. */
  readonly elements: number
  /** Elements that `encode` takes at a time, or any multiple: a row, a block, a head. Divides `elements`. */
  readonly unit: number
  /** In the file, in bytes. */
  readonly length: number
  /** May share memory with its argument. */
  encode(elements: Float32Array<ArrayBuffer>): Uint8Array
}

export type Piece = Uint8Array | TensorPiece

/** A file by its name within the exported folder. */
export interface PlannedFile {
  readonly name: string
  readonly pieces: readonly Piece[]
}

/** A tensor of a model, by its Hugging Face name. */
export interface ModelTensor {
  readonly name: string
  readonly shape: readonly number[]
}
