/**
 * A hand-written peer with the run's manifest. It asks forged questions as a guest or as a member, or sends frames in which
 * bytes were changed. Runs as a process of its own: `liar.ts ROLE RUN.JSON SECONDS ADDRESS...`, or the number of frames in
 * place of the seconds.
 */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { multiaddr } from '@multiformats/multiaddr'
import { install, promise, propose } from '../../protocols/agreement.ts'
import { systemClock } from '../../protocols/clock.ts'
import { encodeFrame, encodeHeader } from '../../protocols/frame.ts'
import { createLibp2pNetwork } from '../../protocols/libp2p.ts'
import { createNode, startNode } from '../../protocols/libp2p-node.ts'
import { heartbeat, hello, type Roster } from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { ask, type Procedure, serve } from '../../protocols/procedure.ts'
import { fetchRoster } from '../../src/membership/agreement.ts'
import { openDoor } from '../../src/run/door.ts'
import { readRun, runId } from '../../src/run/run.ts'
import { Random } from '../../stages/random.ts'
import { forge, PROCEDURES } from '../fixtures/forger.ts'

export type LiarRole = 'guest' | 'member' | 'frames'

/** What a liar has done. */
export interface Lies {
  /** Questions, or frames, that it sent. */
  readonly sent: number
  /** Protocols that it asked on. */
  readonly protocols: number
  /** Identities that it used: one that is cut off takes another. */
  readonly identities: number
}

export function lie(args: readonly string[]): Promise<Lies> {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [fileURLToPath(import.meta.url), ...args],
      (error, stdout, stderr) => {
        if (error !== null) reject(new Error(stderr, { cause: error }))
        else resolve(JSON.parse(stdout) as Lies)
      },
    )
  })
}

/** Questions in a second. */
const A_SECOND = 200
/** Questions of one identity, after which it takes another one. */
const QUESTIONS_OF_ONE = 400
const FRAMES_OF_ONE = 20
/** Identities that send frames at a time. */
const AT_ONCE = 8
const CALL = { timeoutMs: 3_000, accept: (_: unknown, length: number) => new Uint8Array(length) }

interface Target {
  readonly runId: string
  readonly prologue: Uint8Array
  readonly addresses: readonly string[]
}

async function asPeer(role: LiarRole, seconds: number, target: Target): Promise<Lies> {
  const random = new Random(1)
  const protocols = new Set<string>()
  const until = systemClock.now() + 1000 * seconds
  let sent = 0
  let identities = 0
  while (systemClock.now() < until) {
    identities++
    const init = { listen: ['/ip4/127.0.0.1/tcp/0'], bootstrap: [], mdns: null }
    const network = await createLibp2pNetwork(
      { ...init, prologue: target.prologue },
      { clock: systemClock },
    )
    const peers = await Promise.all(target.addresses.map((each) => network.connect(each, CALL)))
    if (role === 'member') await enter(network, peers[0]!, target.runId)
    let roster: Roster | undefined
    for (let turn = 0; turn < QUESTIONS_OF_ONE && systemClock.now() < until; turn++) {
      await systemClock.sleep(1000 / A_SECOND)
      if (turn % A_SECOND === 0) {
        const signal = AbortSignal.timeout(CALL.timeoutMs)
        const known = fetchRoster({ network, runId: target.runId, signal }, peers[0]!)
        roster = (await known.catch(() => undefined))?.roster ?? roster
      }
      if (roster === undefined) continue
      const procedure = PROCEDURES[random.integer(PROCEDURES.length)]!
      const peer = peers[random.integer(peers.length)]!
      const address = network.addresses[0]!
      const about = { random, run: target.runId, self: network.self, roster, address }
      protocols.add(procedure.protocol)
      sent++
      network.call(peer, procedure.protocol, forge(about, procedure), CALL).catch(() => {})
    }
    await network.stop()
  }
  return { sent, protocols: protocols.size, identities }
}

