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
import { type AwarenessEntry, type AwarenessLimits, decodeAwareness, encodeAwareness } from '../crdt/awareness.ts'
import { type AwarenessOwner, type AwarenessPolicy, AwarenessState } from '../crdt/awarenessState.ts'
import type { Compaction } from '../crdt/compact.ts'
import { type CompactionPolicy, DocumentState } from '../crdt/document.ts'
import { mergeWindow } from '../crdt/merge.ts'
import { emptyUpdate, stateLimits, type UpdateInspection, type UpdateLimits } from '../crdt/update.ts'
import { Background } from './background.ts'
import { type ErrorCode, isTroupeError, TroupeError } from './errors.ts'
import type { Journals, Offset } from './journal.ts'
import { type Part, publication } from './publication.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'
import type { EpochMs } from './world.ts'

export type DocumentMessage =
  /** An ask: resolves when the document is loaded and the sender gets its publications. */
  | { readonly type: 'document.join'; readonly canWrite: boolean }
  | { readonly type: 'document.leave' }
  /** "This is what I have": answered with what is missing. */
  | { readonly type: 'document.sync'; readonly stateVector: Uint8Array }
  /** `isAnswer`: everything that the client has beyond the server, and not one change. */
  | { readonly type: 'document.update'; readonly update: Uint8Array; readonly isAnswer: boolean }
  | { readonly type: 'document.awareness'; readonly update: Uint8Array }
  /** "Who is here?" */
  | { readonly type: 'document.presence' }
  /** An ask: resolves when everything that its sender sent before has been taken in. */
  | { readonly type: 'document.pulse' }
  | { readonly type: 'actor.stopped'; readonly address: Address }
  | { readonly type: 'document.flush' }
  | { readonly type: 'document.expire' }
  | { readonly type: 'document.compact' }

/** To a connection: its client broke a rule, or cannot be served. */
export interface Refused {
  readonly type: 'connection.refused'
  readonly code: ErrorCode
  readonly detail: string
}

/** The costly work on a document, off the hot path. Must not throw synchronously. */
export interface Compactor {
  compact(snapshot: Uint8Array, updates: readonly Uint8Array[]): Promise<Compaction>
  /** The part of an update that fits on top of the document, or undefined. */
  integrablePart(snapshot: Uint8Array, tail: readonly Uint8Array[], update: Uint8Array): Promise<Uint8Array | undefined>
}

export interface DocumentOptions {
  readonly journals: Journals
  readonly compactor: Compactor
  /**
   * Updates wait this long for company while the document is busy; an idle document stores at once. Default 5. The more
   * readers, the longer, up to `maxWindowMs` (default 25): each publication costs one system call a reader.
   */
  readonly windowMs?: number
  readonly maxWindowMs?: number
  readonly idleMs?: number
  /** Wait before a commit that the disk refused is tried again. Default 1 000. */
  readonly retryMs?: number
  /** Bytes that may wait for a disk that refuses them; past it, writers are sent away. Default 16 MiB. */
  readonly maxUnsavedBytes?: number
  /** Presence that was not renewed for this long is removed. Default 30 000. */
  readonly awarenessTimeoutMs?: number
  readonly compaction?: CompactionPolicy
  readonly awareness?: AwarenessPolicy
  readonly awarenessLimits?: AwarenessLimits
  readonly updateLimits?: UpdateLimits
  /** For metrics. */
  readonly observe?: DocumentObserver
}

export interface DocumentObserver {
  /** A window was stored: so many updates, and how long the first of them waited. */
  stored(updates: number, waitedMs: number): void
  /** Commits under way or waiting for the disk began or ended to fail. */
  unsaved(change: 1 | -1): void
  compacted(milliseconds: number, bytes: number): void
  /** A client sent something that could not be used. */
  refused(code: string): void
}

interface Session {
  readonly address: Address
  readonly owner: AwarenessOwner
  readonly canWrite: boolean
  /** Step 1 was sent because something was missing, and no answer has come yet. */
  isAsked: boolean
}

/** The stored form: one byte of format, then a Yjs update (V1). */
const format = 1
const sealed = (update: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(update.length + 1)
  bytes[0] = format
  bytes.set(update, 1)
  return bytes
}
const unsealed = (stored: Uint8Array, where: string): Uint8Array => {
  if (stored[0] !== format) throw new TroupeError('storage.newer_format', `${where} has format ${stored[0]}`)
  return stored.subarray(1)
}

