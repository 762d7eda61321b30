import { z } from 'zod'
import { failureProcess, named } from './process.ts'

export const none = failureProcess({
  name: 'none',
  schema: z.strictObject(named('none')).meta({ description: 'Nothing fails.' }),
  draw: () => [],
  describe: () => 'Nothing fails.',
})
