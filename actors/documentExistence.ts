/**
 * Whether a document is there, and how that changes: created, deleted, restored, begun anew, copied, renamed.
 *
 *   absent ──create, first change──→ present ──remove, rename──→ deleted ──create──→ present
 *                                       ↑ └──reset──┘   └───←──undelete──┘   └──purge──→ deleted, without content
 *
 * Promises:
 * - One of these at a time; while one is under way nothing is taken in, and whoever asks waits for its end.
 * - What was acknowledged before is in the copy, under the new name, in what is restored.
 * - What was refused has changed nothing. What is written in the record is done, though the rest may wait for a disk: whoever loads the
 *   document next finishes it. A rename that was interrupted goes on then; there is always one of both names under which the content is.
 * - A request that comes again is not done again, over restarts too: its key is in the record that it has written.
 * - Nothing of a history that is gone comes back: what the document had is retired, and whoever brings some of it is refused.
 */
import { decodeChange, encodeChange, type RequestKey } from '../crdt/change.ts'
import { noBytes } from '../crdt/cursor.ts'
import { inspectUpdate, updateLimits } from '../crdt/update.ts'
import type { DocumentWork } from '../crdt/work.ts'
import { publicName } from './account.ts'
import { Background } from './background.ts'
import { contentOf } from './documentContent.ts'
import { epochOf } from './documentDamage.ts'
import { DocumentEpoch, type EpochOptions, hasBegunAnew } from './documentEpoch.ts'
import { askOther, checkTarget, historyOf, isFinal, skippedOf } from './documentHandover.ts'
import type { DocumentLog } from './documentLog.ts'
import type { DocumentDescription, DocumentLifeRequest } from './documentMessages.ts'
import type { DocumentNews } from './documentNews.ts'
import { DocumentQuota, type QuotaOptions } from './documentQuota.ts'
import {
  absence,
  type DocumentRecord,
  descriptionOf,
  type RecordJournal,
  type Standing,
  settled,
  standingOf,
  withRequest,
} from './documentRecord.ts'
import { checkSame, defaultRepeatMs } from './documentRequests.ts'
import { type ErrorCode, TroupeError } from './errors.ts'
import type { Scope } from './system/scope.ts'
import type { EpochMs } from './world.ts'

export interface ExistenceOptions extends QuotaOptions, EpochOptions {
  readonly work: DocumentWork
  /** A document comes into being when somebody opens and changes it. Default true. */
  readonly autoCreate?: boolean
  /** What is deleted can be restored for so long. Default 30 days. */
  readonly deletedMs?: number
  /** A request that comes again is recognised for so long. Default one day. */
  readonly repeatMs?: number
}

/** What it needs of the document in memory. */
export interface ExistenceHost {
  readonly log: DocumentLog
  readonly connections: number
  readonly news: Pick<DocumentNews, 'happened'>
  /** Closes all connections, with this reason. */
  dismiss(code: ErrorCode, detail: string): void
  /** Everybody whose updates were not taken in is asked for them. */
  listen(): void
  /** Whoever was refused for its size is asked again. */
  hasRoom(): void
  /** There is such a one. */
  readonly hasRefused: boolean
}

type Request<Type extends DocumentLifeRequest['type']> = Extract<DocumentLifeRequest, { type: Type }>

const defaultDeletedMs = 30 * 24 * 3_600_000

export class DocumentExistence {
  readonly quota: DocumentQuota
  readonly epoch: DocumentEpoch
  readonly #scope: Scope
  readonly #options: ExistenceOptions
  readonly #host: ExistenceHost
  readonly #records: RecordJournal
  readonly #background: Background
  /** What is under way, and all that waits for it. */
  #busy: Promise<void> | undefined
  #changedAt: EpochMs | undefined
  #isNoted: boolean

