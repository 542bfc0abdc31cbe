/** Bugs that are planted on purpose: the simulation must find each of them, or it proves nothing. */
import { DocumentReceipts } from '../../actors/documentReceipts.ts'
import type { Appended, Journals } from '../../actors/journal.ts'
import { DocumentState, type Examined } from '../../crdt/document.ts'
import { type Expected, Passing } from '../support/passingJournals.ts'
import type { SeededRandom } from '../support/world.ts'
import { Events } from './events.ts'

/** Where an append will lie that says where the journal stands. */
const place = (entries: readonly Uint8Array[], { expected = 'none' }: Expected = {}): Appended => {
  const before = expected === 'none' ? 0 : expected
  return { first: before + 1, last: before + entries.length, time: 0 }
}

/** Says "on disk" when it is not. */
export class EarlyJournals extends Passing {
  override append(journal: string, entries: readonly Uint8Array[], options?: Expected): Promise<Appended> {
    this.journals.append(journal, entries, options).catch(() => {})
    return Promise.resolve(place(entries, options))
  }
}

/** A write now and then stays behind in a cache; the next one gets to the disk before it. */
export class ReorderingJournals extends Passing {
  readonly #events: Events
  readonly #random: SeededRandom
  readonly #behind = new Map<string, readonly Uint8Array[]>()

  constructor(journals: Journals, events: Events, random: SeededRandom) {
    super(journals)
    this.#events = events
    this.#random = random
  }

  override async append(journal: string, entries: readonly Uint8Array[], options?: Expected): Promise<Appended> {
    const behind = this.#behind.get(journal)
    if (behind === undefined && this.#random.chance(0.2)) {
      this.#behind.set(journal, entries)
      await new Promise<void>((resolve) => this.#events.after(5, resolve))
      return place(entries, options)
    }
    const written = this.journals.append(journal, entries)
    if (behind !== undefined) {
      this.#behind.delete(journal)
      this.journals.append(journal, behind).catch(() => {})
    }
    await written
    return place(entries, options)
  }
}

/** While `run` runs, an update with missing predecessors passes for a whole one. */
export const withoutCheckOfPredecessors = async <T>(run: () => Promise<T>): Promise<T> => {
  const { examine } = DocumentState.prototype
  DocumentState.prototype.examine = function (this: DocumentState, ...parameters) {
    const examined = examine.apply(this, parameters)
    return examined.ok && examined.verdict === 'missing' ? ({ ...examined, verdict: 'new' } satisfies Examined) : examined
  }
  try {
    return await run()
  } finally {
    DocumentState.prototype.examine = examine
  }
}

/** While `run` runs, waits are counted by the clock on the wall, which may be set. */
export const withWaitsByTheWall = async <T>(run: () => Promise<T>): Promise<T> => {
  const right = Object.getOwnPropertyDescriptor(Events.prototype, 'monotonic') as PropertyDescriptor // it is a getter there
  const setMs = new WeakMap<Events, number>()
  const { set } = Events.prototype
  Events.prototype.set = function (this: Events, ms) {
    setMs.set(this, (setMs.get(this) ?? 0) + ms)
  }
  Object.defineProperty(Events.prototype, 'monotonic', {
    ...right,
    get(this: Events) {
      return right.get?.call(this) + (setMs.get(this) ?? 0)
    },
  })
  try {
    return await run()
  } finally {
    Object.defineProperty(Events.prototype, 'monotonic', right)
    Events.prototype.set = set
  }
}

/** While `run` runs, what builds on something missing is acknowledged like anything else. */
export const withReceiptsForHoles = async <T>(run: () => Promise<T>): Promise<T> => {
  const { hold, taken } = DocumentReceipts.prototype
  DocumentReceipts.prototype.hold = function (this: DocumentReceipts, dues, _inspection, receipts) {
    taken.call(this, dues, receipts, false)
    return true
  }
  try {
    return await run()
  } finally {
    DocumentReceipts.prototype.hold = hold
  }
}
