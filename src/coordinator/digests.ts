/** Replicas of a stage have the same bits (I2): whose digest differs from its fellows' has to fetch the state anew. */
import type { Member } from '../../protocols/membership.ts'
import type { Installed } from '../membership/install.ts'

/** The holders whose weights are not those of most holders of their stage; of two, the one that came later. */
export function deviating(installed: readonly Installed[]): { member: Member; reason: string }[] {
  const byStage = Map.groupBy(
    installed.filter(({ digest }) => digest !== null),
    ({ member }) => member.stage,
  )
  return [...byStage].flatMap(([stage, holders]) => {
    const votes = Map.groupBy(holders, ({ digest }) => digest)
    // Sorting keeps the order of equals: with as many on either side the longest-standing holder is right.
    const [right] = [...votes.values()].sort((a, b) => b.length - a.length)
    return holders
      .filter((holder) => !right!.includes(holder))
      .map(({ member }) => ({
        member,
        reason: `its weights of stage ${stage} are not its replicas'`,
      }))
  })
}
