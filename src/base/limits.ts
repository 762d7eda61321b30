/** All deadlines and bounds of the node. docs/OPERATIONS.md explains which wait has which deadline. */
import { STANDING_MS } from '../../protocols/ask-afresh.ts'

/** Slowest link that the deadlines allow for: 5 Mbit/s, in bytes a millisecond. */
export const BYTES_PER_MS_MIN = 625

/**
 * Deadlines and intervals, in milliseconds. Where the work moves a stage's state, gradients or activations, the deadline is
 * this base and the time of the bytes (`transfer-time.ts`, `src/run/budgets.ts`).
 */
export const TIMEOUTS = {
  /** Deadline for a bootstrap address to answer. */
  connectMs: 5_000,
  /** Deadline for a member to answer a newcomer. */
  helloMs: 5_000,
  /** Time for which a peer searches the address book and mDNS before it founds the run. */
  discoveryMs: 1_500,
  /** Time for which a newcomer asks its bootstrap addresses again, from the last sign of life there. */
  bootstrapMs: 60_000,
  /** Time for which a peer that was heard to be in no roster counts as one that may found the run. */
  undecidedMs: 10_000,
  /** Time for which the peers that came back must be the same, before they continue a run without all of its stages. */
  returnMs: 60_000,
  /** Pause between two rounds of questions of a peer that came back. */
  returnPauseMs: 1_000,
  /** Time after which a search says for the first time whom it asks, and why that failed. */
  firstTellMs: 3_000,
  /** Interval at which the search says so again. */
  searchTellMs: 60_000,
  /** Interval at which a newcomer that waits for its admission asks again. Admissions take place between two steps. */
  admissionMs: 10_000,
  /** Time after its founding for which a run's founder looks for another founding of the run. */
  freshMs: 120_000,
  /** Interval at which it looks. */
  meetMs: 2_000,
  /** Deadline for a member to accept a change of the roster, to promise a ballot, or to install a change. */
  rosterMs: 5_000,
  /** Deadline for a member to say who another peer is. */
  vouchMs: 2_000,
  /** Deadline for a member to build a stage: to create its sessions and to fetch the weights that it starts from. */
  holdMs: 300_000,
  /** Deadline for one chunk of weights (1 MiB). */
  chunkMs: 30_000,
  /** Deadline for the step to be committed after which a holder copies its weights for a guest. */
  snapshotMs: 1_200_000,
  /** Longest time for which a holder keeps this copy. It drops the copy earlier when the guest disconnects. */
  guestCopyMs: 3_600_000,
  /** Deadline for a microbatch to be accepted into the next stage's inbox. */
  handOverMs: 60_000,
  /** Deadline for every stage to count all microbatches of a step. */
  stepMs: 600_000,
  /** Shortest time that a step takes before the coordinator tells all members for whom it waits. */
  lookMs: 5_000,
  /** Shortest time that a step takes before the coordinator searches for stragglers. */
  stragglerMs: 20_000,
  /** Shortest time for which a holder works on one microbatch before its compute counts as hung. */
  hungMs: 20_000,
  /** The same for a holder of a run whose speed nobody knows yet: the first step may compile for long. */
  hungFirstMs: 300_000,
  /** Time for which a change of the roster waits for the compute of a stage that it takes away. Less than `rosterMs`. */
  closeMs: 3_000,
  /** Deadline for the update of one stage. */
  commitMs: 120_000,
  /** Deadline for one chunk of a replica's gradients, from the request until the summed chunk has arrived. */
  gradientsMs: 60_000,
  /** Deadline for all holders of a stage to have the sum of their gradients. */
  reduceMs: 300_000,
  /** Deadline for the coordinator to answer a report that a microbatch cannot continue. */
  reportMs: 5_000,
  /** Deadline for an evaluation. */
  evaluateMs: 600_000,
  /** Pause before a failed request of the membership is tried again. */
  retryMs: 500,
  /** Interval between two heartbeats. */
  heartbeatMs: 1_000,
  /** Time without an answer after which a member is suspect, even if its connection stands. */
  silenceMs: 5_000,
  /** A timer or an answer that is later than this is a sign of a busy machine or a lossy network. */
  lateMs: 1_000,
  /** Time for which such a sign counts. */
  lateWindowMs: 10_000,
  /** Longest time for which a silent suspect is asked again while things are late. */
  graceMs: 20_000,
  /** Deadline for a suspect to answer over its standing connection, before that connection is ended. */
  standingMs: STANDING_MS,
  /** Deadline for a suspect to answer on a new connection, before it counts as lost. */
  reconnectMs: 2_000,
  /** Deadline for a peer to answer a probe of another member, when a link seems broken. */
  probeMs: 2_000,
  /** Deadline for a peer to answer a probe of a prospective neighbour, before it is given a stage. */
  vetMs: 5_000,
  /** Time for which two peers that could not talk are not made neighbours. It doubles each time that this is found again. */
  brokenLinkMs: 30_000,
  /** The longest of these times. */
  brokenLinkMaxMs: 900_000,
  /** Time after which a failure between two peers is forgotten. */
  linkStrikesMs: 300_000,
  /** Time for which the stage of a holder with a broken link is copied to a spare, before the holder counts as lost. */
  reliefMs: 60_000,
  /** Shortest time for which a step goes on after the first fault in it, so that all faults are known when they are judged. */
  faultsGatherMs: 500,
  /** The longest such time. A step usually takes less. */
  faultsGatherMaxMs: 30_000,
  /** Time after which the faults of a peer are forgotten. */
  faultsMs: 3_600_000,
  /** Least time between two changes of a member's addresses. */
  movePauseMs: 5_000,
  /** Time for which a peer that does wrong again and again gets no connection. */
  shunMs: 600_000,
  /** Least time between two notices about connections without the run's key. */
  strangersMs: 60_000,
  /** Time after which members are told a notice again. */
  tellMs: 30_000,
  /** Pause before a campaign, once for each longer-standing member. The coordinator's successors campaign in turn. */
  staggerMs: 1_000,
  /** Pause between two campaigns of a member that found no majority. */
  campaignMs: 1_000,
  /** Time without a coordinator and without a majority after which a peer gives up. */
  strandedMs: 900_000,
  /** Interval at which a coordinator asks the members of earlier incarnations for theirs. */
  ancestorsMs: 5_000,
  /** Deadline for the stage of a leaving member to be handed over. */
  drainMs: 60_000,
  /** Shortest time without an answer after which a stage's thread hangs. */
  computeMs: 60_000,
  /** The same for the first call of each method, whose usual duration is not known. */
  computeFirstMs: 300_000,
  /** Time for which the final weights of a stage are kept in memory while no disk takes them. */
  finalSaveMs: 60_000,
  /** Pause before the final weights are written again. */
  finalSavePauseMs: 2_000,
  /** Deadline for a coordinator with a fault of its own to name the next one. Without an answer the others elect one. */
  stepDownMs: 10_000,
  /** Deadline for one request to a bucket with its body. The size of a body is bounded: 1 MiB/s is enough. */
  storeMs: 120_000,
  /** Time for which training waits for a synchronous checkpoint. The rest is written while training continues. */
  syncSaveMs: 60_000,
  /** Time for which the end of a run waits for unfinished checkpoints. */
  lastSaveMs: 60_000,
  /** Pause before a request to a bucket is tried again. It doubles with each attempt. */
  storeRetryMs: 250,
} as const

