/**
 * The shadow of a document, kept in step with it while somebody's changes are looked into, and made in slices: Yjs opens 8 MB in
 * 0.6 s, in which nobody else would be served.
 *
 *   whenCurrent ─→ split (in the worker) ─→ a slice, a slice, … one turn of the event loop each ─→ those who wait go on
 *
 * Promises: `current` is what the document is, whatever was waited for before; after `whenCurrent` it costs a few milliseconds. What
 * enters meanwhile is taken over in its turn. Updates that Yjs cannot apply are left out, as compaction leaves them out.
 */
import type { DocumentState } from '../crdt/document.ts'
import { Shadow } from '../crdt/shadow.ts'
import type { DocumentWork } from '../crdt/work.ts'
import type { Background } from './background.ts'
import { TroupeError } from './errors.ts'
import type { Scope } from './system/scope.ts'

/** Applying this much takes a few milliseconds, and as much again for the garbage of it. */
const pieceBytes = 32 * 1024
/** What applying an update costs besides its bytes, in bytes, for the update and for each client of the document: with 60 000 clients, 10 ms. */
const updateCost = 512
const clientCost = 2
/** What is not more than this, bytes and updates, is taken over on the spot. */
const inlineBytes = 2 * pieceBytes
const inlineUpdates = 4
/** An update that is larger cannot be taken over in one go, and in pieces only before anybody has looked: the shadow is made anew. */
const wholeBytes = 8 * pieceBytes
/** Changes of others that wait to be taken over: beyond it they are, even if nobody asks. */
const mostBehind = 256

type Stage =
  | 'none'
  /** The worker is dividing something that the shadow lacks, or finds out what Yjs cannot apply. */
  | 'elsewhere'
  | 'slicing'
  | 'there'
  /** Not even what a compaction makes of the document can be applied. */
  | 'unreadable'

export class DocumentShadow {
  readonly #scope: Scope
  readonly #background: Background
  readonly #work: DocumentWork
  readonly #content: () => DocumentState
  #stage: Stage = 'none'
  /** Not before it is `there` what the document is. */
  #shadow: Shadow | undefined
  /** What the shadow lacks of the document, the last first: each list is one update in pieces, the last first. */
  #pieces: Uint8Array[][] = []
  /** What entered the document since, oldest first. */
  #behind: Uint8Array[] = []
  #behindBytes = 0
  #waiting: { readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = []
  /** What comes back from the worker for an earlier attempt is of no use. */
  #attempt = 0
  #isRepaired = false
  /** Somebody may have looked: what comes now is a change. */
  #isComplete = false
  #isSlicePlanned = false

  constructor(scope: Scope, background: Background, work: DocumentWork, content: () => DocumentState) {
    this.#scope = scope
    this.#background = background
    this.#work = work
    this.#content = content
  }

  /** Nobody waits for it. */
  get isIdle(): boolean {
    return this.#waiting.length === 0
  }

