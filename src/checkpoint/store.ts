/** A place for checkpoints: named files, each of which is whole or absent. */

export interface StoredFile {
  /** Path in the store, separated by `/` on every platform. */
  readonly name: string
  readonly bytes: number
}

export interface Store {
  /** Folder or address, for messages. */
  readonly location: string
  /** All files whose names begin with `prefix`, in no particular order. */
  list(prefix: string): Promise<StoredFile[]>
  /**
   * Fills `into` with the bytes from `offset` on. Reads no others.
   * @throws CheckpointError if the file is missing or too short
   */
  read(name: string, offset: number, into: Uint8Array): Promise<void>
  /** Writes a file. It is whole and durable when the promise resolves. Until then the name has its old content. */
  write(name: string, content: readonly Uint8Array[]): Promise<void>
  /** Removes a file. Has no effect if it is absent. */
  remove(name: string): Promise<void>
}
