/**
 * A document: one Yjs document and everybody who has it open.
 *
 *   document.update ─→ examine ─→ window ─→ one append for the window ─→ on disk ─→ one publication to everybody
 *
 * Promises:
 * - What a client gets back of its own update is on disk: an update is published, to its author too, after its commit.
 * - An update that cannot be integrated is neither stored nor published; its sender is asked for what is missing.
 * - Nobody is answered before the stored document is loaded, and there is one actor, so one load, for each document.
 * - A commit that the disk refuses is kept and tried again; the document stays in memory until it is on disk.
 * - It leaves memory only when it is clean and nobody has it open, decided in the turn in which it leaves.
 *
 * Runs under the system as a durable actor of its own making: its journal holds the updates as they came, its snapshot one
 * merged update. On a crash it is loaded anew and its connections close, so that their clients synchronise again.
 */
import type { AwarenessOwner } from '../crdt/awarenessState.ts'
import type { Author } from '../crdt/change.ts'
import { mergeWindow } from '../crdt/merge.ts'
import { emptyUpdate, stateLimits, type UpdateInspection, type UpdateLimits } from '../crdt/update.ts'
import { DocumentLog, type LogObserver, type LogOptions } from './documentLog.ts'
import type { DocumentAccess, DocumentBytes, DocumentMessage, Edited, Participation, Refused } from './documentMessages.ts'
import { DocumentNews } from './documentNews.ts'
import { DocumentPresence, type PresenceOptions } from './documentPresence.ts'
import { type ErrorCode, TroupeError } from './errors.ts'
import type { Offset } from './journal.ts'
import { type Part, publication } from './publication.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'
import type { DocumentEvent } from './webhook.ts'

export interface DocumentOptions extends LogOptions, PresenceOptions {
  readonly idleMs?: number
  readonly updateLimits?: UpdateLimits
  /** For metrics. */
  readonly observe?: DocumentObserver
  /** For webhooks. */
  readonly happened?: (event: DocumentEvent) => void
}

export interface DocumentObserver extends LogObserver {
  /** A client sent something that could not be used. */
  refused(code: string): void
}

interface Session {
  readonly address: Address
  readonly owner: AwarenessOwner
  readonly wantsReceipts: boolean
  readonly author: Author
  access: DocumentAccess
  /** Step 1 was sent because something was missing, and no answer has come yet. */
  isAsked: boolean
  /** Receipts of updates that build on something missing; due when the answer to that is on disk. */
  heldReceipts: number
}

const noBytes = new Uint8Array(0)
const saved: Part = { kind: 'saved', bytes: noBytes }
const refused: Part = { kind: 'refused', bytes: noBytes }
const encoder = new TextEncoder()

/** One document in memory. The handlers at the end of the file are its table; they are one line each. */
class OpenDocument {
  readonly sessions = new Map<Address, Session>()
  readonly log: DocumentLog
  readonly presence: DocumentPresence
  readonly news: DocumentNews
  readonly #scope: Scope
  readonly #options: DocumentOptions
  /** Receipts that are due, for each connection; told at the end of the window. */
  #receipts = new Map<Address, number>()

  constructor(scope: Scope, options: DocumentOptions, log: DocumentLog) {
    this.#scope = scope
    this.#options = options
    this.log = log
    this.news = new DocumentNews(scope, options.happened)
    this.presence = new DocumentPresence(
      scope,
      options,
      () => log.plan(),
      (code) => options.observe?.refused(code),
    )
    log.begin({
      flushed: (batch) => this.#publish(batch),
      settled: () => this.#payReceipts(),
      hasNews: () => this.presence.hasNews,
      readers: () => this.sessions.size,
    })
  }

  static async load(scope: Scope, options: DocumentOptions): Promise<OpenDocument> {
    return new OpenDocument(scope, options, await DocumentLog.load(scope, options))
  }

  get isClean(): boolean {
    return this.sessions.size === 0 && this.log.isClean
  }

  get summary(): { readonly bytes: number; readonly sessions: number; readonly unsaved: number; readonly offset: Offset } {
    return { bytes: this.log.document.bytes, sessions: this.sessions.size, unsaved: this.log.unsaved, offset: this.log.saved }
  }

  // ── who is here ────────────────────────────────────────────────────────────────────────────────────────────────

  join(address: Address, { access, account, wantsReceipts }: Participation): void {
    if (this.sessions.has(address)) return
    const user = account.isAnonymous ? undefined : account.user
    const owner: AwarenessOwner = { id: address, user }
    const author: Author = { user: user ?? '', via: '' }
    this.sessions.set(address, { address, owner, author, wantsReceipts, access, isAsked: false, heldReceipts: 0 })
    this.#scope.watch(address)
    this.present(address)
  }

  leave(address: Address): void {
    const session = this.sessions.get(address)
    if (session === undefined) return
    this.sessions.delete(address)
    this.#receipts.delete(address)
    this.#scope.unwatch(address)
    this.presence.release(session.owner)
  }

