/** What is said of a checkpoint that cannot be used. */

/** It is damaged, incomplete or another run's; the message names the tensor or file. An earlier step may do. */
export class CheckpointError extends Error {
  override readonly name = 'CheckpointError'
}
