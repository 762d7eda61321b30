/** Computes the transfer times of a recovery in the paper's testbed. */
import { PAPER_PROTOCOL } from './iteration.ts'
import { paperLinks } from './regions.ts'

/**
 * Seconds until a new node of each body stage has its neighbours' weights, over the links of its region.
 * Both neighbours send at once. At the ends of the pipeline there is only one neighbour.
 */
export function recoveryTransfers(): number[] {
  const { stages, replicas, gradientBytes: weightBytes } = PAPER_PROTOCOL
  const links = paperLinks('none')
  const seconds = (from: number, to: number) => {
    const { latencyMs, bytesPerMs } = links(from, to)
    return (latencyMs + weightBytes / bytesPerMs) / 1000
  }
  return Array.from({ length: (stages - 1) * replicas }, (_, i) => {
    const node = replicas + i
    const neighbours = [node - replicas, node + replicas].filter(
      (each) => each >= replicas && each < stages * replicas,
    )
    return Math.max(...neighbours.map((each) => seconds(each, node)))
  })
}
