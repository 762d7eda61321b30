/** A worker process that plays trials. */
import { serve } from '../jobs/serve.ts'
import { playJob } from './play-job.ts'
import type { PlayTask } from './play-task.ts'

serve(({ play, folder }: PlayTask, onStep) => playJob(play, folder, onStep))
