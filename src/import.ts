/** `gensyn-node import`: the manifest of a run that starts from a Llama in Hugging Face's layout. */
import { dirname, relative, resolve, sep } from 'node:path'
import { modelTensors } from '../stages/parameters.ts'
import { openFolder } from './checkpoint.ts'
import { InputError } from './errors.ts'
import { type InitOptions, newRun } from './init.ts'
import { type Run, writeRun } from './run.ts'

export interface ImportOptions extends InitOptions {
  /** The checkpoint's folder. */
  readonly folder: string
}

/** Body stages that a run has at most unless it is told. */
const STAGES = 6

/**
 * Writes the manifest. The weights stay where they are: it names them by their digests.
 * @throws InputError for a checkpoint that is damaged or not a Llama as we train it; then nothing is written
 */
export async function importRun({
  folder,
  out,
  data,
  force,
  settings,
}: ImportOptions): Promise<Run> {
  const { model, files, tokenizer } = await openFolder(folder)
  try {
    if (!tokenizer.isBytes) {
      throw new InputError(
        `${folder}: its tokens are not bytes, which is all that a run trains on today. Import a model whose tokenizer.json ` +
          'is that of `gensyn-node export`.',
      )
    }
    const tensors: Record<string, string> = {}
    for (const { name } of modelTensors(model)) tensors[name] = await files.digest(name)
    const home = dirname(resolve(out))
    // Slashes on every system: the manifest travels.
    const path = relative(home, folder).replaceAll(sep, '/') || '.'
    const given = Object.entries(model).map(([key, value]) => [`model.${key}`, value])
    const run = await newRun({ stages: String(stagesFor(model.layers)), ...settings }, data, home, {
      ...Object.fromEntries(given),
      initial: { path, tensors },
    })
    writeRun(out, run, { force })
    return run
  } finally {
    await files.close()
  }
}

/** As many as divide the layers evenly. */
function stagesFor(layers: number): number {
  let stages = Math.min(STAGES, layers)
  while (layers % stages > 0) stages--
  return stages
}
