/**
 * What is looked at before a change enters a document: changes of clients that may only comment, and those that the application
 * checks. Nobody else pays: without either, documents stay bytes.
 *
 * Promises: what is refused is neither stored nor told to anybody; a refused comment costs one look, never a rebuilding of the
 * shadow; a change that the application refuses costs one, so a user may cause a few of them each minute, and is then refused
 * unseen. A document too large for a shadow takes no such changes, rather than unseen ones.
 */
import type { Author } from '../crdt/change.ts'
import type { DocumentState } from '../crdt/document.ts'
import { Shadow } from '../crdt/shadow.ts'
import { type DocumentAccess, publicName, tenantOf } from './account.ts'
import { type ErrorCode, isTroupeError } from './errors.ts'
import type { DocumentCheck } from './hooks.ts'
import type { Scope } from './system/scope.ts'
import type { EpochMs } from './world.ts'

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
  /** Largest document, in bytes, whose changes are looked into. Default 8 MiB, which are opened in about half a second. */
  readonly guardedBytes?: number
  /** The shadow goes when nothing was looked at for this long. Default 60 000. */
  readonly guardedMs?: number
  /** Changes of one user that the application may refuse in a minute and document, before the next ones are refused unseen. Default 10. */
  readonly refusalsPerMinute?: number
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
/** Changes of others that wait to be taken over: they are applied when the shadow is looked at, or when there are this many. */
const mostBehind = 256

const allowed: Judgement = { kind: 'allowed' }
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
  #shadow: Shadow | undefined
  /** Admitted, and not yet in the shadow. */
  #behind: Uint8Array[] = []
  /** The shadow has the change that was allowed just now. */
  #isAhead = false
  #usedAt: EpochMs = 0
  #isWatched = false
  #refusals = new Map<string, number>()
  #refusalsSince: EpochMs = 0

  constructor(scope: Scope, options: GuardOptions, content: () => DocumentState) {
    const { commentRoots = defaultRoots, validation } = options
    this.#scope = scope
    this.#content = content
    this.#check = validation?.covers(publicName(scope.id)) ? validation.check : undefined
    this.#commentRoots = new Set(commentRoots)
    this.#guardedBytes = options.guardedBytes ?? defaultGuardedBytes
    this.#guardedMs = options.guardedMs ?? defaultGuardedMs
    this.#refusalsPerMinute = options.refusalsPerMinute ?? defaultRefusals
  }

  /**
   * Of an update that was examined as `new`. What is allowed must be admitted in the same turn, and `admitted` called then. For a
   * reader only deletions are worth asking about: it sweeps up formatting marks that changes of others have left without effect.
   */
  judge(update: Uint8Array, access: DocumentAccess, author: Author, bringsStructs: boolean): Judgement {
    if (access === 'write' && this.#check === undefined) return allowed
    if (this.#isTiresome(author.user)) return refusal('rate.limited', `${this.#refusalsPerMinute} refused changes in a minute`)
    const shadow = this.#current()
    if (shadow === undefined) return refusal('document.full', 'it is larger than documents.guardedBytes, or cannot be read')
    if (access !== 'write') {
      const roots = [...shadow.touched(update)]
      const stray = roots.find((root) => access === 'read' || !this.#commentRoots.has(root))
      if (stray !== undefined) return refusal('access.denied', `needs document:${publicName(this.#scope.id)}:write to change ${stray}`)
      if (roots.length === 0 && !bringsStructs) return nothing
    }
    return this.#check === undefined ? allowed : this.#validate(shadow, this.#check, update, author)
  }

  /** After each update that entered the document, whoever it came from; `update` must stay as it is. */
  admitted(update: Uint8Array): void {
    if (this.#isAhead) this.#isAhead = false
    else if (this.#shadow !== undefined && this.#behind.push(update) >= mostBehind) this.#catchUp(this.#shadow)
  }

  /** Nobody may have needed it for long. */
  rest(): void {
    this.#isWatched = false
    if (this.#scope.now() - this.#usedAt >= this.#guardedMs) this.#drop()
    else this.#watch()
  }

  end(): void {
    this.#drop()
  }

  #validate(shadow: Shadow, check: DocumentCheck, update: Uint8Array, { user, via }: Author): Judgement {
    if (!shadow.apply(update)) return this.#rejected(user, 'Yjs cannot apply it')
    const { id } = this.#scope
    try {
      check({ document: publicName(id), tenant: tenantOf(id), user, via, doc: shadow.doc, update })
    } catch (error) {
      return this.#rejected(user, isTroupeError(error) ? error.detail || error.code : 'onDocumentChange')
    }
    this.#isAhead = true
    return allowed
  }

  /** The shadow has a change that the document will never have. */
  #rejected(user: string, detail: string): Judgement {
    this.#drop()
    if (this.#refusals.size === 0) this.#refusalsSince = this.#scope.now()
    this.#refusals.set(user, (this.#refusals.get(user) ?? 0) + 1)
    return refusal('document.invalid', detail)
  }

  #isTiresome(user: string): boolean {
    if (this.#refusals.size === 0) return false
    if (this.#scope.now() - this.#refusalsSince >= minuteMs) this.#refusals.clear()
    return (this.#refusals.get(user) ?? 0) >= this.#refusalsPerMinute
  }

  #current(): Shadow | undefined {
    this.#usedAt = this.#scope.now()
    if (this.#shadow !== undefined) this.#catchUp(this.#shadow)
    if (this.#shadow === undefined) {
      const { bytes, snapshot, tail } = this.#content()
      if (bytes > this.#guardedBytes) return undefined
      this.#shadow = Shadow.load(snapshot, tail)
      if (!this.#isWatched) this.#watch()
    }
    return this.#shadow
  }

  #catchUp(shadow: Shadow): void {
    const behind = this.#behind
    this.#behind = []
    if (!behind.every((update) => shadow.apply(update))) this.#drop() // loading leaves out what Yjs cannot apply
  }

  #drop(): void {
    this.#shadow?.destroy()
    this.#shadow = undefined
    this.#behind = []
  }

  #watch(): void {
    this.#isWatched = true
    this.#scope.after('guard', this.#guardedMs, { type: 'document.guard' })
  }
}
