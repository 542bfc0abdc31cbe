/**
 * What is looked at before a change enters a document: changes of clients that may only comment, and those that the application
 * checks. Nobody else pays: without either, documents stay bytes.
 *
 * Promises: what is refused is neither stored nor told to anybody; a refused comment costs one look, and no rebuilding of the
 * shadow unless it is large; a change that the application refuses costs one, so a user may cause a few of them each minute, and is then refused
 * unseen. A document too large for a shadow takes no such changes, rather than unseen ones.
 */
import type { Author } from '../crdt/change.ts'
import type { DocumentState } from '../crdt/document.ts'
import type { Inspected } from '../crdt/merge.ts'
import type { Shadow } from '../crdt/shadow.ts'
import type { DocumentWork } from '../crdt/work.ts'
import { type DocumentAccess, publicName, tenantOf } from './account.ts'
import type { Background } from './background.ts'
import { DocumentShadow, isLongToTry, type Tried } from './documentShadow.ts'
import { type ErrorCode, isTroupeError } from './errors.ts'
import type { DocumentCheck } from './hooks.ts'
import type { Scope } from './system/scope.ts'
import type { MonotonicMs } from './world.ts'

/** What the application says about changes. */
export interface DocumentValidation {
  /** Whether changes of a document of this name are checked. */
  covers(name: string): boolean
  /** Throws a TroupeError to refuse; its detail is shown to the client. */
  readonly check: DocumentCheck
}

export interface GuardOptions {
  /** Root types that may be changed by whoever may comment. Default `comments`. */
  readonly commentRoots?: readonly string[]
  readonly validation?: DocumentValidation | undefined
  readonly work: DocumentWork
  /** Largest document, in bytes, whose changes are looked into. Default 8 MiB, which are opened in about a second. */
  readonly guardedBytes?: number
  /** The shadow goes when nothing was looked at for this long. Default 60 000. */
  readonly guardedMs?: number
  /** Changes of one user that the application may refuse in a minute and document, before the next ones are refused unseen. Default 10. */
  readonly refusalsPerMinute?: number
}

/** A change that is to be judged. `isDecided`: whatever is in it, it is refused, or comes again. */
export interface Candidate extends Inspected {
  readonly isDecided: () => boolean
}

export type Judgement =
  | { readonly kind: 'allowed' }
  /** It changes nothing, so there is nothing to store. */
  | { readonly kind: 'nothing' }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly detail: string }

const defaultRoots = ['comments']
const defaultGuardedBytes = 8 * 1024 * 1024
const defaultGuardedMs = 60_000
const defaultRefusals = 10
const minuteMs = 60_000

const allowed: Judgement = { kind: 'allowed' }
const cannotApply = 'Yjs cannot apply it'
const nothing: Judgement = { kind: 'nothing' }
const refusal = (code: ErrorCode, detail: string): Judgement => ({ kind: 'refused', code, detail })

export class DocumentGuard {
  readonly #scope: Scope
  readonly #content: () => DocumentState
  readonly #check: DocumentCheck | undefined
  readonly #commentRoots: ReadonlySet<string>
  readonly #guardedBytes: number
  readonly #guardedMs: number
  readonly #refusalsPerMinute: number
  readonly #shadow: DocumentShadow
  /** The shadow has the change that was allowed just now. */
  #isAhead = false
  #usedAt: MonotonicMs = 0
  #isWatched = false
  #refusals = new Map<string, number>()
  #refusalsSince: MonotonicMs = 0

  constructor(scope: Scope, options: GuardOptions, background: Background, content: () => DocumentState) {
    const { commentRoots = defaultRoots, validation } = options
    this.#scope = scope
    this.#content = content
    this.#shadow = new DocumentShadow(scope, background, options.work, content)
    this.#check = validation?.covers(publicName(scope.id)) ? validation.check : undefined
    this.#commentRoots = new Set(commentRoots)
    this.#guardedBytes = options.guardedBytes ?? defaultGuardedBytes
    this.#guardedMs = options.guardedMs ?? defaultGuardedMs
    this.#refusalsPerMinute = options.refusalsPerMinute ?? defaultRefusals
  }

  get isIdle(): boolean {
    return this.#shadow.isIdle
  }

