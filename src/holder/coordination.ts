/** The coordinator's services for other members. The member's services pass questions on to them. */
import type { SavedQuestion } from '../../protocols/checkpoint.ts'
import type { MeetQuestion } from '../../protocols/incarnation.ts'
import type * as membership from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { LearntQuestion, ReportQuestion } from '../../protocols/step.ts'
import type { Standing } from '../membership/incarnation.ts'

export type HelloQuestion = typeof membership.hello.question._output
export type MovedQuestion = typeof membership.moved.question._output

export interface Coordination {
  admit(from: PeerId, question: HelloQuestion): Promise<void> | void
  leave(from: PeerId, reason: string, withinMs: number | null): Promise<void>
  moved(from: PeerId, question: MovedQuestion): void
  report(from: PeerId, question: ReportQuestion): void
  learnt(from: PeerId, question: LearntQuestion): void
  saved(from: PeerId, question: SavedQuestion): void
  /** Another incarnation of the run tells of itself. */
  met(from: PeerId, other: MeetQuestion): void
  /** @throws ProtocolError REFUSED unless this incarnation stays when it meets the other */
  supersede(other: Standing): void
  /** This peer does not coordinate any more: a roster has another ballot, or does not name this peer. */
  depose(reason: string): void
}
