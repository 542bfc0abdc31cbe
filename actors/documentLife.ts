/**
 * The life of a document in memory, as a chart: regions side by side, each a table of states and of the events that end them.
 * `DocumentLog` goes by it step by step; docs/documents.md draws it.
 *
 *   stage        loading ──loaded──→ open ⇄ saving ──ended──→ over           (open ──ended──→ over when it is stopped or fails)
 *   storage      clean ──admitted──→ waiting ──commit──→ committing ──stored──→ clean, or waiting when more came meanwhile
 *                   committing ──refused──→ failing ⇄ retrying ──stored──→ clean or waiting
 *                   committing, retrying ──diverged──→ lost
 *   compaction   idle ──compact──→ running ──compacted──→ resting ──rested──→ idle
 *
 * Promises: an event that no region expects is a broken invariant and throws, so that the document is loaded anew instead of
 * going on with a state that nobody has thought of. What follows from the position is a function of it, and never stored.
 */

export const documentLife = {
  stage: {
    /** One that fails ends the incarnation; the next join begins another one. */
    loading: { loaded: 'open' },
    open: { save: 'saving', ended: 'over' },
    /** The process ends, or nobody needs the document; a message that comes meanwhile opens it again. */
    saving: { saved: 'open', ended: 'over' },
    over: {},
  },
  storage: {
    clean: { admitted: 'waiting' },
    waiting: { admitted: 'waiting', commit: 'committing' },
    committing: { admitted: 'committing', stored: 'clean', storedSome: 'waiting', refused: 'failing', diverged: 'lost' },
    /** The disk has refused the last commit. */
    failing: { admitted: 'failing', commit: 'retrying' },
    retrying: { admitted: 'retrying', stored: 'clean', storedSome: 'waiting', refused: 'failing', diverged: 'lost' },
    /** The journal is not where this document left it. What it has not stored comes back from its clients. */
    lost: {},
  },
  compaction: {
    idle: { compact: 'running' },
    running: { compacted: 'resting' },
    resting: { rested: 'idle' },
  },
} as const

type Chart = typeof documentLife
export type Region = keyof Chart
export type Position = { readonly [R in Region]: keyof Chart[R] }
type EventsOf<States> = States extends infer S ? (S extends object ? { [K in keyof S]: keyof S[K] }[keyof S] : never) : never
/** What can happen to a document. */
export type LifeEvent = { [R in Region]: EventsOf<Chart[R]> }[Region]

type Tables = Readonly<Record<Region, Readonly<Record<string, Readonly<Partial<Record<LifeEvent, string>>>>>>>
const tables: Tables = documentLife

export const newborn: Position = { stage: 'loading', storage: 'clean', compaction: 'idle' }

/** All that was admitted is on disk. */
export const isSaved = ({ storage }: Position): boolean => storage === 'clean'

/** The disk has refused the last commit, and it has not been accepted since. */
export const isRefused = ({ storage }: Position): boolean => storage === 'failing' || storage === 'retrying'

export const isCommitting = ({ storage }: Position): boolean => storage === 'committing' || storage === 'retrying'

/** Nothing waits and nothing is under way: with nobody in it, the document may leave memory. */
export const isAtRest = (position: Position): boolean => isSaved(position) && position.compaction !== 'running'

/** A document's place in its life. */
export class Life implements Position {
  stage: Position['stage'] = newborn.stage
  storage: Position['storage'] = newborn.storage
  compaction: Position['compaction'] = newborn.compaction

  /** Throws when no region expects this now. */
  happened(event: LifeEvent): void {
    const stage = tables.stage[this.stage]?.[event]
    const storage = tables.storage[this.storage]?.[event]
    const compaction = tables.compaction[this.compaction]?.[event]
    if (stage === undefined && storage === undefined && compaction === undefined)
      throw new Error(`a document does not expect ${event}: it is ${this.stage}, ${this.storage}, ${this.compaction}`)
    // The tables lead to states of their own region only.
    if (stage !== undefined) this.stage = stage as Position['stage']
    if (storage !== undefined) this.storage = storage as Position['storage']
    if (compaction !== undefined) this.compaction = compaction as Position['compaction']
  }
}