  setAccess(address: Address, access: DocumentAccess): void {
    const session = this.sessions.get(address)
    if (session !== undefined) session.access = access
  }

  /** Tells one connection who is here. */
  present(address: Address): void {
    const parts = this.presence.all()
    if (parts.length > 0) this.#scope.tell(address, publication(parts))
  }

  hearPresence(address: Address, update: Uint8Array): void {
    const session = this.sessions.get(address)
    const rejection = session && this.presence.hear(session.owner, update)
    if (rejection !== undefined) this.#refuse(address, 'connection.bad_message', `${rejection.code}: ${rejection.detail}`)
  }

  // ── changes ────────────────────────────────────────────────────────────────────────────────────────────────────

  hear(address: Address, update: Uint8Array, isAnswer: boolean): void {
    const session = this.sessions.get(address)
    if (session === undefined) return
    if (isAnswer) session.isAsked = false
    const limits = isAnswer ? stateLimits : this.#options.updateLimits
    const { document } = this.log
    const examined = document.examine(update, limits)
    if (!examined.ok) {
      this.#refuse(address, 'connection.bad_message', `${examined.code}: ${examined.detail}`)
      return
    }
    if (session.access !== 'write' && examined.verdict !== 'known') return this.#hearReader(session, examined.inspection, isAnswer)
    if (examined.verdict === 'missing') return this.#hearMissing(session, update, isAnswer)
    if (examined.verdict === 'known') {
      // A repetition: it is on disk, or on its way there, and its sender waits to hear so.
      if (!examined.inspection.isEmpty && !isAnswer) this.#echo(address, update.slice())
      this.#owe(session, isAnswer)
      return
    }
    if (this.log.isOverfull) {
      this.#refuse(address, 'document.unsaved', this.#scope.address)
      return
    }
    this.#admit(update, examined.inspection, session.author)
    this.#owe(session, isAnswer)
  }

