/** A process that plays the trials that it is given. */
import { serve } from '../jobs/serve.ts'
import { playJob } from './play-job.ts'
import type { PlayTask } from './play-task.ts'

serve(({ play, folder }: PlayTask, onStep) => playJob(play, folder, onStep))
