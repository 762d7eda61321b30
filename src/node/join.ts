/** `gensyn-node join`: a node in the real world. This module brings libp2p, ONNX Runtime and files together. */
import { existsSync } from 'node:fs'
import { dirname, join as joinPath, resolve } from 'node:path'
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { loadOrCreateIdentity } from '../../protocols/identity.ts'
import { createLibp2pNetwork } from '../../protocols/libp2p.ts'
import type { Claim } from '../../protocols/membership.ts'
import type { Network } from '../../protocols/network.ts'
import { chooseProvider } from '../../stages/provider.ts'
import { tuneCollector } from '../base/collector.ts'
import { claimFounder, forgetRun, isOver, knownAddresses, tookPart } from '../base/data-dir.ts'
import { InputError } from '../base/errors.ts'
import type { Journal } from '../base/journal.ts'
import type { Terminal } from '../base/terminal.ts'
import { type Checkpoints, openCheckpoints, openStore } from '../checkpoint/open-store.ts'
import type { Store } from '../checkpoint/store.ts'
import { refuseWhatCannotFit } from '../holder/memory.ts'
import { openResume, type Resume, resumeAt } from '../holder/resume.ts'
import { type DiscoveryOptions, discover, type Seeking } from '../membership/discovery.ts'
import type { Finished } from '../membership/member-events.ts'
import { type Door, doorOf, readSecretOf } from '../run/door.ts'
import {
  acceptInvitation,
  decodeInvitation,
  encodeInvitation,
  type Invitation,
  isLocal,
} from '../run/invitation.ts'
import { type Run, readRun, runId, writeRun } from '../run/run.ts'
import { withDepartureSignal } from './departure-signal.ts'
import { openInitial } from './initial-weights.ts'
import { checkJoinOptions, type JoinOptions } from './join-options.ts'
import { LocalRun, type LocalRunContext } from './local-run.ts'
import { runNode } from './node.ts'
import type { NodeOptions, OpenSuccessor } from './node-options.ts'
import { PeerGate } from './peer-gate.ts'
import { Strangers } from './strangers.ts'

export interface JoinIo {
  readonly terminal: Terminal
  readonly clock: Clock
  /** Aborts when the user stops the node. */
  readonly signal: AbortSignal
}

/**
 * Joins a run, or founds it, and trains until its end.
 * @throws InputError if an option, a file or another peer refuses this node
 */
export async function join(options: JoinOptions, io: JoinIo): Promise<Finished> {
  const { clock } = io
  const { spot, spotUrl } = options
  return withDepartureSignal({ clock, spot, spotUrl, signal: io.signal }, (signal) =>
    joinRun(options, { ...io, signal }),
  )
}

/** The options with what the invitation brings, whose manifest and secret are written first. */
function withInvitation(options: JoinOptions): JoinOptions {
  if (options.invitation === undefined) return options
  const invitation = decodeInvitation(options.invitation)
  acceptInvitation(invitation, options.run)
  return { ...options, bootstrap: [...(options.bootstrap ?? []), ...invitation.addresses] }
}

async function joinRun(given: JoinOptions, io: JoinIo): Promise<Finished> {
  const { clock, terminal } = io
  const options = withInvitation(given)
  const run = readRun(options.run)
  const id = runId(run)
  const secret = readSecretOf(run, options.run, options.secretFile)
  const { microbatch, model } = run
  const tokens = microbatch.batch * microbatch.context
  tuneCollector(tokens * model.hiddenSize * Float32Array.BYTES_PER_ELEMENT)
  checkJoinOptions(run, options)
  const checkpoints = await openCheckpoints(run, options.checkpoints, { clock, env: process.env })
  const initial = await openInitial(run, options)
  const { provider, reason } = await asInput(() => chooseProvider(options.provider))
  const dataDir = options.dataDir ?? joinPath(dirname(resolve(options.run)), '.gensyn')
  if (options.anew) forgetRun(dataDir, id)
  if (isOver(dataDir, id) && options.resume === undefined) {
    terminal.line(
      `run ${id.slice(0, 12)} is over: all ${run.steps} steps are done, and its saved stages are in ${dataDir}. Export them with \`gensyn-node export\`, or start the run again with --anew.`,
    )
    return { committed: run.steps, failure: null }
  }
  const context: LocalRunContext = {
    ...io,
    runPath: options.run,
    dataDir,
    initial,
    provider,
    providerReason: reason,
    threads: options.threads,
    journalBytes: options.journalSize && options.journalSize * 1024 ** 2,
  }
  /** This run, and its successors in their order. */
  const localRuns = [new LocalRun(run, context)]
  try {
    const strangers = new Strangers(clock)
    const door = { ...doorOf(run, secret), strangers, clock }
    const network = await openNetwork(localRuns[0]!, options, door)
    try {
      const node = await nodeOptions(options, network, localRuns, context, {
        ...checkpoints,
        secret,
      })
      strangers.tell(node.journal)
      return await refusedAsInput(() => runNode(node))
    } finally {
      localRuns.at(-1)!.closeData()
      await network.stop()
    }
  } finally {
    for (const each of localRuns.reverse()) each.close()
  }
}

