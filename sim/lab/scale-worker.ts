/** A worker process that plays swarms of the mode `scale`. */
import { serve } from '../jobs/serve.ts'
import { playScale } from './scale/play.ts'
import type { ScaleTask } from './scale-task.ts'

serve(async ({ setting }: ScaleTask) => playScale(setting).trial)
