/** The options of `gensyn-node join`, and the checks that refuse them before anything is opened. */
import type { Provider } from '../../stages/provider.ts'
import { checkAddresses } from '../base/check-addresses.ts'
import { InputError } from '../base/errors.ts'
import { refuseWhatCannotFit } from '../holder/memory.ts'
import type { Run } from '../run/run.ts'
import type { SpotProvider } from './spot-notice.ts'

export interface JoinOptions {
  /** Path of the manifest. */
  readonly run: string
  /** File with the run's secret; undefined for the file beside the manifest. */
  readonly secretFile?: string | undefined
  /** Stage that the peer insists on; null takes the stage that needs a holder most. */
  readonly stage: number | null
  /** The line that `invite` prints: it brings the manifest, the secret and addresses. */
  readonly invitation?: string | undefined
  /** File with the ids of the only peers that may connect; undefined for all. */
  readonly allow?: string | undefined
  /** Ids of peers that may not connect. */
  readonly ban?: readonly string[] | undefined
  /** Addresses of peers of the run. */
  readonly bootstrap?: readonly string[] | undefined
  /** Addresses to listen on. */
  readonly listen: readonly string[]
  readonly mdns: boolean
  readonly provider: Provider | 'auto'
  readonly threads: number
  /** Step after which the run ends, if this peer is the coordinator; undefined for the run's last step. */
  readonly steps?: number | undefined
  /** Data directory; undefined for `.gensyn` beside the manifest. */
  readonly dataDir?: string | undefined
  /** Bound of the journal's files, in MiB; undefined for the default. */
  readonly journalSize?: number | undefined
  /** Failure domain: a label that peers share if they are likely to be lost together. */
  readonly domain: string
  /** Cloud whose spot notice makes the node leave. */
  readonly spot: SpotProvider | 'auto' | 'off'
  readonly spotUrl?: string | undefined
  /** Folder of the checkpoint that an imported run starts from; undefined for the folder in the manifest. */
  readonly weights?: string | undefined
  /** Store of the run's checkpoints, the same for all peers: a folder, or s3://BUCKET/PREFIX. */
  readonly checkpoints?: string | undefined
  /** Store with a checkpoint from which the swarm starts: a folder, or s3://BUCKET/PREFIX. */
  readonly resume?: string | undefined
  /** Step of this checkpoint; undefined for the last complete one. */
  readonly resumeStep?: number | undefined
  /**
   * Seconds that a coordinator waits for enough members before the run continues with fewer stages; undefined for no
   * limit.
   */
  readonly reshardAfter?: number | undefined
  /** True if the run may start from its beginning although this machine has been in it. */
  readonly anew?: boolean | undefined
}

/**
 * Checks options that a wrong command line would get wrong, and the memory of this machine.
 * @throws InputError that names the option and the remedy
 */
export function checkJoinOptions(run: Run, options: JoinOptions): void {
  const { stage, listen, bootstrap = [], threads, reshardAfter, checkpoints } = options
  if (stage !== null && stage > run.stages) {
    throw new InputError(
      `--stage ${stage}: this run has ${run.stages + 1} stages, 0 (the ends) to ${run.stages}.`,
    )
  }
  checkAddresses([...listen, ...bootstrap])
  refuseWhatCannotFit(run, stage, threads, process.availableMemory())
  if (reshardAfter !== undefined && checkpoints === undefined) {
    throw new InputError(
      `--reshard-after ${reshardAfter}: a run continues with fewer stages from a checkpoint. ` +
        'Name the store of checkpoints by --checkpoints, for a run whose recovery.policy names checkpoint.',
    )
  }
}