/** Opens the journal and the data of the first run, and gives the options of its node. */
async function nodeOptions(
  options: JoinOptions,
  network: Network,
  localRuns: LocalRun[],
  context: LocalRunContext,
  { store, savedBy, secret }: Checkpoints & { readonly secret: string | null },
): Promise<NodeOptions> {
  const [first] = localRuns as [LocalRun]
  const { run, id } = first
  const { clock, signal, dataDir, provider, providerReason } = context
  const { stage, domain, reshardAfter } = options
  const journal = first.openJournal(network)
  journal.write({ type: 'notice', message: `provider ${provider}: ${providerReason}` })
  const claim = claimOf(options, tookPart(dataDir, id))
  if (claim === 'never') journal.write({ type: 'notice', message: TOOK_PART })
  const resume = await openCheckpoint(run, options, clock, journal)
  const search: Omit<DiscoveryOptions, keyof Seeking> = {
    network,
    clock,
    bootstrap: options.bootstrap ?? [],
    addressBook: () => localRuns.toReversed().flatMap((each) => knownAddresses(dataDir, each.id)),
    isOver: () => isOver(dataDir, id) && resume === undefined,
    claimFounder: () => claimFounder(dataDir, id),
  }
  return {
    ...first.open(network, journal),
    run,
    runId: id,
    network,
    clock,
    signal,
    wish: stage,
    checkpoints: store,
    domain,
    claim,
    places: () => [...search.bootstrap, ...search.addressBook()],
    lastStep: Math.min(run.steps, options.steps ?? run.steps),
    resume,
    reshardAfterMs: reshardAfter && reshardAfter * 1000,
    async discover(enter, seeking) {
      const found = await discover({ ...search, ...seeking }, enter)
      if (found === null) tellInvitation({ run, secret, addresses: network.addresses }, context)
      if (found !== null || savedBy === null || resume !== undefined) return found
      throw new InputError(
        `No peer of this run was found, and ${options.checkpoints} contains checkpoints of its successor with ${savedBy.stages} body stages: start with the manifest of that run, and --resume.`,
      )
    },
    ...(store !== null && { openSuccessor: successorOpener(store, network, localRuns, context) }),
  }
}

/** The founder tells how others join. */
function tellInvitation(invitation: Invitation, { terminal }: LocalRunContext): void {
  // Peers of this machine find the founder by the data directory.
  if (invitation.addresses.every(isLocal)) return
  const line = encodeInvitation(invitation)
  terminal.line(`Others join with this line:\n  gensyn-node join ${line}`)
}

/** How much this process may found the run. @param isFormer true if a process with this data directory was in the run */
function claimOf({ anew, resume, bootstrap = [] }: JoinOptions, isFormer: boolean): Claim {
  if (anew || resume !== undefined) return 'insists'
  if (isFormer) return 'never'
  return bootstrap.length > 0 ? 'last' : 'may'
}

/** Notice of a peer that may not found the run. */
const TOOK_PART =
  'this data directory was in the run before, so this process searches for the run and does not found it again. If nobody is in the run any more, those who come back continue it from their disks. --anew starts the run from its beginning, --resume starts it from a checkpoint'

/** @throws InputError if the key file or an address to listen on cannot be used */
async function openNetwork(
  { slot }: LocalRun,
  { listen, mdns, allow, ban = [] }: JoinOptions,
  { prologue, group, strangers, clock }: Door & { strangers: Strangers; clock: Clock },
): Promise<Awaited<ReturnType<typeof createLibp2pNetwork>>> {
  return asInput(async () => {
    const identity = await loadOrCreateIdentity(joinPath(slot.path, 'identity.key'))
    const gate = new PeerGate(allow, ban)
    const admits = (peer: string) => gate.admits(peer)
    const refused = () => strangers.refused()
    const mdnsGroup = mdns ? group : null
    const init = { identity, listen, bootstrap: [], mdns: mdnsGroup, prologue, admits, refused }
    return createLibp2pNetwork(init, { clock })
  })
}

/** Opens a successor of the run: a slot, a journal and data of its own, and the checkpoint that it starts from. */
function successorOpener(
  store: Store,
  network: Network,
  localRuns: LocalRun[],
  context: LocalRunContext,
): OpenSuccessor {
  return (run, _, origin) => {
    const { runPath, threads } = context
    refuseWhatCannotFit(run, null, threads, process.availableMemory())
    localRuns.at(-1)!.closeData()
    const successor = new LocalRun(run, context)
    localRuns.push(successor)
    const journal = successor.openJournal(network)
    journal.write({ type: 'notice', message: keepManifest(runPath, run) })
    return { ...successor.open(network, journal), resume: resumeAt(run, store, origin) }
  }
}

/** Writes the manifest of a successor run beside the manifest `beside`. Gives the notice for the journal. */
function keepManifest(beside: string, run: Run): string {
  const path = joinPath(dirname(beside), `run-${run.stages}-stages.json`)
  try {
    writeRun(path, run, { force: false })
    return `its manifest is ${path}`
  } catch (error) {
    if (existsSync(path) && runId(readRun(path)) === runId(run)) return `its manifest is ${path}`
    return `its manifest was not written: ${(error as Error).message}`
  }
}

/** @throws InputError if the checkpoint of --resume is missing, or does not fit the run */
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

/** Turns the error of a provider, a key file or a port that the user named into an InputError. */
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

/** Turns the swarm's refusal of this peer into an InputError. The message gives the reason. */
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
