/**
 * The shadow of a document, kept in step with it while somebody's changes are looked into, and made in slices: Yjs opens 8 MB in
 * 0.6 s, in which nobody else would be served.
 *
 *   whenCurrent ─→ split (in the worker) ─→ a slice, a slice, … one turn of the event loop each ─→ those who wait go on
 *
 * A large change of somebody is tried in the same way before it is judged: 1 MiB of it may take Yjs half a second.
 *
 *   whenTried ─→ split (in the worker) ─→ a slice, a slice, … ─→ `tried`: judged in that very turn, or the shadow goes
 *
 * Promises: `current` is what the document is, whatever was waited for before; after `whenCurrent` it costs a few milliseconds. What
 * enters meanwhile is taken over in its turn, and nobody sees what is only tried. Updates that Yjs cannot apply are left out, as compaction leaves them out.
 */
import type { DocumentState } from '../crdt/document.ts'
import { Shadow } from '../crdt/shadow.ts'
import type { UpdateInspection } from '../crdt/update.ts'
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
  /** It gets a change that the document may never have. */
  | 'trying'
  /** It has that change, and whoever brings it has been told. */
  | 'tried'
  /** Not even what a compaction makes of the document can be applied. */
  | 'unreadable'

/** A change with more structs, or more bytes of them, is not applied in one go. */
const mostStructs = 4_000

interface Trial {
  readonly update: Uint8Array
  /** The last first; undefined while the worker divides it. */
  pieces: Uint8Array[] | undefined
  readonly looksAtRoots: boolean
  /** Those that it changes. */
  readonly roots: Set<string>
  isApplied: boolean
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** What came of it. `isApplied`: the shadow has it, else it is of no more use. */
export interface Tried extends Pick<Trial, 'roots' | 'isApplied'> {
  readonly shadow: Shadow
}

/** Whether a change that brings structs is to be tried before it is judged. */
export const isLongToTry = ({ structs, deletesAt }: UpdateInspection): boolean => structs > mostStructs || deletesAt > wholeBytes

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
  #trial: Trial | undefined

  constructor(scope: Scope, background: Background, work: DocumentWork, content: () => DocumentState) {
    this.#scope = scope
    this.#background = background
    this.#work = work
    this.#content = content
  }

  /** Nobody waits for it. */
  get isIdle(): boolean {
    return this.#waiting.length === 0 && this.#trial === undefined
  }

  /** Resolves when `current` is cheap; undefined when it is. Errors: `document.unavailable`, the document left memory. */
  whenCurrent(): Promise<void> | undefined {
    if (this.#stage === 'unreadable') return undefined
    if (this.#stage === 'none' && this.#content().bytes <= inlineBytes) return undefined
    if (this.#stage === 'there' && this.#behind.length <= inlineUpdates && this.#behindBytes <= inlineBytes) return undefined
    this.#begin()
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  /**
   * Resolves when there is something to be asked again about: `tried` has an answer, or the shadow had to be made first. Undefined: it
   * has, or `isDecided` without it, asked when the shadow is what the document is. Errors: as above; `document.busy`, it could not be divided.
   */
  whenTried(update: Uint8Array, looksAtRoots: boolean, isDecided: () => boolean): Promise<void> | undefined {
    if (this.#trialOf(update, looksAtRoots) !== undefined) return undefined
    const waiting = this.whenCurrent()
    if (waiting !== undefined) return waiting
    if (this.current() === undefined || isDecided()) return undefined
    return new Promise((resolve, reject) => {
      const trial: Trial = { update, pieces: undefined, looksAtRoots, roots: new Set(), isApplied: true, resolve, reject }
      this.#trial = trial
      this.#stage = 'trying'
      const divided = (pieces: readonly Uint8Array[]) => {
        if (this.#trial !== trial) return
        trial.pieces = [...pieces].reverse()
        this.#goOn()
      }
      const failed = (error: unknown) => {
        if (this.#trial !== trial) return
        this.#trial = undefined
        this.#over('there') // it has nothing of the change
        reject(new TroupeError('document.busy', `a change could not be tried: ${String(error).slice(0, 50)}`))
      }
      this.#background.run(this.#work.run('splitUpdates', [update], pieceBytes), ([pieces]) => divided(pieces ?? []), failed)
    })
  }

  /** Of a change that was tried, in the turn in which that is over. The shadow has it from then on: whoever refuses it drops the shadow. */
  tried(update: Uint8Array, looksAtRoots: boolean): Tried | undefined {
    const shadow = this.#shadow
    const trial = this.#trialOf(update, looksAtRoots)
    if (shadow === undefined || trial === undefined) return undefined
    this.#trial = undefined
    const { roots, isApplied } = trial
    // What others brought meanwhile is not its fault: it is judged as a small change is.
    const isTorn = isApplied && !this.#takeBehind().every((behind) => shadow.apply(behind))
    if (isTorn) this.drop()
    else this.#over('there')
    return isTorn ? undefined : { shadow, roots, isApplied }
  }

  /** Access may be less by now than when it began, and then its roots were not looked at. */
  #trialOf(update: Uint8Array, looksAtRoots: boolean): Trial | undefined {
    const trial = this.#stage === 'tried' && this.#trial?.update === update ? this.#trial : undefined
    return trial?.looksAtRoots === false && looksAtRoots ? undefined : trial
  }

  /** For those who only look at what was there before a change that is tried now. */
  readable(): Shadow | undefined {
    return this.#stage === 'tried' ? this.#shadow : this.current()
  }

  /** Undefined: Yjs cannot read the document. */
  current(): Shadow | undefined {
    if (this.#stage === 'unreadable') return undefined
    const shadow = this.#shadow
    if (shadow !== undefined && this.#isComplete && this.#trial === undefined) {
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
    if (this.#trial !== undefined && shadow !== undefined) return this.#try(shadow, this.#trial)
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

  #try(shadow: Shadow, trial: Trial): void {
    const { pieces } = trial
    // Nobody has judged it: whoever brought it is gone, or has to wait for something else.
    if (this.#stage === 'tried') return this.drop()
    if (pieces === undefined) return
    for (let cost = 0; cost < pieceBytes && trial.isApplied; ) {
      const piece = pieces.pop()
      if (piece === undefined) break
      if (trial.looksAtRoots) for (const root of shadow.touched(piece)) trial.roots.add(root)
      // What waits for a later piece could not be looked at: clients that need each other in a circle, which is forged.
      trial.isApplied = shadow.take(piece) && shadow.isWhole
      cost += piece.length + updateCost + this.#content().stateVector.size * clientCost
    }
    if (pieces.length === 0 || !trial.isApplied) {
      this.#stage = 'tried'
      trial.resolve()
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
    const trying = this.#trial === undefined ? [] : [this.#trial]
    for (const { reject } of [...trying, ...this.#waiting.splice(0)])
      reject(new TroupeError('document.unavailable', 'it was closed; ask again'))
    this.#forget()
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
    this.#trial?.resolve()
    this.#trial = undefined
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
    if (this.#stage === 'elsewhere' || this.#stage === 'slicing' || this.#trial !== undefined) return
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