  #admit(update: Uint8Array, inspection: UpdateInspection, author: Author): void {
    this.log.admit(update, inspection, author)
    this.news.by(author.user)
  }

  /** A receipt for what was just taken, and with the answer to a question for what had to wait for it. */
  #owe(session: Session, isAnswer: boolean): void {
    if (!session.wantsReceipts) return
    const count = 1 + (isAnswer ? session.heldReceipts : 0)
    if (isAnswer) session.heldReceipts = 0
    const { address } = session
    this.log.whenSaved(() => {
      if (this.sessions.get(address) === session) this.#receipts.set(address, (this.#receipts.get(address) ?? 0) + count)
    })
    if (this.log.unsaved === 0) this.#payReceipts()
  }

  #payReceipts(): void {
    if (this.#receipts.size === 0) return
    const due = this.#receipts
    this.#receipts = new Map()
    for (const [address, count] of due) this.#scope.tell(address, publication(Array<Part>(count).fill(saved)))
  }

  /**
   * A reader that changed something believes that it will be saved, so it is told, and where it cannot be told otherwise sent
   * away. Its answer to our question always lists all deletions that it knows of, ours too; those are passed over.
   */
  #hearReader(session: Session, inspection: UpdateInspection, isAnswer: boolean): void {
    if (isAnswer && !this.log.document.hasNewStructs(inspection)) return this.#owe(session, isAnswer)
    if (session.wantsReceipts) {
      this.#options.observe?.refused('access.denied')
      this.#scope.tell(session.address, publication([refused]))
      return
    }
    this.#refuse(session.address, 'access.denied', `needs ${this.#scope.address.replace('/', ':')}:write`)
  }

  /**
   * It builds on something that is not here: ask for it. If even the answer to that has holes (the client itself waits for
   * something), the part that fits is taken, and nobody is asked again, for the same answer would come.
   */
  #hearMissing(session: Session, update: Uint8Array, isAnswer: boolean): void {
    this.#options.observe?.refused('update.missing')
    session.heldReceipts++
    if (!isAnswer) {
      if (session.isAsked) return
      session.isAsked = true
      this.#scope.tell(session.address, publication([this.#vector()]))
      return
    }
    const { snapshot, tail } = this.log.document
    const copy = update.slice()
    this.log.background.run(
      this.#options.work.run('integrablePart', snapshot, [...tail], copy),
      (part) => {
        const examined = part === undefined ? undefined : this.log.document.examine(part, stateLimits)
        if (part !== undefined && examined?.ok && examined.verdict === 'new') this.#admit(part, examined.inspection, session.author)
      },
      () => {}, // its author still has it, and gives it back when it synchronises again
    )
  }

  #vector(): Part {
    return { kind: 'vector', bytes: this.log.document.encodeStateVector() }
  }

  #echo(address: Address, bytes: Uint8Array): void {
    this.log.whenSaved(() => this.#scope.tell(address, publication([{ kind: 'update', bytes }])))
  }

  /** Answered when everything that came before it is on disk. */
  barrier(address: Address, payload: Uint8Array): void {
    const bytes = payload.slice()
    if (this.sessions.has(address)) this.log.whenSaved(() => this.#scope.tell(address, publication([{ kind: 'barrier', bytes }])))
  }

  /**
   * Answers "this is what I have" with everything in memory. That is no acknowledgement: should the process die before the
   * newest of it is on disk, everybody who has it gives it back when they synchronise with the next one.
   */
  synchronise(address: Address, stateVector: Uint8Array): void {
    if (!this.sessions.has(address)) return
    const answer = this.log.document.answer(stateVector)
    if (!answer.ok) return this.#refuse(address, 'connection.bad_message', `${answer.code}: ${answer.detail}`)
    const updates = [...answer.updates]
    // One update is the whole answer; of several, an empty last one says that they were all.
    const last = updates.length === 1 ? (updates.pop() as Uint8Array) : emptyUpdate // length is 1
    const parts: Part[] = updates.map((bytes) => ({ kind: 'update', bytes }))
    parts.push({ kind: 'state', bytes: last }, this.#vector())
    this.#scope.tell(address, publication(parts, true))
  }

  // ── what the server itself does ────────────────────────────────────────────────────────────────────────────────

  async state(): Promise<DocumentBytes> {
    const { document, saved: offset } = this.log
    const { snapshot, tail } = document
    const stateVector = document.encodeStateVector()
    const { epoch } = await this.#options.journals.head(this.#scope.address)
    return { snapshot, tail: [...tail], stateVector, epoch, offset }
  }

  edit(update: Uint8Array, author: Author): Promise<Edited> {
    const examined = this.log.document.examine(update, stateLimits)
    if (!examined.ok) throw new TroupeError('document.invalid', `${examined.code}: ${examined.detail}`)
    if (examined.verdict === 'missing') throw new TroupeError('document.invalid', 'it builds on something that the document does not have')
    if (this.log.isOverfull) throw new TroupeError('document.unsaved', this.#scope.address)
    if (examined.verdict === 'new') this.#admit(update, examined.inspection, author)
    return new Promise((resolve) => this.log.whenSaved(() => resolve({ offset: this.log.saved })))
  }

  broadcast(payload: string): void {
    this.#tellAll([{ kind: 'stateless', bytes: encoder.encode(payload) }])
  }

  // ── the window ─────────────────────────────────────────────────────────────────────────────────────────────────

  #publish(batch: readonly Uint8Array[]): void {
    const parts: Part[] = []
    if (batch.length > 0) {
      parts.push({ kind: 'update', bytes: mergeWindow(batch) })
      this.news.changed(this.log.saved)
    }
    const news = this.presence.takeNews()
    if (news !== undefined) parts.push(news)
    this.#tellAll(parts)
  }

  #tellAll(parts: readonly Part[]): void {
    if (parts.length === 0) return
    const message = publication(parts)
    for (const address of this.sessions.keys()) this.#scope.tell(address, message)
  }

  #refuse(address: Address, code: ErrorCode, detail: string): void {
    this.#options.observe?.refused(code)
    this.#scope.tell<Refused>(address, { type: 'connection.refused', code, detail })
  }
}

export const documentKind = (options: DocumentOptions) =>
  defineActor<OpenDocument, DocumentMessage>({
    kind: 'document',
    passivation: { idleMs: options.idleMs ?? 120_000 },
    state: (scope) => OpenDocument.load(scope, options),
    canPassivate: (document) => document.isClean,
    beforePassivation: (document) => document.log.save(),
    stopped: (document) => document.log.end(),
    handlers: {
      'document.join': (document, message, { from }) => {
        if (from !== undefined) document.join(from, message)
      },
      'document.leave': (document, _message, { from }) => {
        if (from !== undefined) document.leave(from)
      },
      'document.access': (document, { access }, { from }) => {
        if (from !== undefined) document.setAccess(from, access)
      },
      'document.sync': (document, { stateVector }, { from }) => {
        if (from !== undefined) document.synchronise(from, stateVector)
      },
      'document.update': (document, { update, isAnswer }, { from }) => {
        if (from !== undefined) document.hear(from, update, isAnswer)
      },
      'document.awareness': (document, { update }, { from }) => {
        if (from !== undefined) document.hearPresence(from, update)
      },
      'document.presence': (document, _message, { from }) => {
        if (from !== undefined) document.present(from)
      },
      'document.barrier': (document, { payload }, { from }) => {
        if (from !== undefined) document.barrier(from, payload)
      },
      'document.stateless': () => {},
      'document.pulse': () => {},
      'document.state': (document) => document.state(),
      'document.edit': (document, { update, author }) => document.edit(update, author),
      'document.broadcast': (document, { payload }) => document.broadcast(payload),
      'actor.stopped': (document, { address }) => document.leave(address),
      'document.flush': (document) => document.log.flush(),
      'document.expire': (document) => document.presence.expire(),
      'document.compact': (document) => document.log.compactIfNeeded(),
      'document.news': (document) => document.news.tell(),
    },
  })
