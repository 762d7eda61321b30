/**
 * How outputs are written straight into buffers of ours. onnxruntime-node 1.30 computes into a tensor that is handed to
 * it for an output, and then still copies every output into a new one, at ten times the cost of a cheap operator. The
 * guard stops it: a first output of a kind that it cannot convert makes it throw after the graph has run and before
 * anything is copied. This is behaviour nobody promised, so it lives here alone and session.ts tries it before use.
 */
import { integer, join, message, text } from './protobuf.ts'

export const GUARD = '__guard'

/** What the conversion throws, and no failure of a graph does. */
export const GUARD_MESSAGE = 'Non tensor type is temporarily not supported.'

const FLOAT = 1

/** A sequence output, made by a node that has no inputs. */
const guardedGraph = message(7, [
  message(1, [text(2, GUARD), text(3, GUARD), text(4, 'SequenceEmpty')]),
  message(12, [
    text(1, GUARD),
    message(2, [message(4, [message(1, [message(1, [integer(1, FLOAT)])])])]),
  ]),
])

/** Adds the guard before a model's own outputs: joined messages merge, their lists in the order of the bytes. */
export function withGuard(model: Uint8Array): Uint8Array {
  return join([guardedGraph, model])
}
