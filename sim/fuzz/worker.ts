/** A thread that plays the seeds that it is given. */
import { parentPort } from 'node:worker_threads'
import { drawCase } from './case.ts'
import { type Outcome, Play } from './play.ts'

export interface Result extends Pick<Outcome, 'violation' | 'endsLost'> {
  readonly seed: number
}

parentPort?.on('message', async (seeds: number[]) => {
  const results: Result[] = []
  for (const seed of seeds) {
    const { violation, endsLost } = await new Play(drawCase(seed)).run()
    results.push({ seed, violation, endsLost })
  }
  parentPort!.postMessage(results)
})
