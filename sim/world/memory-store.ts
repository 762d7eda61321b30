/** A store of checkpoints in memory. */
import { CheckpointError } from '../../src/checkpoint/error.ts'
import type { Store } from '../../src/checkpoint/store.ts'

export class MemoryStore implements Store {
  readonly location = 'memory'
  readonly files = new Map<string, Uint8Array>()

  async list(prefix: string) {
    return [...this.files]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, { length: bytes }]) => ({ name, bytes }))
  }

  async read(name: string, offset: number, into: Uint8Array) {
    const content = this.files.get(name)
    if (content === undefined) throw new CheckpointError(`${name} is missing`)
    if (offset + into.length > content.length) throw new CheckpointError(`${name} ends`)
    into.set(content.subarray(offset, offset + into.length))
  }

  async write(name: string, content: readonly Uint8Array[]) {
    this.files.set(name, Uint8Array.from(Buffer.concat(content)))
  }

  async remove(name: string) {
    this.files.delete(name)
  }
}