/** Becomes a member that does what a member must, so that it is not lost. */
async function enter(network: Network, coordinator: PeerId, run: string): Promise<void> {
  const session = Math.floor(systemClock.now())
  let epoch = 0
  const entered = Promise.withResolvers<void>()
  const answers = <Q, A>(procedure: Procedure<Q, A>, answer: (question: Q) => A) =>
    serve(
      network,
      procedure,
      {
        accept: (_, __, length) => new Uint8Array(length),
        serve: async (_, question) => ({ answer: answer(question) }),
      },
      () => {},
    )
  answers(heartbeat, () => ({ epoch, session, queuedWork: 0, workingMs: 0 }))
  answers(propose, ({ ballot }) => ({ accepted: true, ballot, epoch }))
  answers(promise, ({ ballot }) => ({ promised: false, ballot, epoch, accepted: null, reason: '' }))
  answers(install, (question) => {
    epoch = Math.max(epoch, question.epoch)
    entered.resolve()
    return { epoch, digest: null }
  })
  const about = { addresses: [...network.addresses], session, domain: 'liar', stage: null }
  const claims = { resumes: false, claim: 'last' as const, incarnation: run }
  await ask(network, coordinator, hello, { run, ...about, ...claims }, CALL)
  await entered.promise
}

/** Sends so many frames in which some bytes were changed. */
async function sendFrames(frames: number, target: Target): Promise<Lies> {
  const random = new Random(2)
  const protocols = new Set<string>()
  const roster = await rosterOf(target)
  let sent = 0
  let identities = 0
  let failure: unknown
  const changed = (procedure: (typeof PROCEDURES)[number]): Uint8Array => {
    const about = { random, run: target.runId, self: 'liar', roster, address: 'x' }
    const { header, body } = forge(about, procedure)
    const parts = encodeFrame({ kind: 'request', id: 1 }, encodeHeader({ header, body }), body)
    const bytes = Buffer.concat([...parts])
    const changes = 1 + random.integer(8)
    for (let i = 0; i < changes; i++) bytes[random.integer(bytes.length)] = random.integer(256)
    return bytes.subarray(0, 1 + random.integer(bytes.length))
  }
  const asOne = async () => {
    identities++
    const { prologue } = target
    const node = await createNode({
      ...{ listen: [], bootstrap: [], mdns: null, found: () => {}, prologue },
    })
    await startNode(node, [])
    const address = multiaddr(target.addresses[random.integer(target.addresses.length)]!)
    try {
      for (let frame = 0; frame < FRAMES_OF_ONE; frame++) {
        const procedure = PROCEDURES[random.integer(PROCEDURES.length)]!
        const stream = await node.dialProtocol(address, procedure.protocol)
        stream.send(changed(procedure))
        sent++
        protocols.add(procedure.protocol)
      }
    } catch (error) {
      // The identity is cut off. The next one goes on.
      failure = error
    }
    await node.stop()
  }
  const inTurn = async () => {
    while (sent < frames && identities < frames) await asOne()
  }
  await Promise.all(Array.from({ length: AT_ONCE }, inTurn))
  if (sent < frames) throw new Error(`${sent} of ${frames} frames were sent`, { cause: failure })
  return { sent, protocols: protocols.size, identities }
}

async function rosterOf({ runId, prologue, addresses }: Target): Promise<Roster> {
  const init = { listen: [], bootstrap: [], mdns: null, prologue }
  const network = await createLibp2pNetwork(init, { clock: systemClock })
  const peer = await network.connect(addresses[0]!, CALL)
  const { roster } = await fetchRoster({ network, runId, signal: AbortSignal.timeout(5_000) }, peer)
  await network.stop()
  return roster
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [role, path, much, ...addresses] = process.argv.slice(2)
  const run = readRun(path!)
  const { prologue } = openDoor(run, path!, undefined)
  const target = { runId: runId(run), prologue, addresses }
  const done =
    role === 'frames'
      ? await sendFrames(Number(much), target)
      : await asPeer(role as LiarRole, Number(much), target)
  console.log(JSON.stringify(done))
  process.exit()
}
