/** Every deadline and bound of the node in one place; docs/OPERATIONS.md says who waits for whom. */

export const TIMEOUTS = {
  /** A bootstrap address to answer. */
  connectMs: 5_000,
  /** A member to answer a newcomer. */
  helloMs: 5_000,
  /** Looking for peers by address book and mDNS before founding the run. */
  discoveryMs: 1_500,
  /** The founder on this machine to publish its address. */
  founderMs: 20_000,
  /** A welcomed newcomer, which is let in between two steps, asks again after so long whether it is still waited for. */
  admissionMs: 10_000,
  /** A member to accept a change of the roster, to promise, or to carry a change out. */
  rosterMs: 5_000,
  /** A member to build its stage's sessions and, if lost, to fetch and average its donors' weights. */
  holdMs: 300_000,
  /** One chunk (1 MiB) of weights. */
  chunkMs: 30_000,
  /** A holder to have the step committed after which a guest wants a copy of its weights. */
  snapshotMs: 1_200_000,
  /** A holder to keep that copy, at most: as long as the guest is connected and fetches. */
  guestCopyMs: 3_600_000,
  /** A microbatch to be taken into the next stage's inbox. */
  handOverMs: 60_000,
  /** All microbatches of a step to be counted by every stage. */
  stepMs: 600_000,
  /** The least that a step may take before those who hold it up are looked for. */
  stragglerMs: 20_000,
  /** The update of one stage. */
  commitMs: 120_000,
  /** A chunk of a replica's gradients, from when it is asked for until it is added up and there. */
  gradientsMs: 60_000,
  /** All holders of a stage to have the total of their gradients. */
  reduceMs: 300_000,
  /** The coordinator to hear that a microbatch does not get on. */
  reportMs: 5_000,
  evaluateMs: 600_000,
  /** Before a stage that nobody took is offered again. */
  retryMs: 500,
  /** Between two heartbeats. */
  heartbeatMs: 1_000,
  /** Without an answer for so long a member is suspect, though its connection stands. */
  silenceMs: 5_000,
  /** A peer whose connection broke to answer on a new one, before it counts as lost. */
  reconnectMs: 2_000,
  /** Each member waits so much longer than the one before it to ask for the place of a lost coordinator. */
  staggerMs: 1_000,
  /** Between two attempts of a member to take over, when it finds no majority. */
  campaignMs: 1_000,
  /** Nobody of the run to be found who coordinates it, nor a majority that could: then this peer gives up. */
  strandedMs: 900_000,
  /** A leaving member's stage to be in other hands. */
  drainMs: 60_000,
  /** One request to a bucket with its body, which is bounded: enough at 1 MiB/s. */
  storeMs: 120_000,
  /** Training to wait for a synchronous checkpoint; what is not written then is written while it goes on. */
  syncSaveMs: 60_000,
  /** At the end of a run, checkpoints that are on their way to be complete. */
  lastSaveMs: 60_000,
  /** Before a request to a bucket is tried again; doubles each time. */
  storeRetryMs: 250,
} as const

/** Before a member that comes over into the run that its own became is looked for again. */
export const REGROUP_MS = 50

/** Between two announcements of one holder. */
export const ANNOUNCEMENT_INTERVAL_MS = 2_000

/** Of a spot notice's time, what is kept for the end itself: to save the weights and stop. */
export const SPOT_MARGIN_MS = 5_000

/** How often a member that goes asks to be let go, if whom it asks is gone itself and it has no time to wait. */
export const FAREWELL_ATTEMPTS = 3

/** How often a peer is asked to take a stage before it counts as lost. */
export const HOLD_ATTEMPTS = 3

/** Peers that wait to be let in between two steps. */
export const NEWCOMERS_MAX = 1_024

/** A step that takes so many times as long as the one before is held up by somebody. */
export const STRAGGLER_FACTOR = 4

/** How often a microbatch is driven before its step starts over. */
export const JOURNEY_ATTEMPTS = 4

/** Holders of a stage that a new replica fetches its state from at once. */
export const DONORS_MAX = 4

/** Copies of others' stages that a member keeps for when those are lost, all together. */
export const KEPT_BYTES_MAX = 8 * 1024 ** 3

/** Complete copies of one stage that a keeper has: while the shards of the next one come, those before must be whole. */
export const COPY_GENERATIONS = 2

/** Holders of a stage that a guest has keep a copy: one to fetch it from, one for when that is lost. */
export const COPIES_MAX = 2

/**
 * How many steps after the last committed one the copy is to be taken, in one attempt after another: at once if every
 * holder can still be asked before the next step, later where steps are faster than that.
 */
export const COPY_STEPS_AHEAD = [0, 2, 4, 8, 16, 32, 64] as const

/** Gradients that a member keeps while it fetches the state of the stage that they belong to. */
export const LEARNER_BYTES_MAX = 2 * 1024 ** 3

/** Steps between two comparisons of replicas' weights. */
export const DIGEST_STEPS = 10

/** How often a member that does not answer is told that the run is over. */
export const FINISH_ATTEMPTS = 3

/** How often a request to a bucket is tried that fails for a reason that may pass. */
export const STORE_ATTEMPTS = 4

/** Complete checkpoints that are kept. */
export const CHECKPOINTS_KEPT = 3

/** How often a step is tried before the run is given up. */
export const STEP_ATTEMPTS = 3