const pageEntries = 5_000
const defaultWindowMs = 5
const defaultMaxWindowMs = 25
/** A write costs about 5 µs, so publishing takes at most a sixteenth of the time: 8 ms for 100 readers. */
const windowMsForEachReader = 0.08
const defaultRetryMs = 1_000
const defaultMaxUnsavedBytes = 16 * 1024 * 1024
const defaultAwarenessTimeoutMs = 30_000
const vectorPart = (document: DocumentState): Part => ({ kind: 'vector', bytes: document.encodeStateVector() })

/** One document in memory. The handlers at the end of the file are its table; they are one line each. */
class OpenDocument {
  readonly sessions = new Map<Address, Session>()
  readonly #scope: Scope
  readonly #options: DocumentOptions
  readonly #document: DocumentState
  readonly #awareness: AwarenessState
  /** Admitted and not yet on disk, oldest first; the first `#committing` of them are on their way. */
  readonly #unsaved: Uint8Array[] = []
  #unsavedBytes = 0
  #unsavedSince: EpochMs = 0
  #committing = 0
  /** A commit was refused and the wait before the next try is running. */
  #isFailing = false
  /** The last commit was refused. */
  #isUnsaved = false
  #isFlushPlanned = false
  #isExpiryPlanned = false
  #lastFlushAt: EpochMs = 0
  /** Presence of the present window: the latest of each client. */
  #presence = new Map<number, AwarenessEntry>()
  /** Acknowledgements of repetitions, each with the offset that must be on disk first; in order. */
  #owed: { readonly after: Offset; readonly pay: () => void }[] = []
  /** Offset of the entry just before the tail. */
  #tailAfter: Offset
  /** Offset of the last entry on disk. */
  #saved: Offset
  #isCompacting = false
  /** Not before this. */
  #nextCompactionAt: EpochMs = 0
  readonly #background: Background

  constructor(scope: Scope, options: DocumentOptions, document: DocumentState, tailAfter: Offset, saved: Offset) {
    this.#scope = scope
    this.#options = options
    this.#background = new Background(scope)
    this.#document = document
    this.#awareness = new AwarenessState(options.awareness)
    this.#tailAfter = tailAfter
    this.#saved = saved
  }

  /** Reads snapshot and entries. Errors: those of the journal, `journal.corrupt` for a snapshot that is no update. */
  static async load(scope: Scope, options: DocumentOptions): Promise<OpenDocument> {
    const { journals } = options
    const { address } = scope
    const snapshot = await journals.snapshot(address)
    const tailAfter = snapshot?.offset ?? 0
    const updates: Uint8Array[] = []
    let saved = tailAfter
    for (;;) {
      const entries = await journals.read(address, { after: saved, limit: pageEntries })
      for (const entry of entries) updates.push(unsealed(entry.data, `${address}#${entry.offset}`))
      saved = entries.at(-1)?.offset ?? saved
      if (entries.length === 0) break
    }
    const merged = snapshot === undefined ? new Uint8Array(0) : unsealed(snapshot.data, address)
    const document = DocumentState.load(merged, updates)
    if (!(document instanceof DocumentState)) throw new TroupeError('journal.corrupt', `${address}: ${document.code}: ${document.detail}`)
    if (document.setAside.length > 0)
      scope.log.error({ document: address, setAside: document.setAside }, 'stored updates could not be used')
    const open = new OpenDocument(scope, options, document, tailAfter, saved)
    open.compactIfNeeded()
    return open
  }

  get isClean(): boolean {
    return this.sessions.size === 0 && this.#unsaved.length === 0 && !this.#isCompacting && this.#background.isIdle
  }

