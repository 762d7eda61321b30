/** The next action of the coordinator in each kind of situation. */
import { describe, expect, test } from 'vitest'
import { ASSIGNS_MAX } from '../../../protocols/agreement.ts'
import type { Member, Roster } from '../../../protocols/membership.ts'
import { nextAction, type View } from '../../../src/coordinator/next-action.ts'
import type {
  RebuildProgress,
  ReplicaProgress,
  Urgency,
} from '../../../src/coordinator/placement.ts'
import { foundingRoster } from '../../../src/membership/roster.ts'

/** Number of body stages: the stages are 0, 1 and 2. */
const BODY_STAGES = 2

/** The stage of each member by id; null for a spare, and `~` for a replica that is not ready. */
type Stages = readonly (number | null | `~${number}`)[]

function rosterOf(stages: Stages, committed = 5): Roster {
  const founder = { peer: 'peer-0', session: 1, addresses: [], domain: '', host: '' }
  const members = stages.map((stage, id): Member => {
    const isReady = typeof stage !== 'string'
    const held = isReady ? stage : Number(stage.slice(1))
    return { ...founder, peer: `peer-${id}`, id, stage: held, ready: isReady }
  })
  return { ...foundingRoster(founder), committed, loss: 3, nextId: members.length, members }
}

const NEIGHBOURS = [new Set([1, 2]), new Set([0, 2]), new Set([0, 1])]

function viewOf(roster: Roster, more: Partial<View> = {}): View {
  return {
    roster,
    bodyStages: BODY_STAGES,
    spares: 0,
    wishes: new Map(),
    replicas: new Map(),
    rebuilds: new Map(),
    leaving: new Map(),
    relieved: new Map(),
    faultsOf: () => 0,
    links: { neighbours: NEIGHBOURS, broken: { isEmpty: true, has: () => false } },
    speedOf: () => undefined,
    ownId: 0,
    isFit: true,
    isStepAbandoned: false,
    newcomers: 0,
    lost: 0,
    ...more,
  }
}

const FULL: Stages = [0, 1, 2]
const spare = (id: number) => ({ id, stage: null, ready: true })
const patient: { urgency: Urgency } = { urgency: 'patient' }
const hasty: { urgency: Urgency } = { urgency: 'hasty' }
const now: { urgency: Urgency } = { urgency: 'now' }

function replicas(...of: readonly [id: number, stage: number, phase: ReplicaProgress['phase']][]) {
  return new Map(of.map(([id, stage, phase]) => [id, { stage, phase }]))
}

function rebuilds(...of: readonly [id: number, stage: number, phase: RebuildProgress['phase']][]) {
  return new Map(of.map(([id, stage, phase]) => [id, { stage, phase }]))
}

type Row = readonly [situation: string, stages: Stages, more: Partial<View>, expected: object]

