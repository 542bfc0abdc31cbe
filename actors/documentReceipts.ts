/**
 * What the sessions of a document were asked and are owed: receipts ("saved"), echoes of barriers, and questions for what is missing.
 *
 * Promises: a receipt comes after the commit that holds what it stands for, and once. What builds on something missing is held:
 * its receipt comes when an answer of the client has brought that, and all of it is on disk. A client that counts anew is owed
 * nothing of before. Whoever does not answer is asked again, ever more seldom; whoever has written and fell silent is asked once
 * whether both sides have the same.
 *
 * How stock clients count (HocuspocusProvider 3 and 4): one for each update, one for the answer to their own question, which they ask
 * when they connect and when they are told to (`forceSync`) and which sets the count to one; nothing for answers to questions that
 * are the server's own. One receipt too many would show "saved" too early, one too few would never show it.
 */
import { noBytes } from '../crdt/cursor.ts'
import type { StateVector } from '../crdt/stateVector.ts'
import type { Reach, UpdateInspection } from '../crdt/update.ts'
import { type Part, publication } from './publication.ts'
import type { Address } from './system/address.ts'
import type { Scope } from './system/scope.ts'
import type { MonotonicMs } from './world.ts'

export interface ReceiptOptions {
  /** Wait before a client is asked again for what is missing; doubles up to 5 minutes. Default 10 000. */
  readonly askAgainMs?: number
  /** A client that wrote and then wrote nothing for so long is asked whether it has more than the server. 0: never. Default 120 000. */
  readonly compareMs?: number
}

/** What receipts need of the log. */
export interface Ledger {
  /** Calls back when all that was admitted so far is on disk; at once if it is. */
  whenSaved(pay: () => void, waiting?: { readonly bytes: number }): void
  vector(): { readonly clocks: ReadonlyMap<number, number>; readonly bytes: Uint8Array }
}

/** What waits until the document has all of `ends`. */
interface Held {
  receipts: number
  readonly ends: StateVector
  /** The latest: it stands for all before it. */
  barrier: Uint8Array | undefined
  /** It could not be taken in, whatever it is, and may never be, for the document may have begun anew by then. */
  isLater: boolean
}

const nothingHeld = (): Held => ({ receipts: 0, ends: new Map(), barrier: undefined, isLater: false })

/** Of one session. */
export class Dues {
  readonly address: Address
  readonly wantsReceipts: boolean
  /** Raised when the client counts anew or is gone: receipts of earlier rounds are nobody's. */
  round = 0
  /** Receipts that are due and not yet told. */
  due = 0
  /** Questions that were not answered yet. */
  unanswered = 0
  /** It counts the next answer as one change. */
  isCounting = false
  /** Questions of its own that it has asked and whose turn has not come: what it said before them earns nothing any more. */
  countingSoon = 0
  askedAt: MonotonicMs = 0
  /** It is not asked for what is missing before this. */
  askableAt: MonotonicMs = 0
  /** Its last answer was refused for its size. */
  isTooLarge = false
  waitMs: number
  /** When it last wrote; 0: not since it was last asked. */
  wroteAt: MonotonicMs = 0
  held: Held | undefined
  /** The client knows that this was refused. It keeps it, so that it may come in later, when the client may write again. */
  refused: Held | undefined

  constructor(address: Address, wantsReceipts: boolean, waitMs: number) {
    this.address = address
    this.wantsReceipts = wantsReceipts
    this.waitMs = waitMs
  }
}

const saved: Part = { kind: 'saved', bytes: noBytes }
const encoder = new TextEncoder()

const defaultAskAgainMs = 10_000
/** Between two questions to somebody who makes smaller what was refused for its size: each answer brings all of that again. */
const askSmallerMs = 1_000
const longestAskAgainMs = 300_000
const defaultCompareMs = 120_000
/** Client ids that one session may have on hold. A stock client has one or two. */
const maxHeldClients = 10_000

const extend = (ends: StateVector, reaches: readonly Reach[]): void => {
  for (const { client, to } of reaches) if (to > (ends.get(client) ?? 0)) ends.set(client, to)
}

/** Of two, one that waits for the ends of both. */
const joined = (one: Held | undefined, other: Held | undefined): Held | undefined => {
  if (one === undefined || other === undefined) return one ?? other
  for (const [client, to] of other.ends) if (to > (one.ends.get(client) ?? 0)) one.ends.set(client, to)
  one.receipts += other.receipts
  one.barrier = other.barrier ?? one.barrier
  one.isLater ||= other.isLater
  return one
}

const covers = (clocks: ReadonlyMap<number, number>, ends: StateVector): boolean => {
  for (const [client, to] of ends) if ((clocks.get(client) ?? 0) < to) return false
  return true
}

export class DocumentReceipts {
  readonly #scope: Scope
  readonly #ledger: Ledger
  readonly #askAgainMs: number
  readonly #compareMs: number
  readonly #all = new Set<Dues>()
  #due = new Set<Dues>()
  /** When the next look is due. */
  #lookAt = Number.POSITIVE_INFINITY