  get summary(): { readonly bytes: number; readonly sessions: number; readonly unsaved: number; readonly offset: Offset } {
    return { bytes: this.#document.bytes, sessions: this.sessions.size, unsaved: this.#unsaved.length, offset: this.#saved }
  }

  // ── who is here ────────────────────────────────────────────────────────────────────────────────────────────────

  join(address: Address, canWrite: boolean): void {
    if (this.sessions.has(address)) return
    this.sessions.set(address, { address, owner: { id: address }, canWrite, isAsked: false })
    this.#scope.watch(address)
    this.present(address)
  }

  leave(address: Address): void {
    const session = this.sessions.get(address)
    if (session === undefined) return
    this.sessions.delete(address)
    this.#scope.unwatch(address)
    this.#announce(this.#awareness.release(session.owner, this.#scope.now()))
  }

  /** Tells one connection who is here. */
  present(address: Address): void {
    const parts = this.#awareness.all().map((bytes): Part => ({ kind: 'awareness', bytes }))
    if (parts.length > 0) this.#scope.tell(address, publication(parts))
  }

  hearPresence(address: Address, update: Uint8Array): void {
    const session = this.sessions.get(address)
    if (session === undefined) return
    const entries = decodeAwareness(update, this.#options.awarenessLimits)
    if (!('length' in entries)) {
      // A stock client also sends on what it learned from others, so size and number are not always its fault.
      if (entries.code === 'too_large' || entries.code === 'too_many_clients') this.#options.observe?.refused(`awareness.${entries.code}`)
      else this.#refuse(address, 'connection.bad_message', `${entries.code}: ${entries.detail}`)
      return
    }
    const { changed, refused } = this.#awareness.apply(entries, session.owner, this.#scope.now())
    for (const { code } of refused) this.#options.observe?.refused(`awareness.${code}`)
    this.#announce(changed)
    if (!this.#isExpiryPlanned && this.#awareness.remembered > 0) this.#planExpiry()
  }

  expire(): void {
    this.#isExpiryPlanned = false
    this.#announce(this.#awareness.expire(this.#scope.now(), this.#options.awarenessTimeoutMs ?? defaultAwarenessTimeoutMs))
    if (this.#awareness.remembered > 0) this.#planExpiry()
  }

  #planExpiry(): void {
    this.#isExpiryPlanned = true
    const timeoutMs = this.#options.awarenessTimeoutMs ?? defaultAwarenessTimeoutMs
    this.#scope.after('expire', timeoutMs / 4, { type: 'document.expire' })
  }

  #announce(changed: readonly AwarenessEntry[]): void {
    for (const entry of changed) this.#presence.set(entry.client, entry)
    if (changed.length > 0) this.#plan()
  }

  // ── changes ────────────────────────────────────────────────────────────────────────────────────────────────────

  hear(address: Address, update: Uint8Array, isAnswer: boolean): void {
    const session = this.sessions.get(address)
    if (session === undefined) return
    if (isAnswer) session.isAsked = false
    const limits = isAnswer ? stateLimits : this.#options.updateLimits
    const examined = this.#document.examine(update, limits)
    if (!examined.ok) {
      this.#refuse(address, 'connection.bad_message', `${examined.code}: ${examined.detail}`)
      return
    }
    if (!session.canWrite && examined.verdict !== 'known') return this.#hearReader(session, examined.inspection, isAnswer)
    if (examined.verdict === 'missing') return this.#hearMissing(session, update, isAnswer)
    if (examined.verdict === 'known') {
      // A repetition: it is on disk, or on its way there, and its sender waits to hear so.
      if (!examined.inspection.isEmpty && !isAnswer) this.#echo(address, update.slice())
      return
    }
    if (this.#unsavedBytes > (this.#options.maxUnsavedBytes ?? defaultMaxUnsavedBytes)) {
      this.#refuse(address, 'document.unsaved', this.#scope.address)
      return
    }
    this.#admit(update, examined.inspection)
  }

  /**
   * A reader that changed something believes that it will be saved, so it is told and sent away. Its answer to our question
   * always lists all deletions that it knows of, ours too; those are passed over.
   */
  #hearReader({ address }: Session, inspection: UpdateInspection, isAnswer: boolean): void {
    if (isAnswer && !this.#document.hasNewStructs(inspection)) return
    this.#refuse(address, 'access.denied', `needs ${this.#scope.address.replace('/', ':')}:write`)
  }

  #admit(update: Uint8Array, inspection: UpdateInspection): void {
    const admitted = this.#document.admit(update, inspection)
    if (this.#unsaved.length === 0) this.#unsavedSince = this.#scope.now()
    this.#unsaved.push(admitted)
    this.#unsavedBytes += admitted.length
    this.#plan()
  }

  /**
   * It builds on something that is not here: ask for it. If even the answer to that has holes (the client itself waits for
   * something), the part that fits is taken, and nobody is asked again, for the same answer would come.
   */
  #hearMissing(session: Session, update: Uint8Array, isAnswer: boolean): void {
    this.#options.observe?.refused('update.missing')
    if (!isAnswer) {
      if (session.isAsked) return
      session.isAsked = true
      this.#scope.tell(session.address, publication([vectorPart(this.#document)]))
      return
    }
    const { snapshot, tail } = this.#document
    const copy = update.slice()
    this.#background.run(
      this.#options.compactor.integrablePart(snapshot, [...tail], copy),
      (part) => {
        const examined = part === undefined ? undefined : this.#document.examine(part, stateLimits)
        if (part !== undefined && examined?.ok && examined.verdict === 'new') this.#admit(part, examined.inspection)
      },
      () => {}, // its author still has it, and gives it back when it synchronises again
    )
  }

