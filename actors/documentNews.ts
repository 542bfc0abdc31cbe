/**
 * What webhooks hear of a document. Changes are told when the first of a while is on disk, and then at most once in `gapMs` with all
 * that came since: a webhook has its own quiet time, so more would only be work.
 */
import { publicName, tenantOf } from './account.ts'
import type { Scope } from './system/scope.ts'
import type { DocumentEvent, DocumentEventType } from './webhook.ts'
import type { MonotonicMs } from './world.ts'

const gapMs = 1_000
/** Users that are kept for one piece of news. */
const mostUsers = 100

export class DocumentNews {
  readonly #scope: Scope
  readonly #happened: ((event: DocumentEvent) => void) | undefined
  #users = new Set<string>()
  #toldAt: MonotonicMs = Number.NEGATIVE_INFINITY
  #hasNews = false
  #isPlanned = false
  #offset = 0

  /** `happened`: undefined when nobody listens; then nothing here costs anything. */
  constructor(scope: Scope, happened: ((event: DocumentEvent) => void) | undefined) {
    this.#scope = scope
    this.#happened = happened
  }

  /** Somebody is about to change it. */
  by(user: string): void {
    if (this.#happened !== undefined && user !== '' && this.#users.size < mostUsers) this.#users.add(user)
  }

  /** Changes up to this offset are on disk. */
  changed(offset: number): void {
    if (this.#happened === undefined) return
    this.#offset = offset
    this.#hasNews = true
    if (this.#isPlanned) return
    const wait = this.#toldAt + gapMs - this.#scope.monotonic()
    if (wait <= 0) return this.tell()
    this.#isPlanned = true
    this.#scope.after('news', wait, { type: 'document.news' })
  }

  /** What waited is told now. */
  tell(): void {
    this.#isPlanned = false
    if (!this.#hasNews) return
    const users = [...this.#users]
    this.#users = new Set()
    this.#hasNews = false
    this.#toldAt = this.#scope.monotonic()
    this.#emit('document.changed', { users, offset: this.#offset })
  }

  /** Something else than a change; the changes before it are told first. */
  happened(type: Exclude<DocumentEventType, 'document.changed'>, user: string, to?: string): void {
    this.tell()
    this.#emit(type, { users: user === '' ? [] : [user], ...(to === undefined ? {} : { to }) })
  }

  #emit(type: DocumentEventType, rest: Pick<DocumentEvent, 'users' | 'offset' | 'to'>): void {
    const { id } = this.#scope
    this.#happened?.({ type, document: publicName(id), tenant: tenantOf(id), at: this.#scope.now(), ...rest })
  }
}
