/**
 * Mistakes that are planted to check that the fuzzer finds them. Each mistake removes or changes a line that keeps an
 * invariant. `plant.ts` changes the module as it is loaded, and changes no file.
 */
import { readFileSync } from 'node:fs'
import type { CalamityName } from './calamities.ts'

interface Edit {
  /** Path of the file below `src/`. */
  readonly file: string
  /** Text that occurs in the file exactly once. */
  readonly find: string
  readonly replace: string
}

interface Planted {
  /** The invariant that the mistake breaks. */
  readonly breaks: string
  /** Calamity without which the mistake does nothing. Other histories are not played. */
  readonly calamity?: CalamityName
  readonly edits: readonly Edit[]
}

/** The planted mistakes by name. */
export const PLANTED: Readonly<Record<string, Planted>> = {
  'a microbatch that is driven again counts again': {
    breaks: 'I1',
    edits: [
      edit(
        'holder/microbatch-executor.ts',
        'const count = !step.isCounted(index)',
        'const count = true',
      ),
    ],
  },
  'a restarted step keeps its sums': {
    breaks: 'I1',
    edits: [edit('holder/active-stage.ts', 'await this.stage.zeroGradients()', '')],
  },
  'a replica applies its own sum, not the total': {
    breaks: 'I1',
    edits: [
      edit(
        'holder/stage-replica.ts',
        'if (sums !== this.stage.sums) this.stage.sums.set(sums)',
        '',
      ),
    ],
  },
  'a new replica keeps its initial weights': {
    breaks: 'I2',
    edits: [
      edit(
        'holder/gather.ts',
        'if (weights !== stage.weights) await',
        'if (weights === undefined) await',
      ),
    ],
  },
  'messages of another incarnation are taken': {
    breaks: 'I3',
    edits: [
      edit(
        'membership/incarnation.ts',
        'run: run === this.#id ? this.#runId : foreign',
        'run: [this.#id, foreign].length > 0 ? this.#runId : run',
      ),
    ],
  },
  'any number of members is a majority': {
    breaks: 'I3',
    edits: [
      edit('membership/roster.ts', 'if (2 * ids.size < voting.size) return false', ''),
      edit('membership/roster.ts', 'return 2 * present > voting.size', 'return present > 0'),
    ],
  },
  'a member forgets what it has promised': {
    breaks: 'I3',
    edits: [
      edit(
        'membership/acceptor.ts',
        'if (compareBallots(ballot, this.#promised) < 0) return answer(false)',
        '',
      ),
    ],
  },
  'a member does not tell what it has accepted': {
    breaks: 'I3',
    edits: [
      edit(
        'membership/acceptor.ts',
        "accepted: reason === '' ? this.#accepted : null",
        'accepted: null',
      ),
    ],
  },
  'a coordinator goes on under the ballot of another': {
    breaks: 'I3',
    edits: [
      edit(
        'membership/succession.ts',
        'choose(options, before, ballot, change)',
        'choose(options, before, before.ballot, change)',
      ),
    ],
  },
  'a lost coordinator is never replaced': {
    breaks: 'I4',
    edits: [
      edit(
        'membership/coordinator-monitor.ts',
        'if (this.hearsCoordinator) {',
        'if (this.hearsCoordinator || !this.hearsCoordinator) {',
      ),
    ],
  },
  'who was let in and never heard of it is not told again': {
    breaks: 'I4',
    edits: [
      edit('membership/agreement.ts', "else if (error.code === 'STALE') await behind()", ''),
      edit(
        'membership/campaign.ts',
        "if (error instanceof ProtocolError && error.code === 'STALE') {",
        'if (signal.aborted) {',
      ),
      edit(
        'coordinator/roster-changes.ts',
        'Math.min(JOINS_MAX, left)',
        'left < 0 ? 0 : JOINS_MAX',
      ),
    ],
  },
  'members without a majority wait for ever': {
    breaks: 'I4',
    calamity: 'majorityLost',
    edits: [
      edit(
        'holder/founding.ts',
        "if (run.majority === 'goOn' && ms",
        "if (run.majority === '' && ms",
      ),
    ],
  },
  'incarnations that meet stay apart': {
    breaks: 'I4',
    calamity: 'split',
    edits: [
      edit(
        'coordinator/meeting.ts',
        'if (coordinator === null || isOwn ||',
        'if (coordinator !== undefined || isOwn ||',
      ),
    ],
  },
  'nobody goes on from the disks': {
    breaks: 'I4',
    calamity: 'everybodyLost',
    edits: [edit('holder/returning.ts', 'while (this.#isSearching) {', 'while (disk === null) {')],
  },
  'a connection that was just made is ended': {
    breaks: 'I4',
    edits: [
      edit(
        'membership/sign-of-life.ts',
        'network.disconnect(peer, TIMEOUTS.standingMs)',
        'network.disconnect(peer)',
      ),
    ],
  },
  'nobody is blamed for wrong numbers': {
    breaks: 'I1',
    edits: [
      edit(
        'coordinator/step-faults.ts',
        "new Set(['NON_FINITE', 'INTERNAL', 'WRONG_SHAPE'])",
        "new Set(['WRONG_SHAPE'])",
      ),
    ],
  },
  'an inbox grows without a limit': {
    breaks: 'I5',
    edits: [
      edit(
        'holder/inbox.ts',
        'if (this.#waiting.length >= this.#capacity) {',
        'if (this.#waiting.length < 0) {',
      ),
      edit(
        'holder/inbox.ts',
        'this.#waiting.push(work)',
        'for (let i = work.tensor === null ? 99 : 1; i > 0; i--) this.#waiting.push(work)',
      ),
    ],
  },
  'work of any step and epoch is taken': {
    breaks: 'I6',
    edits: [
      edit(
        'holder/step-progress.ts',
        'if (epoch !== fence.epoch || step !== fence.step) {',
        'if (epoch < 0) {',
      ),
      edit(
        'holder/pipeline.ts',
        'if (!step.isCurrent || !step.isLatest(header)) return\n    const {',
        'const {',
      ),
    ],
  },
  'a step trains on the text of another': {
    breaks: 'I7',
    edits: [
      edit(
        'holder/microbatch-executor.ts',
        'this.#data.training(header.step, index)',
        'this.#data.training(header.step - 1, index)',
      ),
    ],
  },
  'what is refused is not written down': {
    breaks: 'I8',
    edits: [
      edit(
        'membership/serve-run.ts',
        "journal.write({ type: 'refused', from, protocol, code, reason })",
        'void [journal, from, protocol, code, reason]',
      ),
    ],
  },
  'what is committed is not written down': {
    breaks: 'I9',
    edits: [
      edit(
        'holder/stage-follower.ts',
        "this.#options.journal.write({ type: 'committed', step, stage, loss, ...update })",
        'void update',
      ),
    ],
  },
}

function edit(file: string, find: string, replace: string): Edit {
  return { file, find, replace }
}

/** A module's text with the mistakes of a row in it. @throws Error if a line to be changed does not occur exactly once */
export function planted(name: string, file: string, text: string): string {
  let changed = text
  for (const { find, replace } of PLANTED[name]!.edits.filter((each) => each.file === file)) {
    const parts = changed.split(find)
    if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} times: ${find}`)
    changed = parts.join(replace)
  }
  return changed
}

/** Applies each row to the present text of its file. @throws Error as `planted` does */
export function checkPlanted(): void {
  for (const [name, { edits }] of Object.entries(PLANTED)) {
    for (const { file } of edits) {
      planted(name, file, readFileSync(new URL(`../../src/${file}`, import.meta.url), 'utf8'))
    }
  }
}
