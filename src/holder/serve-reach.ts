/** The services by which members find out whether they reach each other, and by which the coordinator tells them things. */
import { notice, probe, reach } from '../../protocols/reach.ts'
import { probePeers } from '../membership/probe-peers.ts'
import { serveRun } from '../membership/serve-run.ts'
import type { ServiceContext } from './services.ts'

/** Begins to serve. @returns one function for each service, which ends it */
export function serveReach(context: ServiceContext): (() => void)[] {
  const { journal } = context
  return [
    serveRun(context, probe, { serve: async () => ({ answer: {} }) }),
    serveRun(context, reach, {
      serve: async (_, { peers, ...how }) => {
        return { answer: { failures: await probePeers(context, peers, how) } }
      },
    }),
    serveRun(context, notice, {
      serve: async (_, { message }) => {
        journal.write({ type: 'notice', message })
        return { answer: {} }
      },
    }),
  ]
}