  constructor(scope: Scope, options: ReceiptOptions, ledger: Ledger) {
    this.#scope = scope
    this.#ledger = ledger
    this.#askAgainMs = options.askAgainMs ?? defaultAskAgainMs
    this.#compareMs = options.compareMs ?? defaultCompareMs
  }

  open(address: Address, wantsReceipts: boolean): Dues {
    const dues = new Dues(address, wantsReceipts, this.#askAgainMs)
    this.#all.add(dues)
    return dues
  }

  close(dues: Dues): void {
    this.#all.delete(dues)
    this.countAnew(dues)
    if (this.#all.size > 0) return
    this.#scope.cancel('look')
    this.#lookAt = Number.POSITIVE_INFINITY
  }

  // ── what a client says ─────────────────────────────────────────────────────────────────────────────────────────

  /**
   * A question of its own has come: it forgets what it counted, and waits for the answer to ours alone. `countAnew` follows when it is the
   * turn of the question; what it said before may still wait for the worker then.
   */
  countsAnewSoon(dues: Dues): void {
    this.#forget(dues)
    dues.countingSoon++
  }

  countAnew(dues: Dues): void {
    this.#forget(dues)
    dues.countingSoon = Math.max(0, dues.countingSoon - 1)
    dues.isCounting = true
  }

  #forget(dues: Dues): void {
    dues.round++
    dues.due = 0
    this.#due.delete(dues)
    if (dues.held !== undefined) dues.held.receipts = 0
    if (dues.refused !== undefined) dues.refused.receipts = 0
  }

  /** A question leaves for it. */
  question(dues: Dues): Part {
    dues.unanswered++
    return { kind: 'vector', bytes: this.#ledger.vector().bytes }
  }

  /** An update comes. Returns the receipts that it earns when it is on disk. */
  earns(dues: Dues, isAnswer: boolean): number {
    if (dues.countingSoon > 0) {
      if (isAnswer && dues.unanswered > 0) dues.unanswered--
      return 0
    }
    if (!isAnswer) return dues.wantsReceipts ? 1 : 0
    const isOurs = dues.unanswered > 0 && !dues.isCounting
    if (dues.unanswered > 0) dues.unanswered--
    dues.isCounting = false
    return dues.wantsReceipts && !isOurs ? 1 : 0
  }

  /** It was taken, or is here already. */
  taken(dues: Dues, receipts: number, isAnswer: boolean): void {
    if (receipts > 0) this.#owe(dues, receipts)
    if (isAnswer) this.#release(dues)
    if (this.#due.size > 0) this.pay()
    if (this.#compareMs === 0 || isAnswer) return
    dues.wroteAt = this.#scope.monotonic()
    this.#planLook(dues.wroteAt + this.#compareMs)
  }

  /**
   * `inspection` of what may come in later: stock clients never make up for a refusal, so "unsaved" would stand there for ever after
   * the client may write again and everything is on disk.
   */
  refuse(dues: Dues, receipts: number, reason: string, inspection?: UpdateInspection): void {
    const part: Part = { kind: 'refused', bytes: encoder.encode(reason) }
    if (receipts > 0) this.#scope.tell(dues.address, publication(Array<Part>(receipts).fill(part)))
    if (receipts === 0 || inspection === undefined) return
    dues.refused ??= nothingHeld()
    dues.refused.receipts += receipts
    extend(dues.refused.ends, inspection.ranges)
    extend(dues.refused.ends, inspection.deletes)
    if (dues.refused.ends.size > maxHeldClients) dues.refused = undefined
  }

  /** The answer that stands for what was held is refused for its size, and all of that with it. */
  tooLarge(dues: Dues, reason: string): void {
    dues.isTooLarge = true
    this.refuse(dues, dues.held?.receipts ?? 0, reason)
    this.#setAside(dues)
  }

  #setAside(dues: Dues): void {
    dues.refused = joined(dues.refused, dues.held)
    dues.held = undefined
  }

  /** The client may write more or less than before. Whoever has something that was not taken in is asked for it. */
  permitted(dues: Dues, mayWrite: boolean): void {
    if (!mayWrite) return this.#setAside(dues)
    dues.held = joined(dues.held, dues.refused)
    dues.refused = undefined
    if (dues.held === undefined) return
    dues.isTooLarge = false
    this.askNow(dues)
  }

  /** Somebody has kept what was refused. */
  get hasRefused(): boolean {
    for (const { refused } of this.#all) if (refused !== undefined) return true
    return false
  }

  /** It cannot be taken in now. Without an inspection: all of it comes again with the next answer. False: as for `hold`. */
  holdLater(dues: Dues, inspection: UpdateInspection | undefined, receipts: number): boolean {
    const isWithin = this.hold(dues, inspection, receipts)
    if (dues.held !== undefined) dues.held.isLater = true
    return isWithin
  }

  /** It builds on something missing. False: more is on hold than is kept, and the client had better begin anew. */
  hold(dues: Dues, inspection: UpdateInspection | undefined, receipts: number): boolean {
    dues.held = joined(dues.held, dues.refused) ?? nothingHeld()
    dues.refused = undefined
    dues.held.receipts += receipts
    if (inspection !== undefined) {
      extend(dues.held.ends, inspection.ranges)
      extend(dues.held.ends, inspection.deletes)
    }
    const now = this.#scope.monotonic()
    this.#planLook(dues.askableAt > now ? dues.askableAt : now + this.#askAgainMs)
    return dues.held.ends.size <= maxHeldClients
  }

  /** Asks for what is missing, unless that was done just now. */
  ask(dues: Dues): void {
    const now = this.#scope.monotonic()
    if (now < dues.askableAt) return
    this.#askLater(dues)
    dues.askedAt = now
    this.#scope.tell(dues.address, publication([this.question(dues)]))
    this.#planLook(dues.askableAt)
  }

  /** Another answer than the last one can be expected. */
  askNow(dues: Dues): void {
    dues.askableAt = 0
    dues.waitMs = this.#askAgainMs
    this.ask(dues)
  }

  /** It has deleted something that is not here: if it was refused for its size, that may be little enough now. */
  askSmaller(dues: Dues): void {
    if (dues.isTooLarge) dues.askableAt = Math.min(dues.askableAt, dues.askedAt + askSmallerMs)
    this.ask(dues)
    this.#planLook(dues.askableAt)
  }

  /** An answer had holes: the client itself lacks something, and the same answer would come again. */
  hasHoles(dues: Dues): void {
    if (this.#scope.monotonic() >= dues.askableAt) this.#askLater(dues)
  }

  /** What fits of an answer with holes was taken. */
  partTaken(dues: Dues): void {
    if (dues.held === undefined || !this.#all.has(dues)) return
    this.#release(dues)
    if (this.#due.size > 0) this.pay()
  }

  barrier(dues: Dues, payload: Uint8Array): void {
    if (dues.held !== undefined) dues.held.barrier = payload
    else this.#echo(dues, payload)
  }

  // ── what it gets ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Tells what has become due; after what was published of the same commit. */
  pay(): void {
    if (this.#due.size === 0) return
    const due = this.#due
    this.#due = new Set()
    for (const dues of due) {
      const parts = Array<Part>(dues.due).fill(saved)
      dues.due = 0
      this.#scope.tell(dues.address, publication(parts))
    }
  }

  /** Looks who has to be asked. Messages cannot be lost on the way, but a client may ignore them, or have kept something back. */
  look(): void {
    this.#lookAt = Number.POSITIVE_INFINITY
    const now = this.#scope.monotonic()
    let next = Number.POSITIVE_INFINITY
    for (const dues of this.#all) {
      if (dues.held !== undefined) {
        this.ask(dues)
        next = Math.min(next, dues.askableAt)
        continue
      }
      if (dues.wroteAt > 0 && now - dues.wroteAt >= this.#compareMs) {
        dues.wroteAt = 0
        this.#scope.tell(dues.address, publication([this.question(dues)]))
      }
      if (dues.wroteAt > 0) next = Math.min(next, dues.wroteAt + this.#compareMs)
    }
    this.#planLook(next)
  }

  #planLook(at: MonotonicMs): void {
    if (at >= this.#lookAt) return
    this.#lookAt = at
    this.#scope.after('look', at - this.#scope.monotonic(), { type: 'document.look' })
  }

  #askLater(dues: Dues): void {
    dues.askableAt = this.#scope.monotonic() + dues.waitMs
    dues.waitMs = Math.min(longestAskAgainMs, dues.waitMs * 2)
  }

  #owe(dues: Dues, receipts: number): void {
    const { round } = dues
    this.#ledger.whenSaved(() => {
      if (dues.round !== round) return
      // A stock provider that was offline counts one and sends many: of several receipts the first shows "saved" already.
      if (dues.held?.isLater === true) {
        dues.held.receipts += receipts
        return
      }
      dues.due += receipts
      this.#due.add(dues)
    })
  }

  /** Whatever was held is here. An answer is everything that the client has beyond ours, so nothing of it is missing any more. */
  #release(dues: Dues): void {
    const { held } = dues
    if (held !== undefined && !covers(this.#ledger.vector().clocks, held.ends)) return
    dues.askableAt = 0
    dues.waitMs = this.#askAgainMs
    dues.isTooLarge = false
    dues.held = undefined
    if (held === undefined) return
    if (held.receipts > 0) this.#owe(dues, held.receipts)
    if (held.barrier !== undefined) this.#echo(dues, held.barrier)
  }

  #echo(dues: Dues, payload: Uint8Array): void {
    const { address } = dues
    const tell = () => {
      if (this.#all.has(dues)) this.#scope.tell(address, publication([{ kind: 'barrier', bytes: payload }]))
    }
    this.#ledger.whenSaved(tell, { bytes: payload.length })
  }
}