  #echo(address: Address, bytes: Uint8Array): void {
    const pay = () => this.#scope.tell(address, publication([{ kind: 'update', bytes }]))
    if (this.#unsaved.length === 0) pay()
    else this.#owed.push({ after: this.#saved + this.#unsaved.length, pay })
  }

  /**
   * Answers "this is what I have" with everything in memory. That is no acknowledgement: should the process die before the
   * newest of it is on disk, everybody who has it gives it back when they synchronise with the next one.
   */
  synchronise(address: Address, stateVector: Uint8Array): void {
    if (!this.sessions.has(address)) return
    const answer = this.#document.answer(stateVector)
    if (!answer.ok) return this.#refuse(address, 'connection.bad_message', `${answer.code}: ${answer.detail}`)
    const updates = [...answer.updates]
    // One update is the whole answer; of several, an empty last one says that they were all.
    const last = updates.length === 1 ? (updates.pop() as Uint8Array) : emptyUpdate // length is 1
    const parts: Part[] = updates.map((bytes) => ({ kind: 'update', bytes }))
    parts.push({ kind: 'state', bytes: last }, vectorPart(this.#document))
    this.#scope.tell(address, publication(parts, true))
  }

  // ── the window ─────────────────────────────────────────────────────────────────────────────────────────────────

  get #windowMs(): number {
    const { windowMs = defaultWindowMs, maxWindowMs = defaultMaxWindowMs } = this.#options
    return Math.max(windowMs, Math.min(maxWindowMs, this.sessions.size * windowMsForEachReader))
  }

  /** An idle document flushes after the messages that already wait; a busy one once in a window. */
  #plan(): void {
    if (this.#isFlushPlanned || this.#committing > 0 || this.#isFailing) return
    this.#isFlushPlanned = true
    const wait = this.#lastFlushAt + this.#windowMs - this.#scope.now()
    if (wait > 0 || !this.#scope.tell(this.#scope.address, { type: 'document.flush' }))
      this.#scope.after('flush', Math.max(1, wait), { type: 'document.flush' })
  }

  flush(): void {
    this.#isFlushPlanned = false
    this.#isFailing = false
    if (this.#committing > 0) return
    this.#lastFlushAt = this.#scope.now()
    if (this.#unsaved.length === 0) return this.#publish([])
    const batch = this.#unsaved.slice()
    this.#committing = batch.length
    const expected = this.#saved === 0 ? 'none' : this.#saved
    const since = this.#unsavedSince
    this.#background.run(
      this.#background.write(this.#options.journals.append(this.#scope.address, batch.map(sealed), { expected })),
      ({ last }) => {
        this.#saved = last
        this.#committing = 0
        this.#unsaved.splice(0, batch.length)
        for (const update of batch) this.#unsavedBytes -= update.length
        this.#unsavedSince = this.#scope.now()
        this.#recovered()
        this.#options.observe?.stored(batch.length, this.#scope.now() - since)
        this.#publish(batch)
        while (this.#owed[0] !== undefined && this.#owed[0].after <= last) this.#owed.shift()?.pay()
        if (this.#unsaved.length > 0 || this.#presence.size > 0) this.#plan()
        this.compactIfNeeded()
      },
      (error) => this.#commitFailed(error),
    )
  }

  #publish(batch: readonly Uint8Array[]): void {
    const parts: Part[] = []
    if (batch.length > 0) parts.push({ kind: 'update', bytes: mergeWindow(batch) })
    if (this.#presence.size > 0) {
      parts.push({ kind: 'awareness', bytes: encodeAwareness([...this.#presence.values()]) })
      this.#presence = new Map()
    }
    if (parts.length === 0) return
    const message = publication(parts)
    for (const address of this.sessions.keys()) this.#scope.tell(address, message)
  }

  #commitFailed(error: unknown): void {
    this.#committing = 0
    if (isTroupeError(error, 'journal.conflict')) {
      // Somebody else wrote, or an append that was reported as failed had worked: what the disk says is right.
      this.#scope.log.error({ document: this.#scope.address }, 'the journal is not where the document left it; it is loaded anew')
      this.#scope.stop()
      return
    }
    if (!this.#isUnsaved) {
      this.#isUnsaved = true
      this.#options.observe?.unsaved(1)
      this.#scope.log.error(
        { document: this.#scope.address, error: String(error), updates: this.#unsaved.length },
        'a document could not be stored; it is kept and tried again',
      )
    }
    this.#isFailing = true
    this.#isFlushPlanned = true
    this.#scope.after('flush', this.#options.retryMs ?? defaultRetryMs, { type: 'document.flush' })
    this.#publish([]) // presence goes on
  }

  #recovered(): void {
    if (!this.#isUnsaved) return
    this.#isUnsaved = false
    this.#options.observe?.unsaved(-1)
  }

  /** The incarnation ends, for whatever reason. The promise, if any, resolves when all that it wrote is on disk or refused. */
  end(): Promise<unknown> | undefined {
    this.#recovered()
    return this.#background.end()
  }

  /** The process ends in good order: what is not on disk is put there, unless the disk refuses it. */
  save(): Promise<void> | undefined {
    return this.#unsaved.length === 0 ? undefined : this.#saveAll()
  }

  async #saveAll(): Promise<void> {
    do {
      this.flush()
      await this.#background.settled()
    } while (this.#unsaved.length > 0 && !this.#isFailing && !this.#background.isOver)
  }

  // ── compaction ─────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Asked after each commit, after each compaction and after loading: what came during the last compaction of a burst would
   * otherwise stay loose, 10 MiB instead of 1.5 for the paper, until somebody types again.
   */
  compactIfNeeded(): void {
    if (this.#isCompacting || this.#saved === this.#tailAfter || this.#scope.now() < this.#nextCompactionAt) return
    if (this.#document.needsCompaction(this.#options.compaction)) this.#compact()
  }

  /**
   * As long as the last compaction took, so that a burst keeps a worker at most half busy: each compaction reads and writes the
   * whole document, and 260 000 keystrokes cost 9 µs each instead of 13.
   */
  #rest(worked: number): void {
    this.#nextCompactionAt = this.#scope.now() + worked
    this.#scope.after('compact', worked, { type: 'document.compact' })
  }

  #compact(): void {
    const upTo = this.#saved - this.#tailAfter
    const offset = this.#saved
    const covered = this.#document.tail.slice(0, upTo)
    const { address } = this.#scope
    const began = this.#scope.now()
    this.#isCompacting = true
    const failed = (error: unknown) => {
      this.#isCompacting = false
      this.#scope.log.error({ document: address, error: String(error) }, 'a document could not be compacted')
    }
    this.#background.run(
      this.#options.compactor.compact(this.#document.snapshot, covered),
      (compaction) => {
        if (!compaction.ok) return failed(`${compaction.code}: ${compaction.detail}`)
        this.#background.run(
          this.#background.write(this.#keep(offset, compaction, covered)),
          () => {
            this.#isCompacting = false
            const replaced = this.#document.replace(compaction.snapshot, upTo)
            if (!replaced.ok) return failed(replaced.code)
            this.#tailAfter += upTo
            const worked = this.#scope.now() - began
            this.#options.observe?.compacted(worked, compaction.snapshot.length)
            this.#rest(worked)
          },
          failed,
        )
      },
      failed,
    )
  }

  /** What Yjs could not use is set aside before the snapshot that lacks it replaces the entries. */
  async #keep(offset: Offset, compaction: Extract<Compaction, { ok: true }>, covered: readonly Uint8Array[]): Promise<void> {
    const { journals } = this.#options
    const { address, log } = this.#scope
    if (compaction.quarantined.length > 0) {
      log.error({ document: address, quarantined: compaction.quarantined }, 'updates that Yjs cannot apply were set aside')
      const bad = compaction.quarantined.map(({ index }) => sealed(covered[index] as Uint8Array)) // indexes are of `covered`
      await journals.append(`quarantine/${address}`, bad)
    }
    await journals.saveSnapshot(address, offset, sealed(compaction.snapshot), { trim: true })
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
    beforePassivation: (document) => document.save(),
    stopped: (document) => document.end(),
    handlers: {
      'document.join': (document, { canWrite }, { from }) => {
        if (from !== undefined) document.join(from, canWrite)
      },
      'document.leave': (document, _message, { from }) => {
        if (from !== undefined) document.leave(from)
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
      'document.pulse': () => {},
      'actor.stopped': (document, { address }) => document.leave(address),
      'document.flush': (document) => document.flush(),
      'document.expire': (document) => document.expire(),
      'document.compact': (document) => document.compactIfNeeded(),
    },
  })
