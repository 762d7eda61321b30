/** A process that plays the swarms that it is given. */
import { serve } from '../jobs/serve.ts'
import { playScale } from './scale/play.ts'
import type { ScaleTask } from './scale-task.ts'

serve(async ({ setting }: ScaleTask) => playScale(setting).trial)
