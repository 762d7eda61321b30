/** The parser of `--kill-stage`. */
import { InputError } from '../base/errors.ts'

const WORDS: Readonly<Record<string, (bodyStages: number) => number>> = {
  ends: () => 0,
  first: () => 1,
  middle: (bodyStages) => Math.ceil(bodyStages / 2),
  last: (bodyStages) => bodyStages,
}

/**
 * Stages that are named by numbers or words, separated by commas.
 * @throws InputError if a part does not name a stage of the run
 */
export function stagesToKill(text: string, bodyStages: number): number[] {
  const stages = text.split(',').map((part) => {
    const word = WORDS[part.trim()]
    if (word !== undefined) return word(bodyStages)
    const stage = Number(part)
    if (/^\d+$/.test(part.trim()) && stage <= bodyStages) return stage
    throw new InputError(
      `--kill-stage ${text}: ${JSON.stringify(part)} is none of 0..${bodyStages} or ${Object.keys(WORDS).join(', ')}.`,
    )
  })
  return [...new Set(stages)]
}