  /**
   * Resolves when `judge` costs a few milliseconds; undefined when it does now. Whoever waited asks again, for the shadow may be gone.
   * `change`: what is to be judged, if it brings structs; a large one is looked at now, in slices, unless it is decided without that.
   * Errors: `document.unavailable`, the document left memory; `document.busy`, the change could not be looked at.
   */
  whenReady(access: DocumentAccess, { user }: Author, change?: Candidate): Promise<void> | undefined {
    if (!this.#looks(access) || this.refusesUnseen(user)) return undefined
    this.#used()
    const isTried = change !== undefined && isLongToTry(change.inspection)
    return isTried ? this.#shadow.whenTried(change.bytes, access !== 'write', change.isDecided) : this.#shadow.whenCurrent()
  }

  /** Whether `judge` refuses whatever it is. What somebody brings then is not worth a shadow. */
  refusesUnseen(user: string): boolean {
    return this.#isTooLarge || this.#isTiresome(user)
  }

  /**
   * Of an update that was examined as `new`. What is allowed must be admitted in the same turn, and `admitted` called then. For a
   * reader only deletions are worth asking about: it sweeps up formatting marks that changes of others have left without effect.
   */
  judge(update: Uint8Array, access: DocumentAccess, author: Author, bringsStructs: boolean): Judgement {
    if (!this.#looks(access)) return allowed
    if (this.#isTiresome(author.user)) return refusal('rate.limited', `${this.#refusalsPerMinute} refused changes in a minute`)
    this.#used()
    const tried = this.#isTooLarge ? undefined : this.#shadow.tried(update, access !== 'write')
    const shadow = this.#isTooLarge ? undefined : (tried?.shadow ?? this.#shadow.current())
    if (shadow === undefined) return refusal('document.full', 'it is larger than documents.guardedBytes, or cannot be read')
    const judgement = this.#judge(shadow, update, access, author, bringsStructs, tried)
    if (tried !== undefined && judgement.kind === 'allowed') this.#isAhead = true
    else if (tried !== undefined) this.#rejected(author.user)
    return judgement
  }

  #judge(shadow: Shadow, update: Uint8Array, access: DocumentAccess, author: Author, bringsStructs: boolean, tried?: Tried): Judgement {
    if (tried?.isApplied === false) return refusal('document.invalid', cannotApply)
    if (access !== 'write') {
      const roots = [...(tried?.roots ?? shadow.touched(update))]
      const stray = roots.find((root) => access === 'read' || !this.#commentRoots.has(root))
      if (stray !== undefined) return refusal('access.denied', `needs document:${publicName(this.#scope.id)}:write to change ${stray}`)
      if (roots.length === 0 && !bringsStructs) return nothing
    }
    return this.#check === undefined ? allowed : this.#validate(shadow, this.#check, update, author, tried !== undefined)
  }

  /** Whether all that was written under this client id are comments. Of a document that is too large nobody asks further. */
  hasOnlyComments(client: number): boolean {
    this.#used()
    const shadow = this.#isTooLarge ? undefined : this.#shadow.readable()
    return shadow === undefined || shadow.liesWithin(client, this.#commentRoots)
  }

  /** After each update that entered the document, whoever it came from; `update` must stay as it is. */
  admitted(update: Uint8Array): void {
    if (this.#isAhead) this.#isAhead = false
    else this.#shadow.admitted(update)
  }

  /** The next part of the shadow. */
  slice(): void {
    this.#shadow.slice()
  }

  /** Nobody may have needed it for long. */
  rest(): void {
    this.#isWatched = false
    const isOver = this.#shadow.isIdle && this.#scope.monotonic() - this.#usedAt >= this.#guardedMs
    if (isOver) this.#shadow.drop()
    else this.#watch()
  }

  end(): void {
    this.#shadow.end()
  }

  #looks(access: DocumentAccess): boolean {
    return access !== 'write' || this.#check !== undefined
  }

  get #isTooLarge(): boolean {
    return this.#content().bytes > this.#guardedBytes
  }

  #validate(shadow: Shadow, check: DocumentCheck, update: Uint8Array, { user, via }: Author, isApplied: boolean): Judgement {
    if (!isApplied && !shadow.apply(update)) return this.#invalid(user, cannotApply, isApplied)
    const { id } = this.#scope
    try {
      check({ document: publicName(id), tenant: tenantOf(id), user, via, doc: shadow.doc, update })
    } catch (error) {
      return this.#invalid(user, isTroupeError(error) ? error.detail || error.code : 'onDocumentChange', isApplied)
    }
    this.#isAhead = true
    return allowed
  }

  #invalid(user: string, detail: string, isTried: boolean): Judgement {
    if (!isTried) this.#rejected(user)
    return refusal('document.invalid', detail)
  }

  /** The shadow has a change that the document will never have. */
  #rejected(user: string): void {
    this.#shadow.drop()
    if (this.#refusals.size === 0) this.#refusalsSince = this.#scope.monotonic()
    this.#refusals.set(user, (this.#refusals.get(user) ?? 0) + 1)
  }

  #isTiresome(user: string): boolean {
    if (this.#refusals.size === 0) return false
    if (this.#scope.monotonic() - this.#refusalsSince >= minuteMs) this.#refusals.clear()
    return (this.#refusals.get(user) ?? 0) >= this.#refusalsPerMinute
  }

  #used(): void {
    this.#usedAt = this.#scope.monotonic()
    if (!this.#isWatched) this.#watch()
  }

  #watch(): void {
    this.#isWatched = true
    this.#scope.after('guard', this.#guardedMs, { type: 'document.guard' })
  }
}
