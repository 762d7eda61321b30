/** `gensyn-node doctor`: checks whether a node can run on this machine, and gives a remedy for each problem. */
import { accessSync, constants, mkdirSync, statfsSync } from 'node:fs'
import { availableParallelism, freemem } from 'node:os'
import type { Clock } from '../../protocols/clock.ts'
import { createLibp2pNetwork } from '../../protocols/libp2p.ts'
import { chooseProvider, PROVIDER_NAMES, type Provider } from '../../stages/provider.ts'
import { guardWorks } from '../../stages/session.ts'
import { systemCode } from '../base/errors.ts'
import type { Terminal } from '../base/terminal.ts'

export interface DoctorOptions {
  readonly listen: readonly string[]
  readonly dataDir: string
}

type Verdict = 'good' | 'poor' | 'bad'

/** The result of one check. */
interface Finding {
  readonly verdict: Verdict
  /** Description of the state, for people. */
  readonly found: string
  /** Advice, if the user can improve the state. */
  readonly remedy?: string | undefined
}

type Check = (options: DoctorOptions, clock: Clock) => Promise<Finding> | Finding

/** Free memory below which a useful stage does not fit. */
const MEMORY_BYTES_MIN = 512 * 2 ** 20
/** Free disk space below which weights and journals may not fit. */
const DISK_BYTES_MIN = 256 * 2 ** 20

const CHECKS: Readonly<Record<string, Check>> = {
  node: () => ({
    verdict: 'good',
    found: `${process.versions.node} on ${process.platform} ${process.arch}`,
  }),
  cores: () => ({ verdict: 'good', found: `${availableParallelism()}; --threads takes fewer` }),
  memory: () => {
    const free = freemem()
    const found = `${gib(free)} GiB free`
    if (free >= MEMORY_BYTES_MIN) return { verdict: 'good', found }
    return {
      verdict: 'poor',
      found,
      remedy: 'close other programs, or hold a stage of a smaller model',
    }
  },
  ...Object.fromEntries(
    PROVIDER_NAMES.map((name): [string, Check] => [`onnxruntime (${name})`, () => provider(name)]),
  ),
  'outputs in place': async () =>
    (await guardWorks())
      ? { verdict: 'good', found: 'ONNX Runtime writes into our buffers' }
      : {
          verdict: 'poor',
          found: 'outputs are copied, which costs time',
          remedy: 'use the pinned onnxruntime-node',
        },
  listen: async ({ listen }, clock) => {
    try {
      const network = await createLibp2pNetwork({ listen, bootstrap: [], mdns: null }, { clock })
      const found = network.addresses.join(', ')
      await network.stop()
      return { verdict: 'good', found }
    } catch (error) {
      return { verdict: 'bad', found: (error as Error).message }
    }
  },
  'data directory': ({ dataDir }) => {
    try {
      mkdirSync(dataDir, { recursive: true, mode: 0o700 })
      accessSync(dataDir, constants.W_OK)
      const { bavail, bsize } = statfsSync(dataDir)
      const found = `${dataDir}, ${gib(bavail * bsize)} GiB free`
      if (bavail * bsize >= DISK_BYTES_MIN) return { verdict: 'good', found }
      return { verdict: 'poor', found, remedy: 'free some space, or choose another --data-dir' }
    } catch (error) {
      const found = `${dataDir} cannot be used (${systemCode(error)})`
      return { verdict: 'bad', found, remedy: 'choose another --data-dir' }
    }
  },
}

async function provider(wanted: Provider): Promise<Finding> {
  try {
    const { reason } = await chooseProvider(wanted)
    return { verdict: 'good', found: reason }
  } catch (error) {
    // The CPU is the only provider that a node needs.
    return { verdict: wanted === 'cpu' ? 'bad' : 'poor', found: (error as Error).message }
  }
}

/** Prints the result of each check. Gives true if a node can run on this machine. */
export async function doctor(
  options: DoctorOptions,
  terminal: Terminal,
  clock: Clock,
): Promise<boolean> {
  let able = true
  for (const [name, check] of Object.entries(CHECKS)) {
    const finding = await check(options, clock)
    if (finding.verdict === 'bad') able = false
    terminal.event({ type: 'check', name, ...finding })
    terminal.line(`${finding.verdict.padEnd(6)}${name.padEnd(22)}${finding.found}`)
    if (finding.remedy !== undefined) terminal.line(`${''.padEnd(28)}${finding.remedy}`)
  }
  terminal.line(able ? 'A node can run here.' : 'A node cannot run here: see what is bad above.')
  return able
}

function gib(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(1)
}
