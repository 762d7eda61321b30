/** A process that plays the trials that it is given. */
import { serve } from '../jobs/serve.ts'
import { playTrial } from './trial.ts'

serve(playTrial)
