/** The error of a step whose data is at fault. */
import { ProtocolError } from '../../protocols/errors.ts'
import type { PeerId } from '../../protocols/network.ts'

/** Sound holders cannot compute some microbatches of a step: several holders of a stage failed on each, or one failed on no other. */
export class BatchFault extends ProtocolError {
  /** Indices of the microbatches; empty if only the sum of all is known to be at fault. */
  readonly microbatches: readonly number[]
  /** Peers that failed on them. */
  readonly producers: readonly PeerId[]

  constructor(
    code: ProtocolError['code'],
    message: string,
    microbatches: readonly number[],
    producers: readonly PeerId[],
  ) {
    super(code, message)
    this.microbatches = microbatches
    this.producers = producers
  }
}
