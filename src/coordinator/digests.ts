/** Compares the weights of replicas, which have the same bits (I2). A replica that deviates has to fetch the state again. */
import type { Member } from '../../protocols/membership.ts'
import type { Installed } from '../membership/install.ts'

/** The holders whose weights differ from those of most holders of their stage; of two holders, the later one in the roster. */
export function deviating(installed: readonly Installed[]): { member: Member; reason: string }[] {
  const byStage = Map.groupBy(
    installed.filter(({ digest }) => digest !== null),
    ({ member }) => member.stage,
  )
  return [...byStage].flatMap(([stage, holders]) => {
    const votes = Map.groupBy(holders, ({ digest }) => digest)
    // Sorting keeps the order of equals: with as many holders on either side, the longest-standing holder is right.
    const [right] = [...votes.values()].sort((a, b) => b.length - a.length)
    return holders
      .filter((holder) => !right!.includes(holder))
      .map(({ member }) => ({
        member,
        reason: `its weights of stage ${stage} differ from those of other holders`,
      }))
  })
}
