/** Which copies of stages the members keep: asked when a stage is lost. */
import { kept } from '../protocols/copies.ts'
import type { Roster } from '../protocols/membership.ts'
import { ask } from '../protocols/procedure.ts'
import type { AgreementOptions } from './agreement.ts'
import { TIMEOUTS } from './limits.ts'
import type { KeptCopy } from './recovery/strategy.ts'

/** Who does not answer has none. A copy of a step that was never decided does not count. */
export async function inventory(
  { network, runId, signal }: AgreementOptions,
  { members, committed }: Roster,
): Promise<KeptCopy[]> {
  const options = { timeoutMs: TIMEOUTS.rosterMs, signal }
  const answers = await Promise.allSettled(
    members.map(async ({ peer }) => {
      const { copies } = await ask(network, peer, kept, { run: runId }, options)
      return copies.map((copy) => ({ ...copy, peer }))
    }),
  )
  const told = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
  return told.filter(({ step }) => step <= committed)
}
