/** The initial weights of a run: from its seed, or from a checkpoint. Each peer reads the tensors of its own stage only. */
import { parameterView } from '../../stages/parameters.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { InputError } from '../base/errors.ts'
import { initialFolder, openFolder } from '../model/open-model.ts'
import type { Run } from '../run/run.ts'

export interface InitialWeights {
  /**
   * Loads the initial weights into a stage, and gives the stage. On an error the stage is closed.
   * @throws InputError if a tensor is missing, or is not the one that the run was made for
   */
  load<S extends AnyStage>(stage: S): Promise<S>
}

/**
 * Opens the initial weights of a run.
 * @throws InputError if the checkpoint does not exist, or belongs to another model
 */
export async function openInitial(
  run: Run,
  { run: path, weights }: { readonly run: string; readonly weights?: string | undefined },
): Promise<InitialWeights> {
  if (run.initial === null) {
    if (weights === undefined) return { load: async (stage) => stage }
    throw new InputError('--weights: this run starts from its seed, not from a checkpoint.')
  }
  const { tensors } = run.initial
  const folder = weights ?? initialFolder(path, run.initial.path)
  await (await openFolder(folder)).close()
  return {
    async load(stage) {
      try {
        await stage.load(await readStage(folder, stage, tensors))
        return stage
      } catch (error) {
        await stage.close()
        throw error
      }
    },
  }
}

async function readStage(
  folder: string,
  { parameters, weights }: AnyStage,
  digests: Readonly<Record<string, string>>,
): Promise<Float32Array> {
  const { files, close } = await openFolder(folder)
  try {
    const flat = new Float32Array(weights.length)
    for (const parameter of parameters) {
      const { name } = parameter
      if ((await files.digest(name)) !== digests[name]) {
        throw new InputError(
          `${files.tensors.get(name)!.path}: tensor ${name} is not the one that the run was made for. ` +
            'Restore the original checkpoint, or name its folder by --weights.',
        )
      }
      await files.readInto(name, parameterView(flat, parameter))
    }
    return flat
  } finally {
    await close()
  }
}
