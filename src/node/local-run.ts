/** The local part of a run: a slot in the data directory, a journal, training data and stages. */
import { join } from 'node:path'
import type { Clock } from '../../protocols/clock.ts'
import type { Network } from '../../protocols/network.ts'
import type { Provider } from '../../stages/provider.ts'
import { Random } from '../../stages/random.ts'
import { createWorkerStage } from '../../stages/worker-stage.ts'
import { claimSlot, membersFile, peerFolders, type Slot, STATES } from '../base/data-dir.ts'
import type { Journal } from '../base/journal.ts'
import { type KnownMembers, MembersOnDisk } from '../base/known-members.ts'
import type { Terminal } from '../base/terminal.ts'
import { DirectoryStore } from '../checkpoint/directory-store.ts'
import { StageDisk } from '../checkpoint/stage-disk.ts'
import { openRunData } from '../data/run-data.ts'
import { watchCompute } from '../holder/compute-watchdog.ts'
import { describePlan, planOf } from '../holder/memory.ts'
import { saveFinalStage } from '../model/save-final-stage.ts'
import { type Run, runId, stageConfig } from '../run/run.ts'
import type { InitialWeights } from './initial-weights.ts'
import { openLocalJournal } from './local-journal.ts'
import type { NodeOptions } from './node-options.ts'

/** Options that all runs of a process have in common. */
export interface LocalRunContext {
  /** Path of the manifest that the process was started with. Paths in a manifest are relative to it. */
  readonly runPath: string
  readonly dataDir: string
  readonly initial: InitialWeights
  readonly provider: Provider
  /** Reason for the choice of the provider, for people. */
  readonly providerReason: string
  readonly threads: number
  readonly terminal: Terminal
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Bound of the journal's files, in bytes; undefined for the default. */
  readonly journalBytes?: number | undefined
}

export class LocalRun {
  readonly run: Run
  readonly id: string
  readonly slot: Slot
  readonly #context: LocalRunContext
  #members: MembersOnDisk | null = null
  #tookPart = () => {}
  #closeJournal = () => {}
  #closeData = () => {}

  /**
   * Claims a slot of the run.
   * @throws InputError if the data directory cannot be used, or every slot is taken
   */
  constructor(run: Run, context: LocalRunContext) {
    this.run = run
    this.id = runId(run)
    this.slot = claimSlot(context.dataDir, this.id)
    this.#context = context
  }

  /**
   * Opens the journal of this peer in the run, and writes its first entry.
   * @throws InputError if the file cannot be written
   */
  openJournal(network: Network): Journal {
    const { run, id, slot } = this
    const { dataDir, terminal, clock, journalBytes } = this.#context
    const { journal, tookPart, close } = openLocalJournal({
      run,
      runId: id,
      dataDir,
      slot,
      peer: network.self,
      addresses: network.addresses,
      clock,
      terminal,
      maxBytes: journalBytes,
    })
    this.#tookPart = tookPart
    this.#closeJournal = close
    journal.write({ type: 'started', run: id, pid: process.pid, addresses: network.addresses })
    return journal
  }

  /** Opens the training data, and gives the options of a node that depend on the run. */
  open(
    network: Network,
    journal: Journal,
  ): Pick<NodeOptions, 'journal' | 'createStage' | 'loadData' | 'save' | 'knownMembers' | 'disk'> {
    const { run, id, slot } = this
    const { runPath, initial, provider, threads, signal, clock } = this.#context
    const data = openRunData({
      run,
      runPath,
      runId: id,
      network,
      journal,
      cacheFolder: join(slot.path, 'shards'),
      signal,
    })
    this.#closeData = () => data.close()
    return {
      journal,
      knownMembers: this.#keepMembers(network, journal),
      createStage: async (index, isSecond) => {
        // The memory plan of the held stage includes a second stage.
        if (!isSecond) {
          const message = describePlan(index, planOf(run, index, threads))
          journal.write({ type: 'notice', message })
        }
        const random = new Random(run.seed)
        const options = { provider, threads, random }
        const guard = watchCompute(clock, index)
        return initial.load(await createWorkerStage(stageConfig(run), index, options, guard))
      },
      loadData: data.load,
      disk: new StageDisk({
        store: new DirectoryStore(join(slot.path, STATES)),
        pause: () => clock.sleep(0),
      }),
      save: (stage, index, step) => {
        const label = { run: id, stage: index, step }
        const tell = (message: string) => journal.write({ type: 'notice', message })
        return saveFinalStage(stage, label, { folder: slot.path, clock, tell })
      },
    }
  }

  /** Stops serving the training data. */
  closeData(): void {
    this.#closeData()
    this.#closeData = () => {}
  }

  /** Keeps the latest members on disk, and marks the run's folder once a step is committed. */
  #keepMembers(network: Network, journal: Journal): KnownMembers {
    const { id, slot } = this
    const { dataDir, clock } = this.#context
    const others = peerFolders(dataDir, id).filter((path) => path !== slot.path)
    const members = new MembersOnDisk({
      self: network.self,
      path: membersFile(slot.path),
      others: others.map(membersFile),
      clock,
      failed: (message) => journal.write({ type: 'notice', message }),
    })
    this.#members = members
    return {
      list: () => members.list(),
      keep: (roster) => {
        members.keep(roster)
        if (roster.committed > 0) this.#tookPart()
      },
    }
  }

  /** Closes the journal and releases the slot. */
  close(): void {
    this.#members?.close()
    this.#closeJournal()
    this.slot.release()
  }
}
