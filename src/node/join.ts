/** `gensyn-node join`: a node in the real world. The one place that brings libp2p, ONNX Runtime and files together. */
import { existsSync } from 'node:fs'
import { dirname, join as joinPath, resolve } from 'node:path'
import { isAddress } from '../../protocols/address.ts'
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { loadOrCreateIdentity } from '../../protocols/identity.ts'
import { createLibp2pNetwork } from '../../protocols/libp2p.ts'
import type { Network } from '../../protocols/network.ts'
import { chooseProvider, type Provider } from '../../stages/provider.ts'
import { Random } from '../../stages/random.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { createWorkerStage } from '../../stages/worker-stage.ts'
import { tuneCollector } from '../base/collector.ts'
import {
  claimFounder,
  claimSlot,
  forgetRun,
  isOver,
  knownAddresses,
  markOver,
  type Slot,
} from '../base/data-dir.ts'
import { InputError } from '../base/errors.ts'
import { createJournal, type Entry, type Journal, openJournalFile } from '../base/journal.ts'
import type { Terminal } from '../base/terminal.ts'
import { openCheckpoints, openStore } from '../checkpoint/open-store.ts'
import { openRunData, type RunData } from '../data/run-data.ts'
import { describePlan, planOf, refuseWhatCannotFit } from '../holder/memory.ts'
import { openResume, type Resume, resumeAt } from '../holder/resume.ts'
import { discover } from '../membership/discovery.ts'
import type { Finished } from '../membership/member-events.ts'
import { saveStage } from '../model/stage-file.ts'
import { type Run, readRun, runId, stageConfig, writeRun } from '../run/run.ts'
import { untilFarewell } from './farewell.ts'
import { openInitial } from './initial-weights.ts'
import { runNode } from './node.ts'
import type { SpotProvider } from './spot-notice.ts'
import { RunView } from './view.ts'

export interface JoinOptions {
  readonly run: string
  /** Null takes whichever stage needs a holder most. */
  readonly stage: number | null
  readonly bootstrap?: readonly string[] | undefined
  readonly listen: readonly string[]
  readonly mdns: boolean
  readonly provider: Provider | 'auto'
  readonly threads: number
  readonly steps?: number | undefined
  readonly dataDir?: string | undefined
  /** What this peer is likely to be lost together with. */
  readonly domain: string
  /** Whose notice that this machine is taken back is listened for. */
  readonly spot: SpotProvider | 'auto' | 'off'
  readonly spotUrl?: string | undefined
  /** Where the checkpoint lies that the run starts from, if not where the manifest says. */
  readonly weights?: string | undefined
  /** Where checkpoints lie, the same place for all peers of the run: a folder, or s3://BUCKET/PREFIX. */
  readonly checkpoints?: string | undefined
  /** A folder, or s3://BUCKET/PREFIX, with a checkpoint that the swarm goes on from. */
  readonly resume?: string | undefined
  /** Which of its steps; undefined for the last complete one. */
  readonly resumeStep?: number | undefined
  /** Seconds that a coordinator waits for enough members, before the run goes on with fewer stages; undefined: for ever. */
  readonly reshardAfter?: number | undefined
  /** The run may begin anew where it has been before. */
  readonly anew?: boolean | undefined
}

export interface JoinIo {
  readonly terminal: Terminal
  readonly clock: Clock
  readonly signal: AbortSignal
}

export async function join(options: JoinOptions, io: JoinIo): Promise<Finished> {
  const { clock } = io
  const { spot, spotUrl } = options
  return untilFarewell({ clock, spot, spotUrl, signal: io.signal }, (signal) =>
    joinUntil(options, { ...io, signal }),
  )
}

