/** Evaluates the committed weights on held-out text. */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Member } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { evaluate, type ReportQuestion } from '../../protocols/step.ts'
import type { Journal } from '../base/journal.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { memberById, memberOf } from '../membership/roster.ts'
import type { Run } from '../run/run.ts'
import { askDriver } from './ask-driver.ts'
import type { Coordinator } from './coordinator.ts'
import { linksOf, normalOrder, partOf, planJourneys, sends } from './journeys.ts'
import { watchStep } from './step-watch.ts'

export interface EvaluationOptions {
  readonly run: Run
  readonly clock: Clock
  readonly journal: Journal
}

/** Journals the mean loss in nats a token. @throws ProtocolError if a holder or a link fails */
export async function evaluateWeights(
  coordinator: Coordinator,
  { run, clock, journal }: EvaluationOptions,
): Promise<void> {
  const { roster, fence, speeds, links } = coordinator
  const failed = Promise.withResolvers<never>()
  failed.promise.catch(() => {})
  const incident = `evaluation ${fence.epoch}/${fence.step}`
  const hear = async (from: PeerId, report: ReportQuestion) => {
    const { index, code, reason, to } = report
    const journey = journeys[index]
    const sender = memberOf(roster, from)
    if (journey === undefined || sender === undefined || !sends(journey, sender.id, to)) return
    const receiver = to === null ? undefined : memberById(roster, to)
    const broken = receiver && (await links.heard(from, receiver, report, incident))
    failed.reject(
      broken
        ? new ProtocolError('UNREACHABLE', broken)
        : new ProtocolError(code, `${from}: ${reason}`),
    )
  }
  const orders = Array.from({ length: run.evaluation.microbatches }, () => normalOrder(run.stages))
  const journeys = planJourneys(roster, orders, (id) => speeds.of(id))
  const round = coordinator.beginRound((from, report) => void hear(from, report))
  const waitedFor = new Set<Member>()
  const over = new AbortController()
  const watched = {
    waitedFor,
    links: () => linksOf(journeys, coordinator.roster),
    incident,
    fail: (reason: string) => failed.reject(new ProtocolError('UNREACHABLE', reason)),
  }
  void watchStep(coordinator, clock, watched, over.signal)
  const answers = coordinator.holders.map(async (member) => {
    const { peer } = member
    const { expected, drives } = partOf(journeys, member)
    waitedFor.add(member)
    const question = { ...fence, expected }
    const answer = await askDriver(round, peer, evaluate, question, drives, TIMEOUTS.evaluateMs)
    waitedFor.delete(member)
    return answer
  })
  try {
    const answered = await Promise.race([Promise.all(answers), failed.promise])
    const losses = answered.flatMap((answer) => answer.losses)
    const loss = losses.reduce((sum, each) => sum + each.loss, 0) / losses.length
    journal.write({ type: 'evaluation', step: coordinator.roster.committed, loss })
  } finally {
    over.abort()
  }
}
