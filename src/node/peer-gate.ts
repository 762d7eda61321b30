/**
 * Which peers may connect to this one, by its user's word: all but the banned ones, or only those that a file names. The
 * file is read again when it has changed, so that a peer can be let in or out while the node runs.
 */
import { readFileSync, statSync } from 'node:fs'
import { isPeerId } from '../../protocols/address.ts'
import type { PeerId } from '../../protocols/network.ts'
import { InputError, systemCode } from '../base/errors.ts'

export class PeerGate {
  readonly #file: string | undefined
  readonly #banned: ReadonlySet<PeerId>
  #allowed: ReadonlySet<PeerId> = new Set()
  #readAt = Number.NaN

  /**
   * @param file with one peer id a line, and comments after `#`; undefined lets every peer in that is not banned
   * @throws InputError if the file cannot be read, or a peer id is wrong
   */
  constructor(file: string | undefined, banned: readonly string[]) {
    this.#file = file
    const wrong = banned.find((peer) => !isPeerId(peer))
    if (wrong !== undefined) throw new InputError(`--ban ${wrong} is no peer id; ${LOOKS}.`)
    this.#banned = new Set(banned)
    if (file !== undefined) this.#allowed = this.#read(file)
  }

  /** True if the peer may connect, and may be dialled. */
  admits(peer: PeerId): boolean {
    if (this.#banned.has(peer)) return false
    if (this.#file === undefined) return true
    this.#refresh(this.#file)
    return this.#allowed.has(peer)
  }

  /** A file that is half written or gone changes nothing: the list that was read last stays. */
  #refresh(file: string): void {
    try {
      if (statSync(file).mtimeMs !== this.#readAt) this.#allowed = this.#read(file)
    } catch {}
  }

  #read(file: string): ReadonlySet<PeerId> {
    let text: string
    try {
      const { mtimeMs } = statSync(file)
      text = readFileSync(file, 'utf8')
      this.#readAt = mtimeMs
    } catch (error) {
      throw new InputError(
        `--allow ${file} cannot be read (${systemCode(error)}): name a file with one peer id a line.`,
      )
    }
    const lines = text.split('\n').map((line) => line.replace(/#.*/, '').trim())
    const wrong = lines.findIndex((line) => line !== '' && !isPeerId(line))
    if (wrong >= 0) {
      throw new InputError(`${file}:${wrong + 1}: ${lines[wrong]} is no peer id; ${LOOKS}.`)
    }
    return new Set(lines.filter((line) => line !== ''))
  }
}

const LOOKS = 'one looks like 12D3KooWK3FZM8v7eBFXNAFG1wCvdMAZzCSZqzNzGJAeXkLYJAnv'
