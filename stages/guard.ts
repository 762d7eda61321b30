/**
 * Avoids copies of outputs. onnxruntime-node 1.30 computes into a tensor that the caller passes for an output, and then copies
 * every output into a new tensor. The copy takes ten times as long as a cheap operator. The guard is a first output of a kind
 * that the library cannot convert. The library throws after the graph has run and before it copies. This behaviour is not
 * documented, so session.ts tests it before use.
 */
import { integer, join, message, text } from './protobuf.ts'

export const GUARD = '__guard'

/** Message of the conversion. No failure of a graph has this message. */
export const GUARD_MESSAGE = 'Non tensor type is temporarily not supported.'

const FLOAT = 1

/** A sequence output from a node without inputs. */
const guardedGraph = message(7, [
  message(1, [text(2, GUARD), text(3, GUARD), text(4, 'SequenceEmpty')]),
  message(12, [
    text(1, GUARD),
    message(2, [message(4, [message(1, [message(1, [integer(1, FLOAT)])])])]),
  ]),
])

/** Adds the guard before a model's own outputs. Joined protobuf messages merge, with lists in the order of the bytes. */
export function withGuard(model: Uint8Array): Uint8Array {
  return join([guardedGraph, model])
}