const ROWS: readonly Row[] = [
  ['every stage has a holder', FULL, {}, { type: 'settled' }],
  [
    'the coordinator could not keep its stage',
    FULL,
    { isFit: false, isStepAbandoned: true, newcomers: 1, lost: 1 },
    { type: 'stepBack', change: { restart: true, assign: [spare(0)] } },
  ],
  [
    'a peer waits to be let in',
    FULL,
    { newcomers: 1 },
    { type: 'changeMembers', change: { restart: false } },
  ],
  ['a member is lost', FULL, { lost: 1 }, { type: 'changeMembers', change: { restart: false } }],
  [
    'the step was given up, though no member is lost',
    FULL,
    { isStepAbandoned: true },
    { type: 'changeMembers', change: { restart: true } },
  ],
  ['a stage is empty and there is a spare', [0, 1, null], {}, rebuild([2, 2])],
  ['two stages are empty and there are two spares', [0, null, null], {}, rebuild([1, 1], [2, 2])],
  [
    'one of two empty stages is being rebuilt, and another spare is there',
    [0, null, null, null],
    { rebuilds: rebuilds([3, 1, 'building']) },
    rebuild([1, 2]),
  ],
  [
    'the only empty stage is being rebuilt',
    [0, 1, null, null],
    { rebuilds: rebuilds([2, 2, 'building']) },
    { type: 'awaitRebuilds' },
  ],
  [
    'a stage is built, and another one is being built',
    [0, null, null],
    { rebuilds: rebuilds([1, 1, 'built'], [2, 2, 'building']) },
    { type: 'awaitRebuilds' },
  ],
  [
    'a member is lost while one stage is built and another one is being built',
    [0, null, null, null],
    { lost: 1, rebuilds: rebuilds([1, 1, 'built'], [2, 2, 'building']) },
    { type: 'changeMembers', change: { assign: [{ id: 1, stage: 1, ready: true }] } },
  ],
  [
    'all empty stages are built',
    [0, null, null],
    { rebuilds: rebuilds([1, 1, 'built'], [2, 2, 'built']) },
    {
      type: 'changeMembers',
      change: {
        assign: [
          { id: 1, stage: 1, ready: true },
          { id: 2, stage: 2, ready: true },
        ],
      },
    },
  ],
  [
    'the coordinator leaves while a stage is being rebuilt',
    [0, 1, null],
    { leaving: new Map([[0, hasty]]), rebuilds: rebuilds([2, 2, 'building']) },
    { type: 'awaitRebuilds' },
  ],
  [
    'a stage is empty, and its spare insists on another stage',
    [0, 1, null],
    { wishes: new Map([['peer-2', 1]]) },
    { type: 'replicate', matches: matches([2, 1]) },
  ],
  [
    'a stage is empty, and a member that becomes a replica is no spare',
    [0, 1, null],
    { replicas: replicas([2, 1, 'building']) },
    { type: 'wait', stages: [2], staying: 3 },
  ],
  [
    'a stage is empty, and its spare wants to leave',
    [0, 1, null],
    { leaving: new Map([[2, patient]]) },
    { type: 'letGo', change: { leave: [2] } },
  ],
  [
    'a stage is empty, and another has two holders',
    [0, 1, 1],
    {},
    { type: 'release', change: { assign: [spare(2)] } },
  ],
  [
    'a stage is empty, and the second holder of another insists on its own',
    [0, 1, 1],
    { wishes: new Map([['peer-2', 1]]) },
    { type: 'release', change: { assign: [spare(1)] } },
  ],
  [
    'a stage is empty, and no member is free',
    [0, 1],
    {},
    { type: 'wait', stages: [2], staying: 2 },
  ],
  ['a spare is to be kept for a loss', [0, 1, 2, null], { spares: 1 }, { type: 'settled' }],
  [
    'there is one spare too many',
    [0, 1, 2, null],
    {},
    { type: 'replicate', matches: matches([3, 0]) },
  ],
  [
    'the slowest stage gets the spare',
    [0, 1, 2, null],
    { speedOf: (id) => [3, 2, 1][id] },
    { type: 'replicate', matches: matches([3, 2]) },
  ],
  [
    'a new replica is building',
    [0, 1, 2, null],
    { replicas: replicas([3, 0, 'building']) },
    { type: 'settled' },
  ],
  [
    'a new replica is built',
    [0, 1, 2, null],
    { replicas: replicas([3, 0, 'built']) },
    { type: 'advanceReplicas', change: { assign: [{ id: 3, stage: 0, ready: false }] } },
  ],
  [
    'a new replica is built, and its stage has lost its holders',
    [0, 1, null, null],
    { replicas: replicas([3, 2, 'built']) },
    { type: 'advanceReplicas', change: { assign: [spare(3)] } },
  ],
  [
    'a new replica synchronizes',
    [0, 1, 2, '~0'],
    { replicas: replicas([3, 0, 'synchronizing']) },
    { type: 'settled' },
  ],
  [
    'a new replica synchronizes, and its stage has lost its holders',
    [0, 1, '~2'],
    { replicas: replicas([2, 2, 'synchronizing']) },
    { type: 'advanceReplicas', change: { assign: [spare(2)] } },
  ],
  [
    'a new replica is ready, and another has failed',
    [0, 1, 2, '~0', '~1'],
    { replicas: replicas([3, 0, 'ready'], [4, 1, 'failed']) },
    {
      type: 'advanceReplicas',
      change: { assign: [{ id: 3, stage: 0, ready: true }, spare(4)] },
    },
  ],
  [
    'an earlier coordinator began a replica',
    [0, 1, 2, '~0'],
    {},
    { type: 'advanceReplicas', change: { assign: [spare(3)] } },
  ],
  [
    'a holder leaves, and a spare takes its stage over',
    [0, 1, 2, null],
    { spares: 1, leaving: new Map([[1, patient]]) },
    { type: 'replicate', matches: matches([3, 1]) },
  ],
  [
    'a holder leaves, and a new replica is on its way',
    [0, 1, 2, '~1'],
    { leaving: new Map([[1, hasty]]), replicas: replicas([3, 1, 'synchronizing']) },
    { type: 'settled' },
  ],
  [
    'a holder leaves whose stage has another',
    [0, 1, 2, 1],
    { leaving: new Map([[1, patient]]) },
    { type: 'letGo', change: { leave: [1] } },
  ],
  [
    'a holder leaves that cannot wait, and no member can take its stage',
    FULL,
    { leaving: new Map([[1, hasty]]) },
    { type: 'letGo', change: { leave: [1] } },
  ],
  [
    'a holder leaves that waits for a joiner',
    FULL,
    { leaving: new Map([[1, patient]]) },
    { type: 'settled' },
  ],
  [
    'a holder has a broken link, and a spare can copy its stage',
    [...FULL, null],
    { relieved: new Map([[2, 'as a test']]) },
    { type: 'replicate', matches: [{ stage: 2, member: { id: 3 } }] },
  ],
  [
    'a holder has a broken link, and the spare has one to its neighbour',
    [...FULL, null],
    {
      relieved: new Map([[2, 'as a test']]),
      links: {
        neighbours: NEIGHBOURS,
        broken: { isEmpty: false, has: (a, b) => [a, b].sort().join() === 'peer-1,peer-3' },
      },
    },
    { type: 'settled' },
  ],
  [
    'a holder has a broken link, and its stage is on its way to another member',
    [...FULL, null],
    { relieved: new Map([[2, 'as a test']]), replicas: replicas([3, 2, 'building']) },
    { type: 'relieve', id: 2, reason: 'as a test' },
  ],
  [
    'a holder has a broken link, and its stage has another holder',
    [...FULL, 2],
    { relieved: new Map([[2, 'as a test']]) },
    { type: 'release', change: { reason: 'as a test', assign: [spare(2)] } },
  ],
  [
    'a stage is empty, and one of two spares had faults of its own',
    [0, 1, null, null],
    { faultsOf: (peer) => (peer === 'peer-2' ? 1 : 0) },
    rebuild([3, 2]),
  ],
  [
    'a stage is empty, and the spare that insists on it had faults of its own',
    [0, 1, null, null],
    { faultsOf: (peer) => (peer === 'peer-2' ? 1 : 0), wishes: new Map([['peer-2', 2]]) },
    rebuild([3, 2]),
  ],
  [
    'a stage is empty, and its one spare builds a replica of it',
    [0, 1, null],
    { replicas: replicas([2, 2, 'building']) },
    rebuild([2, 2]),
  ],
  [
    'a stage is empty, and one of two spares cannot reach its neighbour',
    [0, 1, null, null],
    {
      links: {
        neighbours: NEIGHBOURS,
        broken: { isEmpty: false, has: (a, b) => [a, b].sort().join() === 'peer-0,peer-2' },
      },
    },
    rebuild([3, 2]),
  ],
  [
    'several holders leave whose time is over: all in one change, also those whose stage nobody has or is about to have',
    [0, 1, 2, '~1'],
    {
      leaving: new Map([
        [0, now],
        [1, now],
        [2, now],
      ]),
      replicas: replicas([3, 1, 'synchronizing']),
    },
    { type: 'letGo', change: { leave: [1, 2] } },
  ],
  [
    'a holder leaves, no spare is there, and another stage has two holders: one of these is released to take its stage over',
    [0, 1, 2, 0, 0],
    { leaving: new Map([[1, patient]]) },
    { type: 'release', change: { assign: [spare(4)] } },
  ],
  [
    'the coordinator leaves, and another member can coordinate',
    [0, 1, 2, 0],
    { leaving: new Map([[0, patient]]) },
    { type: 'handOver', successor: { id: 1 } },
  ],
  [
    'the coordinator leaves after the others that leave',
    [0, 1, 2, 0],
    {
      leaving: new Map([
        [0, patient],
        [1, hasty],
      ]),
    },
    { type: 'letGo', change: { leave: [1] } },
  ],
  [
    'the coordinator is the last member and leaves',
    [0],
    { leaving: new Map([[0, hasty]]) },
    { type: 'handOver', successor: null },
  ],
]