/** Pause before a member that has not arrived in the successor run is asked again, in milliseconds. */
export const REGROUP_MS = 50

/** Number of peers that a search asks at once. */
export const SEARCH_LANES = 16

/** Peers that a peer which came back asks what is on their disks. */
export const RETURNERS_MAX = 256

/** Members of another founding of the run that a peer which came back keeps, so that the two can meet. */
export const FOUNDING_CONTACTS_MAX = 8

/** Members whose addresses a peer keeps for a search. */
export const KNOWN_MEMBERS_MAX = 64

/** Shortest time between two writes of these members, in milliseconds. */
export const KNOWN_MEMBERS_MS = 5_000

/** Peers in no roster, and peers seen on the local network, that a search remembers. */
export const UNDECIDED_MAX = 256

/** Interval between two announcements of one holder, in milliseconds. */
export const ANNOUNCEMENT_INTERVAL_MS = 2_000

/** Part of a spot notice's time that is kept for saving the weights and stopping, in milliseconds. */
export const SPOT_MARGIN_MS = 5_000

/**
 * Time before a leaving member stops at which it is taken out of the roster in any case, in milliseconds. Others whose time
 * ends within twice this time leave in the same change.
 */
export const LEAVE_MARGIN_MS = 10_000

/** Number of coordinators that a leaving member asks for its release, if it has no time to wait. */
export const LEAVE_ATTEMPTS = 3

/** Number of times that a peer is asked to hold a stage before it counts as lost. */
export const HOLD_ATTEMPTS = 3

/** Number of newcomers that can wait for their admission between two steps. */
export const NEWCOMERS_MAX = 1_024

/** A step that takes this many times as long as the step before has a straggler. */
export const STRAGGLER_FACTOR = 4

/** A step that takes this many times as long as the step before is looked at. */
export const LOOK_FACTOR = 2

/** A holder that works on one microbatch for this many times its usual time is hung. */
export const HUNG_FACTOR = 10

/** The same factor while no spare is there to take its stage. */
export const HUNG_ALONE_FACTOR = 3

