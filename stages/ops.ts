/** Table of all operators of graphs, with their shape rules and gradient rules. */
import { elementwise } from './ops/elementwise.ts'
import { indexing } from './ops/indexing.ts'
import { products } from './ops/products.ts'
import { rows } from './ops/rows.ts'
import { shapes } from './ops/shapes.ts'

export const operators = { ...elementwise, ...products, ...rows, ...shapes, ...indexing }

export type Op = keyof typeof operators
