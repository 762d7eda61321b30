/** Fetches chunks of gradient sums from other holders, and checks them. */
import { askAfresh } from '../../protocols/ask-afresh.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { gradients } from '../../protocols/step.ts'
import { bytesOf, checkHash, intoChunk } from '../../protocols/weights.ts'
import { allFinite } from '../base/finite.ts'
import type { Fence } from './step-progress.ts'

export interface FetchContext {
  readonly network: Network
  /** The peer behind a member's id; undefined if it is not in the roster. */
  peerOf(id: number): PeerId | undefined
}

/**
 * Makes the `fetch` of `reduceSums` for one stage and one version of a step's plan.
 * @param timeoutMs deadline of each chunk
 */
export function fetchGradients(
  { network, peerOf }: FetchContext,
  stage: number,
  fence: Fence & { readonly version: number },
  timeoutMs: number,
) {
  return async (
    from: number,
    kind: 'sum' | 'total',
    offset: number,
    into: Float32Array,
  ): Promise<void> => {
    const peer = peerOf(from)
    if (peer === undefined) throw new ProtocolError('NOT_MEMBER', `member ${from} is gone`)
    const what = `${kind} of stage ${stage} from ${peer}, elements from ${offset}`
    const question = { ...fence, stage, kind, offset, length: into.length }
    const options = { timeoutMs, accept: intoChunk(what, bytesOf(into)) }
    const { sha256 } = await askAfresh(network, peer, gradients, question, options)
    checkHash(what, bytesOf(into), sha256)
    if (!allFinite(into)) throw new ProtocolError('NON_FINITE', `${what}: not finite`)
  }
}
