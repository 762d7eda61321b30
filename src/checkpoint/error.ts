/**
 * A checkpoint is damaged, incomplete or of another run. The message names the tensor or file. An earlier step may be
 * usable.
 */
export class CheckpointError extends Error {
  override readonly name = 'CheckpointError'
}
