/**
 * A file as a list of pieces. Some pieces are tensors that are read later. A format orders the pieces. The writer of the file
 * reads a part of a tensor at a time.
 */

export interface TensorPiece {
  /** Name of the tensor in the source. */
  readonly tensor: string
  /** Number of elements. */
  readonly elements: number
  /** `encode` takes multiples of this many elements: a row, a block, a head. Divides `elements`. */
  readonly unit: number
  /** Length in the file, in bytes. */
  readonly length: number
  /** The result may share memory with the argument. */
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
