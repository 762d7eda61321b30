/**
 * `npm run bench:erasure`: megabytes of data a second of the Reed-Solomon code, 4 data and 2 parity shards of 1 MiB, beside
 * a plain copy of the same data. The least time of many rounds counts. The program has no bound and no exit code: the ratio
 * of coding to copying depends on how a machine balances arithmetic and memory.
 */
import { availableParallelism, cpus } from 'node:os'
import { encodeParity, reconstruct } from '../src/copies/erasure.ts'
import { Random } from '../stages/random.ts'
import { least, rounded, sideBySide } from './statistics.ts'

const DATA = 4
const PARITY = 2
const SHARD_BYTES = 1 << 20
const ROUNDS = 60

const random = new Random('bench erasure')
const data = Array.from({ length: DATA }, () =>
  Uint8Array.from({ length: SHARD_BYTES }, () => random.integer(256)),
)
const parity = encodeParity(data, PARITY)
const copies = data.map((shard) => new Uint8Array(shard.length))

const seconds = await sideBySide(
  ROUNDS,
  {
    copy: async () => {
      for (const [i, shard] of data.entries()) copies[i]!.set(shard)
    },
    encode: async () => encodeParity(data, PARITY),
    encodeXorAlone: async () => encodeParity(data, 1),
    reconstructTwo: async () => reconstruct([null, null, ...data.slice(2), ...parity], DATA),
    reconstructOneByXor: async () => reconstruct([null, ...data.slice(1), parity[0]!], DATA),
  },
  least,
)

const megabytes = (DATA * SHARD_BYTES) / 1e6
const figures = Object.entries(seconds).map(([name, taken]) => [
  name,
  {
    milliseconds: rounded(taken * 1000),
    megabytesPerSecond: rounded(megabytes / taken),
    shareOfCopy: rounded(seconds.copy / taken),
  },
])
console.log(
  JSON.stringify(
    {
      format: 'gensyn-bench-erasure',
      version: 1,
      machine: {
        cores: availableParallelism(),
        processor: cpus()[0]?.model.trim(),
        node: process.versions.node,
      },
      data: DATA,
      parity: PARITY,
      shardBytes: SHARD_BYTES,
      ...Object.fromEntries(figures),
    },
    null,
    2,
  ),
)
