/** The second process of loopback.ts: accepts microbatches as a holder does, and reports its processor time. */
import { systemClock } from '../../../protocols/clock.ts'
import { decodeTensor } from '../../../protocols/codec.ts'
import { createLibp2pNetwork } from '../../../protocols/libp2p.ts'
import { microbatch } from '../../../protocols/microbatch.ts'
import { serve } from '../../../protocols/procedure.ts'
import { allFinite } from '../../../src/base/finite.ts'
import { LOOPBACK } from './loopback.ts'

const network = await createLibp2pNetwork(LOOPBACK, { clock: systemClock })
let buffer = new Uint8Array(new SharedArrayBuffer(0))
serve(
  network,
  microbatch,
  {
    accept: (_from, _header, length) => {
      // Calls come one at a time, so one buffer is enough. A holder reuses its buffers too.
      if (buffer.length !== length) buffer = new Uint8Array(new SharedArrayBuffer(length))
      return buffer
    },
    serve: async (_from, { dtype, shape }, body) => {
      const elements = shape.reduce((product, size) => product * size, 1)
      if (body !== undefined) allFinite(decodeTensor(dtype, body, elements))
      return { answer: {} }
    },
  },
  () => {},
)
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send!((user + system) / 1000)
})
process.once('disconnect', () => process.exit())
process.send!(network.addresses[0]!)
