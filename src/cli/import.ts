/** `gensyn-node import`: the manifest of a run that starts from a Llama in Hugging Face's layout. */
import { dirname, join, relative, resolve, sep } from 'node:path'
import { modelTensors } from '../../stages/parameters.ts'
import { openFolder } from '../model/open-model.ts'
import type { Run } from '../run/run.ts'
import { type InitOptions, initRun } from './init.ts'

export interface ImportOptions extends Omit<InitOptions, 'tokenizer'> {
  /** The checkpoint's folder. */
  readonly folder: string
}

/** Body stages that a run has at most unless it is told. */
const STAGES = 6

/**
 * Writes the manifest, and beside it the dataset, if the data has to be prepared: with the checkpoint's tokenizer. The
 * weights stay where they are: the manifest names them by their digests.
 * @throws InputError for a checkpoint that is damaged or not a Llama as we train it; then nothing is written
 */
export async function importRun({ folder, settings, ...options }: ImportOptions): Promise<Run> {
  const checkpoint = await openFolder(folder)
  const { model, files, tokenizer } = checkpoint
  try {
    const tensors: Record<string, string> = {}
    for (const { name } of modelTensors(model)) tensors[name] = await files.digest(name)
    const home = dirname(resolve(options.out))
    // Slashes on every system: the manifest travels.
    const path = relative(home, folder).replaceAll(sep, '/') || '.'
    const given = Object.entries(model).map(([key, value]) => [`model.${key}`, value])
    return await initRun(
      {
        ...options,
        tokenizer: tokenizer.isBytes ? 'bytes' : join(folder, 'tokenizer.json'),
        settings: { stages: String(stagesFor(model.layers)), ...settings },
      },
      { ...Object.fromEntries(given), initial: { path, tensors } },
    )
  } finally {
    await checkpoint.close()
  }
}

/** As many as divide the layers evenly. */
function stagesFor(layers: number): number {
  let stages = Math.min(STAGES, layers)
  while (layers % stages > 0) stages--
  return stages
}
