import { expect, test } from 'vitest'
import { withShortNames } from '../../../src/base/peer-name.ts'

const PEER = '12D3KooWF1GsQJTpoJec4Wr7QdFgKMrWx5qPkR8szREfHJGWijUx'

test('each peer in a text for people has its short name', () => {
  expect(withShortNames(`${PEER} (stage 1) and ${PEER}: lost`)).toBe(
    '…GWijUx (stage 1) and …GWijUx: lost',
  )
})

test('an address stays whole, since people copy it', () => {
  const address = `/ip4/192.0.2.1/tcp/4001/p2p/${PEER}`
  expect(withShortNames(`reached at ${address}`)).toBe(`reached at ${address}`)
})
