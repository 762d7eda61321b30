/** How a stage is saved: its weights and moments as tensors with global names. */
import { type Box, contiguousStart, copyBox } from '../../stages/boxes.ts'
import type { OptimizerConfig } from '../../stages/model.ts'
import { optimizerOf } from '../../stages/optimizer.ts'
import { sizeOf } from '../../stages/shape.ts'
import type { Moments, Parameter } from '../../stages/stage.ts'
import { type Copies, type Piece, piecesOf, type TensorRule } from '../../stages/tensor-rules.ts'

/** The flat buffers of a stage. */
export interface StageTensors extends Moments<Float32Array> {
  readonly weights: Float32Array
}

/** Prefixes of tensor names. The name of the weight follows. */
const PREFIXES: Readonly<Record<keyof StageTensors, string>> = {
  weights: '',
  firstMoment: 'optimizer.first_moment.',
  secondMoment: 'optimizer.second_moment.',
}

/** Where a checkpoint's tensor lies in a stage's flat buffers. */
export interface Place {
  readonly name: string
  readonly shape: readonly number[]
  readonly copies: Copies
  readonly state: keyof StageTensors
  readonly parameter: Parameter
  /** The part of the parameter that the tensor is. */
  readonly box: Box
}

/** The flat buffers that a stage with this optimizer has. */
export function statesOf(optimizer: OptimizerConfig): readonly (keyof StageTensors)[] {
  const { moments } = optimizerOf(optimizer)
  return ['weights', ...moments.map((name) => `${name}Moment` as const)]
}

/** Every tensor of a stage, in the order in which it is saved. */
export function placesOf(
  parameters: readonly Parameter[],
  rules: readonly TensorRule[],
  states: readonly (keyof StageTensors)[],
): readonly Place[] {
  return states.flatMap((state) =>
    parameters.flatMap((parameter) =>
      piecesOf(parameter, rules).map(({ name, shape, at, copies }: Piece) => ({
        name: PREFIXES[state] + name,
        shape,
        copies,
        state,
        parameter,
        box: { offset: at, size: shape },
      })),
    ),
  )
}

/** The tensor, flat: a view of the stage's buffer if it is contiguous there, otherwise a copy. */
export function gather(tensors: StageTensors, place: Place): Float32Array {
  return viewOf(tensors, place) ?? gathered(tensors, place)
}

function gathered(tensors: StageTensors, place: Place): Float32Array {
  const flat = new Float32Array(sizeOf(place.shape))
  copyBox(parameterOf(tensors, place), whole(flat, place.shape))
  return flat
}

/**
 * Writes a tensor to its place in the stage's buffers.
 * @param fill writes the tensor, flat, to the memory that it gets
 */
export async function scatter(
  tensors: StageTensors,
  place: Place,
  fill: (flat: Float32Array) => Promise<void>,
): Promise<void> {
  const view = viewOf(tensors, place)
  if (view !== null) return fill(view)
  const flat = new Float32Array(sizeOf(place.shape))
  await fill(flat)
  copyBox(whole(flat, place.shape), parameterOf(tensors, place))
}

/** Null if the tensor is not contiguous in the stage's buffer. */
function viewOf(tensors: StageTensors, { state, parameter, box }: Place): Float32Array | null {
  const start = contiguousStart(parameter.shape, box)
  if (start === null) return null
  const begin = parameter.offset + start
  return tensors[state].subarray(begin, begin + sizeOf(box.size))
}

function parameterOf(tensors: StageTensors, { state, parameter, box }: Place) {
  const { offset, length, shape } = parameter
  return { flat: tensors[state].subarray(offset, offset + length), shape, box }
}

function whole(flat: Float32Array, shape: readonly number[]) {
  return { flat, shape, box: { offset: shape.map(() => 0), size: shape } }
}
