import { ProtocolError } from '../../protocols/errors.ts'

/**
 * A fault that every coordinator would have: no strategy of the policy is left, or the step fails wherever it is made. It ends
 * the run. Any other error of a coordinator is a fault of that peer, which costs it the coordination.
 */
export class RunFailure extends ProtocolError {
  constructor(message: string) {
    super('REFUSED', message)
  }
}
