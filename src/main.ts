#!/usr/bin/env node
/** Entry. Looks at the Node version before anything else is loaded: an older one would die of a syntax or API error. */
import * as module from 'node:module'

/** Type stripping for running from source; shared buffers in ONNX Runtime; Promise.withResolvers in libp2p. */
const OLDEST = [22, 18] as const

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
  process.stderr.write(
    `gensyn-node needs Node ${OLDEST.join('.')} or later; this is ${process.versions.node} (${process.execPath}).\n` +
      'In a clone, `npm run gensyn-node -- ARGUMENTS` uses the Node that `npm ci` installed; ' +
      'anywhere else, `npx -p node@24 -p gensyn-node gensyn-node ARGUMENTS` brings one along.\n',
  )
  process.exitCode = 2
} else {
  // A start takes half as long when its code was compiled by one before. Processes that this one starts find it, too.
  module.enableCompileCache()
  const compiled = module.getCompileCacheDir()
  if (compiled !== undefined) process.env.NODE_COMPILE_CACHE = compiled
  const { main } = await import('./cli/program.ts')
  await main(process.argv)
}
