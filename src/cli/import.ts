/** `gensyn-node import`: the manifest of a run that starts from a Llama in Hugging Face's layout. */
import { dirname, join, relative, resolve, sep } from 'node:path'
import { modelTensors } from '../../stages/parameters.ts'
import { openFolder } from '../model/open-model.ts'
import type { Run } from '../run/run.ts'
import { type InitOptions, initRun } from './init.ts'

export interface ImportOptions extends Omit<InitOptions, 'tokenizer'> {
  /** Folder of the checkpoint. */
  readonly folder: string
}

/** Largest default number of body stages. */
const STAGES = 6

/**
 * Writes the manifest of a run that starts from a checkpoint. If the data has to be prepared, it also writes the dataset,
 * with the checkpoint's tokenizer. The weights are not copied: the manifest contains their path and digests.
 * @throws InputError for a checkpoint that is damaged or is not a supported Llama; then nothing is written
 */
export async function importRun({ folder, settings, ...options }: ImportOptions): Promise<Run> {
  const checkpoint = await openFolder(folder)
  const { model, files, tokenizer } = checkpoint
  try {
    const tensors: Record<string, string> = {}
    for (const { name } of modelTensors(model)) tensors[name] = await files.digest(name)
    const home = dirname(resolve(options.out))
    // Slashes on every system, since the manifest is copied to other machines.
    const path = relative(home, folder).replaceAll(sep, '/') || '.'
    const modelSettings = Object.entries(model).map(([key, value]) => [`model.${key}`, value])
    return await initRun(
      {
        ...options,
        tokenizer: tokenizer.isBytes ? 'bytes' : join(folder, 'tokenizer.json'),
        settings: { stages: String(stagesFor(model.layers)), ...settings },
      },
      { ...Object.fromEntries(modelSettings), initial: { path, tensors } },
    )
  } finally {
    await checkpoint.close()
  }
}

/** Largest number of body stages, up to `STAGES`, that divides the layers evenly. */
function stagesFor(layers: number): number {
  let stages = Math.min(STAGES, layers)
  while (layers % stages > 0) stages--
  return stages
}
