/** Tests of calls: messages arrive whole, once, and independent of each other. */
import { expect, vi } from 'vitest'
import type { Handler } from '../../protocols/network.ts'
import {
  acceptAnswer,
  CALL,
  type DeclareTest,
  echo,
  noise,
  OTHER_PROTOCOL,
  PROTOCOL,
  pair,
  sameBytes,
  takesBody,
} from './network-fixture.ts'

/** Tests of calls and their answers. The function is long because it is a list of short tests. */
export function calls(property: DeclareTest): void {
  property('passes the header and the id of the caller', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    const header = { text: 'größer ≥ 微批 🧠\u0000', list: [1, 2.5, null, true], nested: { a: {} } }
    const handle = vi.fn<Handler['handle']>(async (from) => ({ header: { from } }))
    answerer.handle(PROTOCOL, { handle })
    const answer = await asker.call(answerer.self, PROTOCOL, { header }, CALL)
    expect(answer).toEqual({ header: { from: asker.self } })
    expect(handle.mock.calls).toEqual([[asker.self, { header }]])
  })

  property('shares no object between the two peers', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    const header = { list: [1] }
    answerer.handle(PROTOCOL, {
      async handle(_from, received) {
        ;(received.header as typeof header).list.push(2)
        return { header: received.header as typeof header }
      },
    })
    const answer = await asker.call(answerer.self, PROTOCOL, { header }, CALL)
    expect([header, answer.header]).toEqual([{ list: [1] }, { list: [1, 2] }])
  })

  for (const length of [0, 1, 5 * 1024 * 1024 + 3]) {
    property(`passes a body of ${length} bytes in both directions`, async (swarm) => {
      const [asker, answerer] = await pair(swarm)
      const body = noise(length)
      const accept = vi.fn(takesBody.accept)
      answerer.handle(PROTOCOL, { ...echo, accept })
      const options = { ...CALL, accept: acceptAnswer }
      const answer = await asker.call(answerer.self, PROTOCOL, { header: 'h', body }, options)
      expect(accept.mock.calls).toEqual([[asker.self, 'h', length]])
      expect(sameBytes(answer.body, body)).toBe(true)
    })
  }

  property(
    'stores bodies in the memory from accept, and reads them from shared memory',
    async (swarm) => {
      const [asker, answerer] = await pair(swarm)
      const shared = () => new Uint8Array(new SharedArrayBuffer(300_000))
      const [sent, stored, answered] = [shared(), shared(), shared()] as const
      sent.set(noise(sent.length))
      let received: Uint8Array | undefined
      answerer.handle(PROTOCOL, {
        accept: () => stored,
        async handle(_from, { body }) {
          received = body
          return { header: null, body: stored }
        },
      })
      const options = { ...CALL, accept: () => answered }
      const answer = await asker.call(answerer.self, PROTOCOL, { header: 0, body: sent }, options)
      expect([received?.buffer, answer.body?.buffer]).toEqual([stored.buffer, answered.buffer])
      expect([sameBytes(stored, sent), sameBytes(answered, sent)]).toEqual([true, true])
    },
  )

  property('lets the caller reuse the body after the answer', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    const bodies: Uint8Array[] = []
    answerer.handle(PROTOCOL, {
      ...takesBody,
      async handle(_from, { body }) {
        bodies.push(body!)
        return { header: null }
      },
    })
    const body = new Uint8Array(200_000)
    for (const fill of [1, 2]) {
      await asker.call(answerer.self, PROTOCOL, { header: null, body: body.fill(fill) }, CALL)
    }
    expect(bodies.map((bytes) => [bytes[0], bytes.at(-1)])).toEqual([
      [1, 1],
      [2, 2],
    ])
  })

  property('returns to each of many calls its own answer, in any order', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    const count = 20
    const gates = Array.from({ length: count + 1 }, () => Promise.withResolvers<void>())
    gates[count]!.resolve()
    const order: number[] = []
    answerer.handle(PROTOCOL, {
      ...takesBody,
      // Each answer waits for the answer to the next question, so that answers leave in reverse order.
      async handle(_from, { header, body }) {
        const i = header as number
        await gates[i + 1]!.promise
        order.push(i)
        gates[i]!.resolve()
        return { header: { answerTo: i }, body: body! }
      },
    })
    const options = { ...CALL, accept: acceptAnswer }
    const questions = Array.from({ length: count }, (_, i) => ({
      header: i,
      body: new Uint8Array(1000).fill(i),
    }))
    const answers = await Promise.all(
      questions.map((question) => asker.call(answerer.self, PROTOCOL, question, options)),
    )
    expect(order).toEqual([...questions.keys()].reverse())
    expect(answers.map(({ header }) => header)).toEqual(
      order.toReversed().map((answerTo) => ({ answerTo })),
    )
    expect(answers.map(({ body }) => body?.[999])).toEqual(order.toReversed())
  })

  property('does not delay a call behind a large body on another protocol', async (swarm) => {
    const [asker, answerer] = await pair(swarm)
    answerer.handle(PROTOCOL, { ...takesBody, handle: async () => ({ header: 'large' }) })
    answerer.handle(OTHER_PROTOCOL, { handle: async () => ({ header: 'small' }) })
    const large = { header: null, body: new Uint8Array(64 * 1024 * 1024) }
    const answers: unknown[] = []
    const answered = ({ header }: { header: unknown }) => answers.push(header)
    await Promise.all([
      asker.call(answerer.self, PROTOCOL, large, CALL).then(answered),
      asker.call(answerer.self, OTHER_PROTOCOL, { header: null }, CALL).then(answered),
    ])
    expect(answers).toEqual(['small', 'large'])
  })
}
