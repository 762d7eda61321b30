/** The first bytes of a connection, which prove the key of a run's network. */
import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { guard, knock, knockKey } from '../../protocols/libp2p-knock.ts'

const KEY = knockKey(new Uint8Array(32).fill(1))
const open: { destroy(): void }[] = []
afterEach(() => {
  for (const each of open.splice(0)) each.destroy()
})

/** A guarded server that keeps the text which each connection brings after its knock. */
async function guarded() {
  const heard: string[] = []
  let refusals = 0
  const server: Server = createServer((socket) => {
    let text = ''
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      text += bytes
    })
    socket.on('end', () => heard.push(text))
  })
  guard(server, KEY, () => refusals++)
  open.push({ destroy: () => server.close() })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const dial = () =>
    new Promise<Socket>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => resolve(socket))
      socket.on('error', reject)
      socket.resume()
      open.push(socket)
    })
  const closed = (socket: Socket) => new Promise<void>((resolve) => socket.on('close', resolve))
  return { server, heard, dial, closed, refusals: () => refusals }
}

test('the bytes after the right knock reach the listener, also if all come at once', async () => {
  const { heard, dial, closed, refusals } = await guarded()
  const socket = await dial()
  socket.end(Buffer.concat([knock(KEY), Buffer.from('hello')]))
  await closed(socket)
  expect(heard).toEqual(['hello'])
  expect(refusals()).toBe(0)
})

test('a knock may come in pieces', async () => {
  const { heard, dial, closed } = await guarded()
  const socket = await dial()
  const bytes = knock(KEY)
  socket.setNoDelay(true)
  socket.write(bytes.subarray(0, 7))
  await new Promise((resolve) => setImmediate(resolve))
  socket.end(Buffer.concat([bytes.subarray(7), Buffer.from('later')]))
  await closed(socket)
  expect(heard).toEqual(['later'])
})

test.each([
  ['another key', knock(knockKey(new Uint8Array(32).fill(2)))],
  ['one changed bit', knock(KEY).map((byte, i) => (i === 47 ? byte ^ 1 : byte))],
  [
    'something else',
    Buffer.from('GET / HTTP/1.1\r\nHost: example.org\r\nUser-Agent: scanner\r\n\r\n'),
  ],
  ['too few bytes', Buffer.alloc(47)],
])('a connection that begins with %s is closed without a byte', async (_, bytes) => {
  const { heard, dial, closed, refusals } = await guarded()
  const socket = await dial()
  socket.end(bytes)
  await closed(socket)
  expect([socket.bytesRead, heard, refusals()]).toEqual([0, [], 1])
})

test('silent connections do not keep others out: beyond a bound the oldest is closed', async () => {
  const { heard, dial, closed } = await guarded()
  const silent = [await dial()]
  const oldest = closed(silent[0]!)
  for (let i = 1; i <= 512; i++) silent.push(await dial())
  await oldest
  const socket = await dial()
  socket.end(Buffer.concat([knock(KEY), Buffer.from('in')]))
  await closed(socket)
  expect(heard).toEqual(['in'])
})

test('a silent stranger does not keep a server from closing', async () => {
  const { server, dial, closed } = await guarded()
  const stranger = await dial()
  const gone = closed(stranger)
  await new Promise<void>((resolve) => server.close(() => resolve()))
  await gone
})
