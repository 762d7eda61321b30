/** Stages whose gradient sum is a number: the sum of the first elements of all tensors that add to it. */
import { sharedFloats, type Update } from '../../../stages/stage.ts'

class CountedSums {
  readonly parameters = []
  readonly weights = sharedFloats(4)
  readonly sums = sharedFloats(4)
  readonly moments = { firstMoment: sharedFloats(4), secondMoment: sharedFloats(4) }
  sum = 0
  updates: Update[] = []
  isClosed = false

  async gradientNorm() {
    return this.sum
  }
  async update(update: Update) {
    this.updates.push(update)
    this.sum = 0
  }
  async zeroGradients() {
    this.sum = 0
  }
  async load() {}
  async optimizerState() {
    return { firstMoment: this.weights, secondMoment: this.weights, updates: 0 }
  }
  async close() {
    this.isClosed = true
  }
}

export class CountingBody extends CountedSums {
  readonly kind = 'body' as const

  async forward(input: Float32Array) {
    return sharedFloats(input.length)
  }
  async forwardKeeping(input: Float32Array) {
    return { output: await this.forward(input), kept: {} }
  }
  async backward(input: Float32Array, gradient: Float32Array, _?: unknown, count = true) {
    if (count) this.sum += gradient[0]!
    return sharedFloats(input.length)
  }
}

export class CountingEnds extends CountedSums {
  readonly kind = 'ends' as const

  async embed() {
    return sharedFloats(1)
  }
  async embedBackward(_: Int32Array, gradient: Float32Array) {
    this.sum += gradient[0]!
  }
  async lossAndGradient(input: Float32Array, _: Int32Array, count = true) {
    if (count) this.sum += input[0]!
    return { loss: 1, inputGradient: sharedFloats(input.length) }
  }
  async loss() {
    return 1
  }
}