  /** Resolves when `current` is cheap; undefined when it is. Errors: `document.unavailable`, the document left memory. */
  whenCurrent(): Promise<void> | undefined {
    if (this.#stage === 'unreadable') return undefined
    if (this.#stage === 'none' && this.#content().bytes <= inlineBytes) return undefined
    if (this.#stage === 'there' && this.#behind.length <= inlineUpdates && this.#behindBytes <= inlineBytes) return undefined
    this.#begin()
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  /** Undefined: Yjs cannot read the document. */
  current(): Shadow | undefined {
    if (this.#stage === 'unreadable') return undefined
    const shadow = this.#shadow
    if (shadow !== undefined && this.#isComplete) {
      const missing = [...this.#pieces.splice(0).reverse().flat(), ...this.#takeBehind()]
      if (missing.every((update) => shadow.apply(update))) {
        this.#over('there')
        return shadow
      }
    }
    this.#forget()
    const { snapshot, tail } = this.#content()
    this.#shadow = Shadow.load(snapshot, tail)
    this.#over(this.#shadow === undefined ? 'unreadable' : 'there')
    return this.#shadow
  }

  /** After each update that entered the document; `update` must stay as it is. */
  admitted(update: Uint8Array): void {
    if (this.#stage === 'none' || this.#stage === 'unreadable') return
    this.#behindBytes += update.length
    if (this.#behind.push(update) >= mostBehind) this.#begin()
  }

  /** Takes the next slice. */
  slice(): void {
    this.#isSlicePlanned = false
    const shadow = this.#shadow
    if (this.#stage !== 'slicing' || shadow === undefined) return
    const clients = this.#content().stateVector.size
    for (let cost = 0; cost < pieceBytes; ) {
      const update = this.#pieces.at(-1)
      if (update === undefined) {
        if (this.#behind.length === 0) return this.#over('there')
        if (this.#isOutrun) return this.drop()
        if (!this.#divide(this.#takeBehind())) return
        continue
      }
      const piece = update.pop()
      if (piece !== undefined && !(this.#isComplete ? shadow.apply(piece) : shadow.take(piece))) return this.#repair()
      cost += (piece?.length ?? 0) + updateCost + clients * clientCost
      if (update.length > 0) continue
      shadow.settle()
      this.#pieces.pop()
    }
    this.#goOn()
  }

  /** It goes; whoever waits for it waits for the next one. */
  drop(): void {
    this.#forget()
    if (this.#waiting.length > 0) this.#begin()
  }

  /** The document leaves memory. */
  end(): void {
    this.#forget()
    for (const { reject } of this.#waiting.splice(0)) reject(new TroupeError('document.unavailable', 'it was closed; ask again'))
  }

  #forget(): void {
    this.#attempt++
    this.#stage = 'none'
    this.#isRepaired = false
    this.#isComplete = false
    this.#shadow?.destroy()
    this.#shadow = undefined
    this.#pieces = []
    this.#takeBehind()
  }

  #takeBehind(): readonly Uint8Array[] {
    const behind = this.#behind
    this.#behind = []
    this.#behindBytes = 0
    return behind
  }

  /** What came since can no more be taken over in slices. */
  get #isOutrun(): boolean {
    return this.#isComplete && this.#behind.some(({ length }) => length > wholeBytes)
  }

  #begin(): void {
    if (this.#stage === 'elsewhere' || this.#stage === 'slicing') return
    if (this.#isOutrun) this.#forget()
    const { snapshot, tail } = this.#content()
    if (this.#stage === 'there') this.#take(this.#takeBehind())
    else this.#load([snapshot, ...tail])
  }

  #load(updates: readonly Uint8Array[]): void {
    this.#shadow?.destroy()
    this.#shadow = Shadow.empty()
    this.#isComplete = false
    this.#take(updates.filter(({ length }) => length > 0))
  }

  #take(updates: readonly Uint8Array[]): void {
    if (this.#divide(updates)) this.#goOn()
  }

  /** False: the worker has to divide some of them first. Small ones do not go there: 10 000 take longer to be sent than to be applied. */
  #divide(updates: readonly Uint8Array[]): boolean {
    const large = this.#isComplete ? [] : updates.filter(({ length }) => length > pieceBytes)
    if (large.length === 0) this.#slices(updates, [])
    else
      this.#elsewhere(this.#work.run('splitUpdates', large, pieceBytes), (divided) => {
        this.#slices(updates, divided)
        this.#goOn()
      })
    return large.length === 0
  }

  #slices(updates: readonly Uint8Array[], divided: readonly (readonly Uint8Array[])[]): void {
    const next = divided.values()
    const piecesOf = (update: Uint8Array) => (divided.length > 0 && update.length > pieceBytes ? (next.next().value ?? []) : [update])
    this.#pieces = updates.map((update) => [...piecesOf(update)].reverse()).reverse()
    this.#stage = 'slicing'
  }

  /** Yjs threw: a compaction finds out which updates do that, and leaves them out. */
  #repair(): void {
    if (this.#isRepaired) return this.#fail()
    this.#isRepaired = true
    this.#isComplete = false // it is half changed
    const { snapshot, tail } = this.#content()
    this.#takeBehind()
    this.#pieces = []
    this.#elsewhere(this.#work.run('compact', snapshot, [...tail]), (compacted) => {
      if (compacted.ok) this.#load([compacted.snapshot])
      else this.#fail()
    })
  }

  #elsewhere<Result>(promise: Promise<Result>, done: (result: Result) => void): void {
    this.#stage = 'elsewhere'
    const attempt = this.#attempt
    this.#background.run(
      promise,
      (result) => {
        if (attempt === this.#attempt) done(result)
      },
      () => {
        if (attempt === this.#attempt) this.#fail()
      },
    )
  }

  #fail(): void {
    this.#forget()
    this.#over('unreadable')
  }

  /** By way of the clock: of messages to itself, a document handles several in one turn. */
  #goOn(): void {
    if (this.#isSlicePlanned) return
    this.#isSlicePlanned = true
    this.#scope.after('slice', 1, { type: 'document.slice' })
  }

  #over(stage: 'there' | 'unreadable'): void {
    this.#stage = stage
    this.#isComplete = true
    for (const { resolve } of this.#waiting.splice(0)) resolve()
  }
}
