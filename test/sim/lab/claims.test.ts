/** The paper's claims: what was not played decides nothing. */
import { expect, test } from 'vitest'
import { claimsOf } from '../../../sim/lab/claims.ts'
import { sampleResults } from '../../fixtures/results.ts'

test('without a trial no claim is held or refuted, but the one that is arithmetic', () => {
  const nothing = { ...sampleResults(), trials: [] }
  const claims = claimsOf({ main: nothing, ablation: nothing, calm: nothing, bursts: nothing })
  expect(claims.map(({ number }) => number)).toEqual(Array.from({ length: 16 }, (_, i) => i + 1))
  const decided = claims.filter(({ verdict }) => verdict !== 'not decidable')
  expect(decided.map(({ claim }) => claim)).toEqual(['Replicating the embeddings costs little'])
})
