/** Saves a stage while training continues: makes a lazy snapshot, and writes the copy. */
import type { StageTensors } from './layout.ts'
import { LazySnapshot, type YieldToLoop } from './lazy-snapshot.ts'
import { type StageSave, saveStage } from './save.ts'
import type { Store } from './store.ts'

export class StageSaver {
  readonly #store: Store
  readonly #snapshot: LazySnapshot
  #writing: Promise<unknown> = Promise.resolve()

  /** @param yieldToLoop called between two pieces of the copy; resolves after other work of this thread has run */
  constructor(store: Store, yieldToLoop: YieldToLoop) {
    this.#store = store
    this.#snapshot = new LazySnapshot(yieldToLoop)
  }

  /**
   * Begins to save. Must be called between two updates. There is room for one copy: if the copy before is still being
   * written, this waits.
   * @param save with the live tensors
   * @returns `saved` resolves when the stage's part is in the store, and rejects if it cannot be written. The caller must
   *   await or catch it
   */
  async begin(save: StageSave): Promise<{ readonly saved: Promise<{ bytes: number }> }> {
    await this.#writing
    const saved = this.#write(save)
    this.#writing = saved.catch(() => {})
    return { saved }
  }

  /** Must be called before each update. @returns number of elements that were copied meanwhile */
  beforeUpdate(): number {
    return this.#snapshot.beforeUpdate()
  }

  async #write(save: StageSave): Promise<{ bytes: number }> {
    const { weights, firstMoment, secondMoment } = save.tensors
    const copies = await this.#snapshot.begin([weights, firstMoment, secondMoment])
    const tensors: StageTensors = {
      weights: copies[0]!,
      firstMoment: copies[1]!,
      secondMoment: copies[2]!,
    }
    return saveStage(this.#store, { ...save, tensors })
  }
}
