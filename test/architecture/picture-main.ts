/** Renews the picture of docs/ARCHITECTURE.md: `npm run docs:picture`. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { drawPicture, readRooms, withPicture } from './picture.ts'
import { ROOT } from './sources.ts'

const page = join(ROOT, 'docs/ARCHITECTURE.md')
writeFileSync(page, withPicture(readFileSync(page, 'utf8'), drawPicture(readRooms(ROOT))))
