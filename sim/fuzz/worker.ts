/** A worker process that plays the seeds of each batch. */
import { drawCase } from './case.ts'
import { type Outcome, Play } from './play.ts'

export interface Result extends Pick<Outcome, 'violation' | 'endsLost'> {
  readonly seed: number
}

// A parent that ended wants no results.
process.on('disconnect', () => process.exit())
process.on('message', async (seeds: number[]) => {
  const results: Result[] = []
  for (const seed of seeds) {
    const { violation, endsLost } = await new Play(drawCase(seed)).run()
    results.push({ seed, violation, endsLost })
  }
  process.send!(results)
})
