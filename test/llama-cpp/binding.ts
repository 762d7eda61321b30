/**
 * Installs the Node binding of llama.cpp in a folder of its own. As a dev dependency it would add a gigabyte to `npm ci`. It
 * names packages for each platform and GPU, and npm installs all that fit the machine. This installs only the binding and
 * the prebuilt CPU binary, 85 MB. No install script runs, so that nothing is fetched from outside npm.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const VERSION = '3.22.1'

const BINARIES: Readonly<Record<string, string>> = {
  'linux x64': 'linux-x64',
  'linux arm64': 'linux-arm64',
  'darwin arm64': 'mac-arm64-metal',
  'darwin x64': 'mac-x64',
  'win32 x64': 'win-x64',
  'win32 arm64': 'win-arm64',
}

const FOLDER = fileURLToPath(new URL('../../node_modules/.cache/llama-cpp', import.meta.url))

type Token = number

/** The used part of the binding. */
export interface Llama {
  loadModel(options: { modelPath: string }): Promise<LlamaModel>
}

export interface LlamaModel {
  tokenize(text: string, special?: boolean): Token[]
  createContext(options: {
    contextSize: number
    flashAttention: boolean
    threads: number
    experimentalKvCacheKeyType: 'F32'
    experimentalKvCacheValueType: 'F32'
  }): Promise<{ getSequence(): LlamaSequence }>
  dispose(): Promise<void>
}

interface LlamaSequence {
  clearHistory(): Promise<void>
  evaluate(tokens: readonly Token[], options: { temperature: number }): AsyncIterable<Token>
  controlledEvaluate(
    tokens: readonly [Token, { generateNext: { logits: true } }][],
  ): Promise<{ next: { logits: Map<Token, number> } }[]>
}

export async function loadLlamaCpp(): Promise<Llama> {
  const entry = join(FOLDER, 'node_modules', 'node-llama-cpp', 'dist', 'index.js')
  if (!existsSync(entry)) install()
  const { getLlama } = await import(pathToFileURL(entry).href)
  return await getLlama({ gpu: false, build: 'never', progressLogs: false, logLevel: 'error' })
}

function install(): void {
  const binary = BINARIES[`${process.platform} ${process.arch}`]
  if (binary === undefined) throw new Error(`no prebuilt llama.cpp for this platform`)
  mkdirSync(FOLDER, { recursive: true })
  writeFileSync(join(FOLDER, 'package.json'), '{"private":true}\n')
  const packages = [`node-llama-cpp@${VERSION}`, `@node-llama-cpp/${binary}@${VERSION}`]
  const options = ['--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund']
  execFileSync('npm', ['install', ...options, ...packages], { cwd: FOLDER, stdio: 'inherit' })
}
