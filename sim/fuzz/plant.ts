/** Puts the mistake that the variable PLANTED names into src. Every thread loads this module first (`node --import`). */
import { registerHooks } from 'node:module'
import { planted } from './planted.ts'

const name = process.env.PLANTED!

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context)
    const file = /\/src\/(.+\.ts)$/.exec(url)?.[1]
    if (file === undefined || loaded.source == null) return loaded
    const text =
      typeof loaded.source === 'string' ? loaded.source : new TextDecoder().decode(loaded.source)
    return { ...loaded, source: planted(name, file, text) }
  },
})