/** Number of times that a microbatch is driven before its step starts over. */
export const JOURNEY_ATTEMPTS = 4

/** Failures between two members that answer everybody else, in as many plans, after which their link counts as broken. */
export const LINK_STRIKES = 3

/** Faults of its own after which a peer is still let in again, and peers whose faults are remembered. */
export const FAULTS_MAX = { strikes: 2, peers: 1_024 } as const

/** Late timers and answers that are remembered. */
export const LATE_MAX = 256

/** Members that are asked who of two neighbours cannot be reached. */
export const WITNESSES_MAX = 6

/** Pairs of peers that cannot talk and are remembered. */
export const BROKEN_LINKS_MAX = 1_024

/** Number of holders from which a new replica fetches its state at once. */
export const DONORS_MAX = 4

/** Memory for the copies of other members' stages that one member keeps, in bytes. */
export const KEPT_BYTES_MAX = 8 * 1024 ** 3

/** Bytes of all states of stages on one peer's disk: its own stage's, and the copies that it keeps for others. */
export const DISK_BYTES_MAX = 64 * 1024 ** 3

/** Number of copies in succession that a keeper may fail to take, before it waits for its turn. */
export const COPY_ATTEMPTS = 3

/** Number of complete copies that a member keeps of one stage. An older copy stays whole while the next one arrives. */
export const COPY_GENERATIONS = 2

/** Number of holders of a stage that copy it for a guest: one donor, and one for the case that the donor is lost. */
export const COPIES_MAX = 2

/**
 * Number of steps after the last committed one at which holders copy their weights for a guest, for each attempt in
 * turn. The first attempt needs every holder to be asked before the next step. Fast steps need a later attempt.
 */
export const COPY_STEPS_AHEAD = [0, 2, 4, 8, 16, 32, 64] as const

/** Memory for the gradients that a new replica keeps while it fetches its stage's state, in bytes. */
export const LEARNER_BYTES_MAX = 2 * 1024 ** 3

/** Number of states of earlier steps that the holders of a stage keep for its new replicas. */
export const FROZEN_STATES_MAX = 2

/** Number of steps whose gradients a new replica keeps in any case. */
export const LEARNER_STEPS_MIN = 16

/** Number of steps between two comparisons of replicas' weights. */
export const DIGEST_STEPS = 10

/** Number of times that a member is told of the end of the run. */
export const FINISH_ATTEMPTS = 3

/** Number of times that a request to a bucket is tried if it fails for a temporary reason. */
export const STORE_ATTEMPTS = 4

/** Number of complete checkpoints that are kept. */
export const CHECKPOINTS_KEPT = 3

/** A call to a stage's thread that takes this many times as long as any before means that the thread hangs. */
export const COMPUTE_FACTOR = 20

/** Number of faults of its own stages, within an hour, after which a peer leaves the run. */
export const OWN_FAULTS_MAX = 3

/** Number of steps in a row whose data cannot be computed before the run ends. The last of them is not skipped. */
export const SKIPS_MAX = 3

/** Number of coordinators that step down at one step, each for a fault of its own, before the run ends. */
export const STEP_DOWNS_MAX = 3

/** Number of times that a step is tried before the run ends. */
export const STEP_ATTEMPTS = 3

/** Bound of all journal files of one peer, in bytes, unless `--journal-size` says otherwise. */
export const JOURNAL_BYTES = 32 * 1024 ** 2

/** Interval at which a peer tries again what its disk refused, and looks whether its journal was deleted, in ms. */
export const JOURNAL_RETRY_MS = 2_000

/** Number of refused questions that a peer journals in a second. The others are counted. */
export const REFUSALS_A_SECOND = 10

/** Peers that a newcomer remembers to have asked, and whose word it takes for its first roster. */
export const SPONSORS_MAX = 64

/** How often the voters are asked who a peer is that claims to coordinate. */
export const VOUCH_TRIES = 3

/** Questions of one peer that may be refused in a window, before the peer is cut off: those of a guest, and malformed ones. */
export const OFFENCES = { refusals: 300, malformed: 50, windowMs: 60_000 } as const

/**
 * What one guest may cost in a second: questions, bytes of answers, and bytes of bodies that it sends. It may save up for
 * `burstSeconds`. So many guests are counted at a time.
 */
export const GUEST_BUDGET = {
  questions: 100,
  bytes: 32 << 20,
  sent: 1 << 20,
  burstSeconds: 10,
  guests: 4096,
} as const

/** Newcomers of one peer or network that may be let in, in a window, and never take part. Then it is turned away. */
export const ABSENCES = { most: 4, windowMs: 600_000 } as const

/** Processes of one peer that may take each other's place in the window of `ABSENCES`. Then it is turned away. */
export const RESTARTS_MAX = 20
