/** Chooses the execution provider of ONNX Runtime by trying it. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Graph } from './graph.ts'
import { encodeModel } from './onnx.ts'
import { createSession, type SessionOptions } from './session.ts'

export type Provider = SessionOptions['provider']

export interface ProviderChoice {
  readonly provider: Provider
  /** Reason of the choice, for the journal. */
  readonly reason: string
}

/** Error for a requested provider that does not work. The message says what is missing and how to install it. */
export class ProviderError extends Error {
  override readonly name = 'ProviderError'
}

/** CUDA libraries that the install script of onnxruntime-node downloads. */
const LIBRARIES = ['libonnxruntime_providers_shared.so', 'libonnxruntime_providers_cuda.so']
const INSTALL = 'node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install'

interface Row {
  readonly title: string
  /** Missing requirement that can be found without a session; undefined if there is none. */
  readonly missing: () => string | undefined
  /** Advice for a session that cannot be created, since the error of the loader has no cause. */
  readonly remedy: () => string
  /** True if `auto` may choose the provider. WebGPU computes matrix products with a batch on the CPU, so `auto` omits it. */
  readonly automatic: boolean
}

const PROVIDERS: Readonly<Record<Exclude<Provider, 'cpu'>, Row>> = {
  cuda: {
    title: 'CUDA',
    missing: missingLibraries,
    remedy: () =>
      `\`ldd ${join(libraryFolder(), LIBRARIES[1]!)} | grep 'not found'\` names what it needs (CUDA 12, cuDNN 9)`,
    automatic: true,
  },
  webgpu: {
    title: 'WebGPU',
    missing: () => undefined,
    remedy: () =>
      'it needs a graphics driver; on Linux libvulkan.so.1 (package libvulkan1) and the Vulkan driver of the card',
    automatic: false,
  },
}

export const PROVIDER_NAMES: readonly Provider[] = [
  'cpu',
  ...(Object.keys(PROVIDERS) as Exclude<Provider, 'cpu'>[]),
]

/** @param wanted 'auto' is CUDA if it works, and otherwise the CPU. @throws ProviderError for a name that does not work */
export async function chooseProvider(wanted: Provider | 'auto'): Promise<ProviderChoice> {
  if (wanted === 'cpu') return { provider: 'cpu', reason: 'as asked' }
  if (wanted !== 'auto') {
    const obstacle = await obstacleTo(wanted)
    if (obstacle === undefined) return { provider: wanted, reason: 'as asked' }
    throw new ProviderError(`${PROVIDERS[wanted].title} cannot be used: ${obstacle}`)
  }
  const reasons: string[] = []
  for (const [name, { title, automatic }] of Object.entries(PROVIDERS)) {
    if (!automatic) continue
    const obstacle = await obstacleTo(name as keyof typeof PROVIDERS)
    if (obstacle === undefined) return { provider: name as Provider, reason: `${title} works here` }
    reasons.push(`${title} cannot be used: ${obstacle}`)
  }
  return { provider: 'cpu', reason: reasons.join('; ') }
}

async function obstacleTo(provider: keyof typeof PROVIDERS): Promise<string | undefined> {
  const { missing, remedy } = PROVIDERS[provider]
  const absent = missing()
  if (absent !== undefined) return absent
  const graph = new Graph()
  graph.output('y', graph.add('Neg', [graph.float('x', [1])]))
  try {
    const session = await createSession(encodeModel(graph), { provider, threads: 1 })
    await session.release()
    return undefined
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    // The message begins with a place in ONNX Runtime's source, which is left out.
    const reason = message.split('was false. ').at(-1)!.trim()
    return `${reason}; ${remedy()}`
  }
}

function missingLibraries(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return `onnxruntime-node has it for Linux x64 only, this is ${process.platform} ${process.arch}`
  }
  const folder = libraryFolder()
  const missing = LIBRARIES.filter((library) => !existsSync(join(folder, library)))
  if (missing.length === 0) return undefined
  return `${missing.join(' and ')} not found in ${folder}; install with \`${INSTALL}\``
}

function libraryFolder(): string {
  const manifest = createRequire(import.meta.url).resolve('onnxruntime-node/package.json')
  return join(dirname(manifest), 'bin', 'napi-v6', 'linux', 'x64')
}
