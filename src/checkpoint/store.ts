/** Where checkpoints lie: files by name, each whole or absent. */

export interface StoredFile {
  /** Parts are separated by `/` everywhere. */
  readonly name: string
  readonly bytes: number
}

export interface Store {
  /** For people: the folder or address. */
  readonly location: string
  /** All files whose names begin with `prefix`, in no order. */
  list(prefix: string): Promise<StoredFile[]>
  /**
   * Fills `into` with the bytes from `offset` on, and asks for no others.
   * @throws CheckpointError if there is no such file, or it ends before that
   */
  read(name: string, offset: number, into: Uint8Array): Promise<void>
  /** Whole and lasting when it resolves; until then the name stands for what it stood for before. */
  write(name: string, content: readonly Uint8Array[]): Promise<void>
  /** Absence is no error. */
  remove(name: string): Promise<void>
}