async function joinUntil(options: JoinOptions, io: JoinIo): Promise<Finished> {
  const { clock, signal } = io
  const run = readRun(options.run)
  const id = runId(run)
  const { batch, context } = run.microbatch
  tuneCollector(batch * context * run.model.hiddenSize * Float32Array.BYTES_PER_ELEMENT)
  if (options.stage !== null && options.stage > run.stages) {
    throw new InputError(
      `--stage ${options.stage}: this run has ${run.stages + 1} stages, 0 (the ends) to ${run.stages}.`,
    )
  }
  for (const address of [...options.listen, ...(options.bootstrap ?? [])]) {
    if (isAddress(address)) continue
    throw new InputError(`${address} is no address; one looks like /ip4/127.0.0.1/tcp/4001.`)
  }
  refuseWhatCannotFit(run, options.stage, options.threads, process.availableMemory())
  const { reshardAfter } = options
  if (reshardAfter !== undefined && options.checkpoints === undefined) {
    throw new InputError(
      `--reshard-after ${reshardAfter}: with fewer stages a run goes on from a checkpoint. Say by --checkpoints where they lie, for a run whose recovery.policy names checkpoint.`,
    )
  }
  const { store: checkpoints, savedBy } = await openCheckpoints(run, options.checkpoints, {
    clock,
    env: process.env,
  })
  const initial = await openInitial(run, options)
  const { provider, reason } = await asInput(() => chooseProvider(options.provider))
  const dataDir = options.dataDir ?? joinPath(dirname(resolve(options.run)), '.gensyn')
  if (options.anew) forgetRun(dataDir, id)
  if (isOver(dataDir, id) && options.resume === undefined) {
    io.terminal.line(
      `run ${id.slice(0, 12)} is over: its ${run.steps} steps were made, and what was saved of it is in ${dataDir}. Use \`gensyn-node export\`; or make it once more, with --anew.`,
    )
    return { committed: run.steps, failure: null }
  }
  const slot = claimSlot(dataDir, id)
  // Of the runs that this one may become.
  const closing: (() => void)[] = [() => slot.release()]
  try {
    const identity = await asInput(() => loadOrCreateIdentity(joinPath(slot.path, 'identity.key')))
    const { listen, mdns } = options
    const init = { identity, listen, bootstrap: [], mdns: mdns ? id : null }
    const journalIn = (slot: Slot, run: Run, network: Network): Journal => {
      const file = openJournalFile(joinPath(slot.path, 'journal.jsonl'))
      closing.push(() => file.close())
      return createJournal(network.self, () => clock.now(), [
        file.sink,
        shown(io.terminal, run),
        // Only who is in the run is worth finding.
        ({ type }) => {
          if (ENTERS.has(type)) slot.publish(network.addresses)
          if (type === 'committed') slot.markTookPart()
        },
        (entry) => {
          if (entry.type !== 'finished' || entry.failure !== null) return
          if (entry.committed === run.steps) markOver(dataDir, runId(run))
        },
      ])
    }
    try {
      const network = await asInput(() => createLibp2pNetwork(init, { clock }))
      try {
        const journal = journalIn(slot, run, network)
        const { addresses } = network
        journal.write({ type: 'started', run: id, pid: process.pid, addresses })
        journal.write({ type: 'notice', message: `provider ${provider}: ${reason}` })
        const ids = [id]
        const mayFound = !slot.tookPart || options.resume !== undefined
        if (!mayFound) {
          const message =
            'a process before this one was in the run: it looks for the others, and does not begin the run anew (--anew does, --resume goes on from a checkpoint)'
          journal.write({ type: 'notice', message })
        }
        const discovery = {
          network,
          clock,
          signal,
          bootstrap: options.bootstrap ?? [],
          addressBook: () => ids.flatMap((each) => knownAddresses(dataDir, each)),
          isOver: () => isOver(dataDir, id) && options.resume === undefined,
          claimFounder: () => !mayFound || claimFounder(dataDir, id),
        }
        const resume = await openCheckpoint(run, options, clock, journal)
        let data: RunData | undefined
        /** What depends on the run, which may become another. */
        const belongings = (run: Run, id: string, slot: Slot, journal: Journal) => {
          data = openRunData({
            run,
            runPath: options.run,
            runId: id,
            network,
            journal,
            cacheFolder: joinPath(slot.path, 'shards'),
            signal,
          })
          const { load } = data
          return {
            journal,
            createStage: async (index: number, isSecond?: boolean) => {
              // The plan of the stage that is held counts the second one.
              if (!isSecond) {
                const message = describePlan(index, planOf(run, index, options.threads))
                journal.write({ type: 'notice', message })
              }
              const stage = await createWorkerStage(stageConfig(run), index, {
                provider,
                threads: options.threads,
                random: new Random(run.seed),
              })
              return await initial.load(stage)
            },
            loadData: load,
            save: async (stage: AnyStage, index: number, step: number) =>
              saveStage(slot.path, stage, { run: id, stage: index, step }),
          }
        }
        return await refusedAsInput(() =>
          runNode({
            ...belongings(run, id, slot, journal),
            run,
            runId: id,
            network,
            clock,
            wish: options.stage,
            checkpoints,
            domain: options.domain,
            mayFound,
            discover: async (enter) => {
              const found = await discover(discovery, enter)
              if (found !== null || savedBy === null || resume !== undefined) return found
              throw new InputError(
                `Nobody of this run is here, and ${options.checkpoints} has been saved to with ${savedBy.stages} body stages since: start with the manifest of that run, and --resume.`,
              )
            },
            signal,
            lastStep: Math.min(run.steps, options.steps ?? run.steps),
            resume,
            reshardAfterMs: reshardAfter && reshardAfter * 1000,
            ...(checkpoints !== null && {
              goOn: (run, id, origin) => {
                refuseWhatCannotFit(run, null, options.threads, process.availableMemory())
                data?.close()
                ids.unshift(id)
                const slot = claimSlot(dataDir, id)
                closing.push(() => slot.release())
                const journal = journalIn(slot, run, network)
                journal.write({ type: 'started', run: id, pid: process.pid, addresses })
                const message = keepManifest(options.run, run)
                journal.write({ type: 'notice', message })
                const resume = resumeAt(run, checkpoints, origin)
                return { ...belongings(run, id, slot, journal), resume }
              },
            }),
          }),
        ).finally(() => data?.close())
      } finally {
        await network.stop()
      }
    } finally {
      for (const close of closing.splice(1).reverse()) close()
    }
  } finally {
    for (const close of closing) close()
  }
}