function matches(...pairs: readonly [id: number, stage: number][]) {
  return pairs.map(([id, stage]) => ({ stage, member: { id } }))
}

function rebuild(...pairs: readonly [id: number, stage: number][]) {
  return { type: 'rebuild', matches: matches(...pairs) }
}

describe('after some steps', () => {
  test.each(ROWS)('%s', (_, stages, more, expected) => {
    expect(nextAction(viewOf(rosterOf(stages), more))).toMatchObject(expected)
  })
})

test('before the first step a spare builds a stage that others hold: there is nothing to synchronize', () => {
  const roster = rosterOf([0, 1, 2, null], 0)
  expect(nextAction(viewOf(roster))).toMatchObject(rebuild([3, 0]))
})

test('one change assigns as many stages as a change can name', () => {
  const spares = new Array(ASSIGNS_MAX + 5).fill(null)
  const first = nextAction(viewOf(rosterOf([0, 1, 2, ...spares], 0)))
  if (first.type !== 'rebuild') throw new Error(first.type)
  expect(first.matches).toHaveLength(ASSIGNS_MAX)
})

test('an action does not change the view, and the same view gives the same action', () => {
  const view = viewOf(rosterOf([0, 1, null, null]), { leaving: new Map([[1, patient]]) })
  const before = structuredClone({ ...view, speedOf: null, faultsOf: null, links: null })
  const action = nextAction(view)
  expect({ ...view, speedOf: null, faultsOf: null, links: null }).toEqual(before)
  expect(nextAction(view)).toEqual(action)
})

test('replicas wait while the holders keep as many states of their stage as they may', () => {
  const fetching = (id: number, since: number) =>
    [id, { stage: 1, phase: 'synchronizing', since }] as const
  const built = [9, { stage: 1, phase: 'built' }] as const
  const actionWith = (...others: readonly ReturnType<typeof fetching>[]) => {
    const stages: Stages = [0, 1, 2, ...others.map(() => '~1' as const), ...Array(9).fill(null)]
    const members = rosterOf(stages)
    const replicas = new Map<number, ReplicaProgress>([...others, built])
    return nextAction(viewOf(members, { spares: 99, replicas })).type
  }
  expect(actionWith(fetching(3, 5))).toBe('advanceReplicas')
  // Those that are named by one roster share a state.
  expect(actionWith(fetching(3, 5), fetching(4, 5), fetching(5, 5))).toBe('advanceReplicas')
  expect(actionWith(fetching(3, 5), fetching(4, 6))).toBe('settled')
})
