/**
 * How a stage's thread is started. From dist it is a plain worker. From source, Node would strip the types of each file
 * within the thread, by a WebAssembly module of its own, and two threads that run WebAssembly bring each other down: V8
 * keeps the calls from it to JavaScript in one cache for all threads, and frees there what another still has in hand
 * (`Check failed: jit_page.has_value()`, or a segmentation fault; nodejs/node#64500). So the types are stripped once, in
 * the thread that asks, and a stage's thread gets JavaScript.
 */
import './no-telemetry.ts'
import { readdirSync, readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { Worker } from 'node:worker_threads'

const FROM_SOURCE = import.meta.url.endsWith('.ts')

/** Beside this file. */
const PROGRAM = new URL(FROM_SOURCE ? './worker.ts' : './worker.js', import.meta.url)

/** What the thread runs first: loads the files of this room from `sources` instead of from disk. */
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

/** A file of ours that is not among the sources fails to load, rather than bringing WebAssembly in. */
const NO_STRIPPING = '--no-experimental-strip-types'

/** @param init what worker.ts finds in its workerData under that name */
export function startThread(init: unknown): Worker {
  if (!FROM_SOURCE) return new Worker(PROGRAM, { workerData: { init } })
  const workerData = { init, sources: strippedSources(), program: PROGRAM.href }
  return new Worker(LOADER, { eval: true, workerData, execArgv: [NO_STRIPPING] })
}

let stripped: ReadonlyMap<string, string> | undefined

/** JavaScript of every file of this room, by URL. */
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

/** Node calls the function experimental, but not that it strips types itself: no news to anyone who runs from source. */
function withoutWarnings<T>(work: () => T): T {
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    return work()
  } finally {
    process.emitWarning = emitWarning
  }
}
