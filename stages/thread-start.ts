/**
 * Starts a stage's thread. From dist the thread is a plain worker. From source Node would strip the types of each file within
 * the thread, with a WebAssembly module. Two threads that run WebAssembly can crash the process. V8 has one cache of calls
 * from WebAssembly to JavaScript for all threads, and frees entries that another thread uses (`Check failed:
 * jit_page.has_value()`, or a segmentation fault; nodejs/node#64500). The calling thread therefore strips the types once, and
 * a stage's thread gets JavaScript.
 */
import './no-telemetry.ts'
import { readdirSync, readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { Worker } from 'node:worker_threads'

const FROM_SOURCE = import.meta.url.endsWith('.ts')

/** Program of the thread, beside this file. */
const PROGRAM = new URL(FROM_SOURCE ? './worker.ts' : './worker.js', import.meta.url)

/** First code of the thread. Loads the files of this folder from `sources` instead of from disk. */
const LOADER = `
  const { registerHooks } = require('node:module')
  const { workerData } = require('node:worker_threads')
  const { sources, program } = workerData
  registerHooks({
    load: (url, context, next) => sources.has(url)
      ? { format: 'module', source: sources.get(url), shortCircuit: true }
      : next(url, context),
  })
  import(program)`

/** Makes a TypeScript file outside of the sources fail to load, so that the thread never runs WebAssembly. */
const NO_STRIPPING = '--no-experimental-strip-types'

/** @param init field of the same name in the workerData of worker.ts */
export function startThread(init: unknown): Worker {
  if (!FROM_SOURCE) return new Worker(PROGRAM, { workerData: { init } })
  const workerData = { init, sources: strippedSources(), program: PROGRAM.href }
  return new Worker(LOADER, { eval: true, workerData, execArgv: [NO_STRIPPING] })
}

let stripped: ReadonlyMap<string, string> | undefined

/** JavaScript of every file of this folder, by URL. */
function strippedSources(): ReadonlyMap<string, string> {
  stripped ??= withoutWarnings(() => {
    const names = readdirSync(new URL('.', import.meta.url), { recursive: true }).map(String)
    const urls = names.filter((name) => name.endsWith('.ts')).map(urlOf)
    return new Map(urls.map((url) => [url.href, stripTypeScriptTypes(readFileSync(url, 'utf8'))]))
  })
  return stripped
}

function urlOf(name: string): URL {
  return new URL(name.replaceAll('\\', '/'), import.meta.url)
}

/** Suppresses warnings. Node warns that the function is experimental, which its own type stripping is, too. */
function withoutWarnings<T>(work: () => T): T {
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    return work()
  } finally {
    process.emitWarning = emitWarning
  }
}