  constructor(scope: Scope, options: ExistenceOptions, host: ExistenceHost, records: RecordJournal) {
    this.#scope = scope
    this.#options = options
    this.#host = host
    this.#records = records
    this.#background = new Background(scope)
    this.#isNoted = records.record !== undefined
    this.epoch = new DocumentEpoch(options, scope.address, records, host.log)
    this.quota = new DocumentQuota(scope, options, this.#background, {
      becameFull: () => host.news.happened('document.full', ''),
      judgeAgain: () => host.listen(),
      hasRoom: () => host.hasRoom(),
      isAwaited: () => host.hasRefused,
    })
  }

  /** Before the first message. */
  begin(): void {
    if (this.#record?.movingTo !== undefined && this.#damage === undefined) this.#exclusively(() => this.#move()).catch(() => {}) // said where it failed
    this.quota.begin(this.#measuredBytes)
  }

  get #record(): DocumentRecord | undefined {
    return this.#records.record
  }

  get #standing(): Standing {
    const { log } = this.#host
    return standingOf(this.#record, log.saved > 0 || log.unsaved > 0 || log.damage !== undefined)
  }

  get #measuredBytes(): number {
    return this.#standing === 'present' ? this.#size().bytes : 0
  }

  get #damage(): TroupeError | undefined {
    return this.#host.log.damage
  }

  /** Nobody has made it, or written anything into it. */
  get isAbsent(): boolean {
    return this.#standing === 'absent'
  }

  /** Nothing is taken in. */
  get isBusy(): boolean {
    return this.#busy !== undefined
  }

  get isIdle(): boolean {
    return this.#busy === undefined && this.#background.isIdle
  }

  /** Errors: those of `refusal`, `document.unavailable` when there is something else on disk now; whoever asks again gets it. */
  async whenFree(): Promise<void> {
    while (this.#busy !== undefined) await this.#busy
    if (this.#record?.deletedAt !== undefined) throw absence(this.#record)
    this.#checkAlive()
  }

  end(): Promise<unknown> | undefined {
    return this.#background.end()
  }

  // ── who may come in ────────────────────────────────────────────────────────────────────────────────────────────

  /** Why nobody can work with it now; undefined: everybody can. */
  get refusal(): TroupeError | undefined {
    const standing = this.#standing
    if (standing === 'deleted') return absence(this.#record as DocumentRecord) // by `standingOf`
    if (this.#damage !== undefined) return this.#damage
    if (standing === 'absent' && this.#options.autoCreate === false) return new TroupeError('document.unknown', this.#name)
    return undefined
  }

  /** Why nobody can open it now. */
  get closure(): TroupeError | undefined {
    return this.refusal ?? this.quota.closure(this.#host.log.document.bytes)
  }

  /** What `closure` depends on is known when it resolves; undefined: it is. */
  consulted(): Promise<unknown> | undefined {
    return this.quota.guardsEntry ? this.quota.consult(this.#measuredBytes)?.then(() => this.#checkAlive()) : undefined
  }

  /** It may be large for a tail that is mostly garbage. */
  async fit(): Promise<void> {
    const { log } = this.#host
    if (this.refusal === undefined && log.document.tailBytes > 0) await log.compactAll().catch(() => {}) // then it stays as it is
  }

  // ── what is known about it ─────────────────────────────────────────────────────────────────────────────────────

  get #name(): string {
    return publicName(this.#scope.id)
  }

  /** Changes are on disk. The first time that there is something to know, it is noted. */
  changed(): void {
    this.#changedAt = this.#scope.now()
    this.quota.changed(this.#host.log.document.bytes)
    if (this.#isNoted) return
    this.#isNoted = true
    this.#background.run(
      this.#background.write(this.measure()),
      () => {},
      () => {
        this.#isNoted = false
      },
    )
  }

  /** The record says what is there. */
  get isMeasured(): boolean {
    const { log } = this.#host
    return log.saved === 0 || (this.#record?.offset === log.saved && this.#record.bytes === log.document.bytes)
  }

  /** Notes size and time of the last change. */
  async measure(): Promise<void> {
    if (this.isMeasured) return
    const basis = await this.#basis()
    await this.#records.save((record) => ({ ...basis, ...record, updatedAt: basis.updatedAt, ...this.#size() }))
    this.quota.measured(this.#measuredBytes)
  }

  #size(): Pick<DocumentRecord, 'bytes' | 'offset'> {
    const { log } = this.#host
    if (log.damage !== undefined) return { bytes: this.#record?.bytes ?? 0, offset: this.#record?.offset ?? 0 }
    return { bytes: log.document.bytes, offset: log.saved }
  }

  /** The record as it would be written now. */
  async #basis(): Promise<DocumentRecord> {
    const { log } = this.#host
    const record = this.#record
    if (log.damage !== undefined) return settled(record ?? { createdAt: 0, createdBy: '', updatedAt: 0, bytes: 0, offset: 0 })
    let updatedAt = this.#changedAt ?? record?.updatedAt ?? 0
    if (record === undefined || (this.#changedAt === undefined && record.offset !== log.saved)) {
      const found = await contentOf(this.#options.journals, this.#scope.address).times()
      updatedAt = Math.max(updatedAt, found.updatedAt)
      if (record === undefined)
        return { createdAt: found.createdAt || this.#scope.now(), createdBy: found.createdBy, updatedAt, ...this.#size() }
    }
    return { ...record, updatedAt, ...this.#size() }
  }

  /** Errors: `document.unknown`. */
  async describe(): Promise<DocumentDescription> {
    if (this.#standing === 'absent') throw new TroupeError('document.unknown', this.#name)
    const { log, connections } = this.#host
    const description = await this.#described(await this.#basis(), { connections, unsaved: log.unsaved })
    return log.damage === undefined ? description : { ...description, damage: log.damage.message }
  }

  async #described(record: DocumentRecord, present: Pick<DocumentDescription, 'connections' | 'unsaved'>): Promise<DocumentDescription> {
    const epoch = await this.epoch.current()
    return descriptionOf(record, { name: this.#name, epoch, isFull: this.quota.isFull(record.bytes), ...present }, this.#deletedMs)
  }

  get #deletedMs(): number {
    return this.#options.deletedMs ?? defaultDeletedMs
  }

  // ── how that changes ───────────────────────────────────────────────────────────────────────────────────────────

  handle(request: DocumentLifeRequest): Promise<DocumentDescription> {
    switch (request.type) {
      case 'document.describe':
        return this.describe()
      case 'document.create':
        return this.#exclusively(() => this.#create(request))
      case 'document.remove':
        return this.#exclusively(() => this.#remove(request))
      case 'document.undelete':
        return this.#exclusively(() => this.#undelete(request))
      case 'document.purge':
        return this.#exclusively(() => this.#purge(request))
      case 'document.reset':
        return this.#exclusively(() => this.#reset(request))
      case 'document.copy':
        return this.#copy(request)
      case 'document.rename':
        return this.#exclusively(() => this.#rename(request))
      case 'document.receive':
        // Not in its turn: two documents that are renamed to each other's names would wait for each other.
        if (this.#standing === 'present' && !this.#hasReceived(request) && request.request === undefined)
          return Promise.reject(new TroupeError('document.exists', this.#name))
        return this.#exclusively(() => this.#receive(request))
    }
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const run = (this.#busy ?? Promise.resolve()).then(() => {
      this.#checkAlive()
      return work()
    })
    const settled: Promise<void> = run.then(nothing, nothing).then(() => {
      if (this.#busy !== settled) return
      this.#busy = undefined
      if (!this.#background.isOver) this.#host.listen()
    })
    this.#busy = settled
    return run
  }

  /** The document may have been loaded anew while this waited. */
  #checkAlive(): void {
    if (this.#background.isOver) throw new TroupeError('document.unavailable', 'it is loaded anew; ask again')
  }

  /** Before anything is decided. */
  async #written<T>(write: Promise<T>): Promise<T> {
    const value = await this.#background.write(write)
    this.#checkAlive()
    return value
  }

  /** Everything that was taken in is on disk. Errors: those of a disk that refuses it. */
  async #flushed(): Promise<void> {
    await new Promise<void>((resolve, reject) =>
      this.#host.log.whenSaved(resolve, { lost: () => resolve(), refused: (code) => reject(new TroupeError(code)) }),
    )
    this.#checkAlive()
  }

  /** It was done before. Errors: `document.key_reused`. */
  #isRepeated(request: RequestKey | undefined): boolean {
    const known = request && this.#record?.requests?.find(({ id }) => id === request.id)
    if (request === undefined || known === undefined || known.at + (this.#options.repeatMs ?? defaultRepeatMs) <= this.#scope.now())
      return false
    checkSame(request, known)
    return true
  }

  /** Errors: `document.unknown`, `document.deleted`, `document.renamed`. */
  #checkPresent(): void {
    const standing = this.#standing
    if (standing === 'absent') throw new TroupeError('document.unknown', this.#name)
    if (standing === 'deleted') throw absence(this.#record as DocumentRecord) // by `standingOf`
  }

  /** Errors: those, and why it cannot be read. */
  #checkWhole(): void {
    this.#checkPresent()
    if (this.#damage !== undefined) throw this.#damage
  }

  async #create({ by, update, request }: Request<'document.create'>): Promise<DocumentDescription> {
    if (this.#isRepeated(request)) return this.describe()
    if (this.#standing === 'present') throw new TroupeError('document.exists', this.#name)
    await this.#checkBirth()
    const entries = await this.#entriesOf(update, by, 'create')
    const born = () => ({ ...this.#newRecord(by), ...withRequest({}, request, this.#scope.now()) })
    const description = await this.#exchange(born, entries, isReady)
    this.#host.news.happened('document.created', by)
    return description
  }

  #newRecord(by: string): DocumentRecord {
    const now = this.#scope.now()
    return { createdAt: now, createdBy: by, updatedAt: now, bytes: 0, offset: 0 }
  }

  async #remove({ by }: Request<'document.remove'>): Promise<DocumentDescription> {
    if (this.#record?.deletedAt !== undefined && this.#record.renamedTo === undefined) return this.describe()
    this.#checkPresent()
    await this.#flushed()
    const basis = await this.#basis()
    const deletion = { deletedAt: this.#scope.now(), deletedBy: by, ...(await this.#written(this.epoch.retirement())) }
    await this.#background.write(this.#records.save((record) => ({ ...basis, ...record, ...this.#size(), ...deletion })))
    this.#host.dismiss('document.deleted', '')
    this.#host.news.happened('document.deleted', by)
    this.quota.measured(0)
    return this.describe()
  }

  async #undelete({ by }: Request<'document.undelete'>): Promise<DocumentDescription> {
    if (this.#standing === 'deleted') {
      const { renamedTo, purgedAt } = this.#record as DocumentRecord // by `standingOf`
      if (renamedTo !== undefined || purgedAt !== undefined) throw absence(this.#record as DocumentRecord)
      await this.#checkBirth()
      const without = ({ deletedAt: _, deletedBy: __, ...rest }: DocumentRecord): DocumentRecord => rest
      await this.#background.write(this.#records.save((record) => without(record as DocumentRecord))) // it was there a moment ago
      this.#host.news.happened('document.restored', by)
      this.quota.measured(this.#measuredBytes)
    }
    return this.describe()
  }

  async #purge({ by, ifDue = false }: Request<'document.purge'>): Promise<DocumentDescription> {
    if (this.#standing === 'absent') throw new TroupeError('document.unknown', this.#name)
    const now = this.#scope.now()
    const { deletedAt, purgedAt } = this.#record ?? {}
    const isDue = deletedAt !== undefined && deletedAt + this.#deletedMs <= now
    if (purgedAt !== undefined || (ifDue && !isDue)) return this.describe()
    if (deletedAt === undefined) await this.#flushed()
    const basis = await this.#basis()
    const change = () => ({ deletedBy: by, deletedAt: now, ...basis, purgedAt: now })
    const description = await this.#exchange(change, [], ['document.deleted', ''])
    if (deletedAt === undefined) this.#host.news.happened('document.deleted', by)
    return description
  }

  async #reset({ by, update, request }: Request<'document.reset'>): Promise<DocumentDescription> {
    if (this.#isRepeated(request)) return this.describe()
    this.#checkPresent()
    const entries = await this.#entriesOf(update, by, 'import')
    await this.#flushed()
    const basis = await this.#basis()
    const change = () => ({ ...basis, updatedAt: this.#scope.now(), ...withRequest(basis, request, this.#scope.now()) })
    const description = await this.#exchange(change, entries, ['document.epoch', hasBegunAnew])
    this.#host.news.happened('document.reset', by)
    return description
  }

  /** Errors: `document.full`. */
  async #checkBirth(): Promise<void> {
    await this.quota.consult(this.#measuredBytes)
    this.#checkAlive()
    this.quota.checkBirth()
  }

  /** Errors: `document.invalid`, `document.full`. */
  async #entriesOf(update: Uint8Array | undefined, user: string, via: string): Promise<Uint8Array[]> {
    if (update === undefined) return []
    const inspection = inspectUpdate(update, updateLimits)
    if (!inspection.ok) throw new TroupeError('document.invalid', `it is no Yjs update (V1): ${inspection.detail}`)
    if (inspection.isEmpty) return []
    const compaction = await this.#options.work.run('compact', noBytes, [update.slice()])
    this.#checkAlive()
    if (!compaction.ok) throw new TroupeError('document.invalid', `${compaction.code}: ${compaction.detail}`)
    if (compaction.quarantined.length > 0)
      throw new TroupeError('document.invalid', 'it builds on something that it does not contain, or Yjs cannot apply it')
    this.quota.checkGrowth(compaction.snapshot.length)
    return [encodeChange({ author: { user, via }, update: compaction.snapshot })]
  }

  /**
   * Other content: these entries, or none. Until the record is written nothing has changed; from then on it is done, for it goes
   * through, if need be when the document is loaded the next time: on a disk that has become full in between, whoever asked was told
   * that nothing was there, and there was. It leaves memory: the next one to ask has the new content loaded.
   */
  async #exchange(
    change: () => DocumentRecord,
    entries: readonly Uint8Array[],
    goodbye: readonly [code: ErrorCode, detail: string],
  ): Promise<DocumentDescription> {
    const gone = await epochOf(this.#options.journals, this.#scope.address)
    if (entries.length > 0 || this.#damage !== undefined) await this.#written(this.#records.stage(entries))
    const orders = { ...(gone !== '' && { gone }), ...(entries.length > 0 && { incoming: true }) }
    const retirement = await this.#written(this.epoch.retirement())
    const next = change()
    const size = { bytes: bytesOf(entries), offset: (next.history?.skipped ?? 0) + entries.length }
    const record = await this.#background.write(this.#records.save(() => ({ ...next, ...size, ...retirement, ...orders })))
    this.#isNoted = true
    this.quota.measured(record.deletedAt === undefined ? size.bytes : 0)
    if (gone === '' && entries.length === 0 && this.#damage === undefined) return this.describe()
    const isFinished = await this.#finish(goodbye)
    // Its history is still under the old name: whoever moves it must not take it for done, and asks again once this is loaded anew.
    if (!isFinished && next.history !== undefined) throw new TroupeError('document.unavailable', 'it is loaded anew; ask again')
    const description = await this.#described(record, { connections: 0, unsaved: 0 })
    return isFinished ? description : { ...description, epoch: '' }
  }

  /** False: whoever loads it next does that. */
  async #finish(goodbye: readonly [code: ErrorCode, detail: string]): Promise<boolean> {
    if (this.#background.isOver) return false
    this.#host.dismiss(...goodbye)
    try {
      await this.#host.log.end()
      await this.#background.write(this.#records.finishExchange())
      return true
    } catch (error) {
      this.#scope.log.warn(
        { document: this.#scope.address, error: String(error) },
        'the content of a document is exchanged when it is loaded next',
      )
      return false
    } finally {
      if (!this.#background.isOver) this.#scope.stop()
    }
  }

  // ── to another name ────────────────────────────────────────────────────────────────────────────────────────────

  async #copy({ by, to, request }: Request<'document.copy'>): Promise<DocumentDescription> {
    checkTarget(this.#scope, to)
    // Before anything is said about this one, which may be gone since then.
    const done = request && (await askOther(this.#scope, to, { type: 'document.received', request }, () => this.#checkAlive()))
    if (done !== undefined) return done
    await this.whenFree()
    this.#checkWhole()
    await this.#flushed()
    this.#checkPresent()
    return this.#send(to, by, false, request)
  }

  async #rename({ by, to }: Request<'document.rename'>): Promise<DocumentDescription> {
    const { renamedTo } = this.#record ?? {}
    if (renamedTo === to) return this.#askOther(to, { type: 'document.describe' })
    this.#checkWhole()
    checkTarget(this.#scope, to)
    await this.#flushed()
    const basis = await this.#basis()
    await this.#background.write(this.#records.save((record) => ({ ...basis, ...record, ...this.#size(), movingTo: to, movedBy: by })))
    this.#isNoted = true
    try {
      return await this.#move()
    } catch (error) {
      // From here on it goes on when the document is loaded next, unless the other name has said no.
      if (isFinal(error)) throw error
      throw new TroupeError('document.outcome_unknown', 'it has not got its other name yet', { cause: error })
    }
  }

  /** The content goes to its new name; when it is there, only the name is left here. */
  async #move(): Promise<DocumentDescription> {
    const { movingTo: to = '', movedBy: by = '' } = this.#record ?? {}
    const without = ({ movingTo: _, movedBy: __, ...rest }: DocumentRecord): DocumentRecord => rest
    let description: DocumentDescription
    try {
      description = await this.#send(to, by, true)
    } catch (error) {
      this.#checkAlive()
      if (isFinal(error)) await this.#written(this.#records.save((record) => without(record as DocumentRecord)))
      else {
        // It may be there or not. Whoever loads this document next asks again.
        this.#scope.log.warn({ document: this.#scope.address, to, error: String(error) }, 'a document could not be renamed yet')
        this.#scope.stop()
      }
      throw error
    }
    this.#checkAlive()
    const now = this.#scope.now()
    const gone = { deletedAt: now, deletedBy: by, purgedAt: now, renamedTo: to }
    await this.#exchange(() => ({ ...without(this.#record as DocumentRecord), ...gone }), [], ['document.renamed', to]) // it says where to
    this.#host.news.happened('document.renamed', by, to)
    return description
  }

  async #send(to: string, by: string, isMove: boolean, request?: RequestKey): Promise<DocumentDescription> {
    const { createdAt, createdBy } = await this.#basis()
    const { epoch } = await this.#options.journals.head(this.#scope.address)
    const entries = await contentOf(this.#options.journals, this.#scope.address).entries(by, isMove ? 'rename' : 'copy')
    this.#checkAlive()
    const skipped = isMove ? await skippedOf(this.#options.journals, this.#scope) : undefined
    this.#checkAlive()
    const from = { name: this.#name, epoch, isMove, createdAt, createdBy, ...(skipped !== undefined && { skipped }) }
    return this.#askOther(to, { type: 'document.receive', by, from, entries, request })
  }

  #askOther(name: string, request: DocumentLifeRequest): Promise<DocumentDescription> {
    return askOther(this.#scope, name, request, () => this.#checkAlive())
  }

  /** The answer to this was lost, or its asker was; what happened here since came later. */
  #hasReceived({ from }: Request<'document.receive'>): boolean {
    const origin = this.#record?.origin
    return from.isMove && origin?.isMove === true && origin.name === from.name && origin.epoch === from.epoch
  }

  /** The document of a copy that was made here with this key. Errors: `document.key_reused`. */
  async received(request: RequestKey): Promise<DocumentDescription | undefined> {
    while (this.#busy !== undefined) await this.#busy
    this.#checkAlive()
    return this.#isRepeated(request) ? this.describe() : undefined
  }

  async #receive(request: Request<'document.receive'>): Promise<DocumentDescription> {
    if (this.#hasReceived(request) || this.#isRepeated(request.request)) return this.describe()
    if (this.#standing === 'present') throw new TroupeError('document.exists', this.#name)
    const { by, from, entries } = request
    // What is moved has been stored already, however large it is.
    if (!from.isMove) {
      await this.#checkBirth()
      this.quota.checkGrowth(bytesOf(entries))
    }
    const { createdAt, createdBy } = from
    const { name, epoch, skipped } = from
    const history = skipped === undefined || entries.length === 0 ? undefined : { journal: historyOf(this.#scope, name), epoch, skipped }
    const born = {
      ...this.#newRecord(by),
      origin: from,
      ...(from.isMove && { createdAt, createdBy }),
      ...(history && { history }),
      ...withRequest({}, request.request, this.#scope.now()),
    }
    const description = await this.#exchange(() => born, entries, isReady)
    if (!from.isMove) this.#host.news.happened('document.created', by)
    return description
  }
}

/** To those who have opened a document that was not there, and has content now. */
const isReady = ['document.busy', 'it has its content now'] as const

const nothing = (): void => {}

const bytesOf = (entries: readonly Uint8Array[]): number =>
  entries.reduce((bytes, entry) => bytes + (decodeChange(entry)?.update.length ?? 0), 0)
