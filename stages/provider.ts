/** Chooses where ONNX Runtime computes, by trying. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Graph } from './graph.ts'
import { encodeModel } from './onnx.ts'
import { createSession, type SessionOptions } from './session.ts'

export type Provider = SessionOptions['provider']

export interface ProviderChoice {
  readonly provider: Provider
  /** Why this one: a sentence for the journal. */
  readonly reason: string
}

/** A provider that was asked for and is not there; says what is missing and how to get it. */
export class ProviderError extends Error {
  override readonly name = 'ProviderError'
}

/** onnxruntime-node brings no CUDA libraries; its install script fetches these. */
const LIBRARIES = ['libonnxruntime_providers_shared.so', 'libonnxruntime_providers_cuda.so']
const INSTALL = 'node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install'

/** @param wanted 'auto' is CUDA where it works and the CPU elsewhere; 'cuda' throws a ProviderError where it does not. */
export async function chooseProvider(wanted: Provider | 'auto'): Promise<ProviderChoice> {
  if (wanted === 'cpu') return { provider: 'cpu', reason: 'as asked' }
  const obstacle = missingLibraries() ?? (await cudaFailure())
  if (obstacle === undefined) {
    return { provider: 'cuda', reason: wanted === 'cuda' ? 'as asked' : 'CUDA works here' }
  }
  if (wanted === 'cuda') throw new ProviderError(`CUDA cannot be used: ${obstacle}`)
  return { provider: 'cpu', reason: `CUDA cannot be used: ${obstacle}` }
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

async function cudaFailure(): Promise<string | undefined> {
  const graph = new Graph()
  graph.output('y', graph.add('Neg', [graph.float('x', [1])]))
  try {
    const session = await createSession(encodeModel(graph), { provider: 'cuda', threads: 1 })
    await session.release()
    return undefined
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    // The loader says only that it failed; CUDA 12 or cuDNN 9 is missing then.
    const library = join(libraryFolder(), LIBRARIES[1]!)
    return `${reason}; \`ldd ${library} | grep 'not found'\` names what it needs (CUDA 12, cuDNN 9)`
  }
}