/** Entries of who is in a run. */
const ENTERS: ReadonlySet<Entry['type']> = new Set(['founded', 'joined', 'elected'])

/** Leaves the manifest of the run that this one became beside its own. Gives what is to be said of it. */
function keepManifest(beside: string, run: Run): string {
  const path = joinPath(dirname(beside), `run-${run.stages}-stages.json`)
  try {
    writeRun(path, run, { force: false })
    return `its manifest is ${path}`
  } catch (error) {
    if (existsSync(path) && runId(readRun(path)) === runId(run)) return `its manifest is ${path}`
    return `its manifest is not kept: ${(error as Error).message}`
  }
}

/** @throws InputError if what is to be resumed from is not there, or does not fit */
async function openCheckpoint(
  run: Run,
  { resume, resumeStep: step }: JoinOptions,
  clock: Clock,
  { write }: Journal,
): Promise<Resume | undefined> {
  if (resume === undefined) return undefined
  const notice = (message: string) => write({ type: 'notice', message })
  return openResume(run, openStore(resume, { clock, env: process.env }), { step, notice })
}

function shown(terminal: Terminal, run: Run): (entry: Entry) => void {
  const view = new RunView(run.stages + 1)
  return (entry) => {
    terminal.event(entry)
    for (const text of view.show(entry)) terminal.line(text)
  }
}

/** What the user named is not to be had: a provider, a key file, a port. */
async function asInput<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const names = ['ProviderError', 'IdentityError', 'ListenError']
    if (error instanceof Error && names.includes(error.name)) {
      throw new InputError(error.message, { cause: error })
    }
    throw error
  }
}

/** A swarm that does not let this peer in says why: another run, a stage that is not there, a name that is taken. */
async function refusedAsInput<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof ProtocolError && ['WRONG_RUN', 'REFUSED'].includes(error.code)) {
      throw new InputError(error.message, { cause: error })
    }
    throw error
  }
}
