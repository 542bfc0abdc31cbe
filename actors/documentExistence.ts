/**
 * Whether a document is there, and how that changes: created, deleted, restored, begun anew, copied, renamed.
 *
 *   absent ──create, first change──→ present ──remove, rename──→ deleted ──create──→ present
 *                                       ↑ └──reset──┘   └───←──undelete──┘   └──purge──→ deleted, without content
 *
 * Promises:
 * - One of these at a time; while one is under way nothing is taken in, and whoever asks waits for its end.
 * - What was acknowledged before is in the copy, under the new name, in what is restored.
 * - What was refused or interrupted has changed nothing, or is finished by whoever loads the document next. A rename that was
 *   interrupted goes on then; there is always one of both names under which the content is.
 * - Nothing of a history that is gone comes back: what the document had is retired, and whoever brings some of it is refused.
 */
import { decodeChange, encodeChange } from '../crdt/change.ts'
import { noBytes } from '../crdt/cursor.ts'
import { inspectUpdate, stateLimits } from '../crdt/update.ts'
import type { DocumentWork } from '../crdt/work.ts'
import { publicName } from './account.ts'
import { Background } from './background.ts'
import { contentOf } from './documentContent.ts'
import { DocumentEpoch, type EpochOptions, hasBegunAnew } from './documentEpoch.ts'
import { askOther, checkTarget, historyOf, isFinal, skippedOf } from './documentHandover.ts'
import type { DocumentLog } from './documentLog.ts'
import type { DocumentDescription, DocumentLifeRequest } from './documentMessages.ts'
import type { DocumentNews } from './documentNews.ts'
import { DocumentQuota, type QuotaOptions } from './documentQuota.ts'
import { absence, type DocumentRecord, descriptionOf, type RecordJournal, type Standing, standingOf } from './documentRecord.ts'
import { type ErrorCode, TroupeError } from './errors.ts'
import type { Scope } from './system/scope.ts'
import type { EpochMs } from './world.ts'

export interface ExistenceOptions extends QuotaOptions, EpochOptions {
  readonly work: DocumentWork
  /** A document comes into being when somebody opens and changes it. Default true. */
  readonly autoCreate?: boolean
  /** What is deleted can be restored for so long. Default 30 days. */
  readonly deletedMs?: number
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
    })
  }

  /** Before the first message. */
  begin(): void {
    if (this.#record?.movingTo !== undefined) this.#exclusively(() => this.#move()).catch(() => {}) // said where it failed
    this.quota.begin(this.#measuredBytes)
  }

  get #record(): DocumentRecord | undefined {
    return this.#records.record
  }

  get #standing(): Standing {
    const { log } = this.#host
    return standingOf(this.#record, log.saved > 0 || log.unsaved > 0)
  }

  get #measuredBytes(): number {
    return this.#standing === 'present' ? this.#host.log.document.bytes : 0
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
    if (standing === 'absent' && this.#options.autoCreate === false) return new TroupeError('document.unknown', this.#name)
    return undefined
  }

  /** Why nobody can open it now. */
  get closure(): TroupeError | undefined {
    return this.refusal ?? this.quota.closure(this.#host.log.document.bytes)
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
    return { bytes: log.document.bytes, offset: log.saved }
  }

  /** The record as it would be written now. */
  async #basis(): Promise<DocumentRecord> {
    const { log } = this.#host
    const record = this.#record
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
    return this.#described(await this.#basis(), { connections, unsaved: log.unsaved })
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
        if (this.#standing === 'present' && !this.#hasReceived(request))
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

  async #written<T>(write: Promise<T>): Promise<T> {
    const value = await this.#background.write(write)
    this.#checkAlive()
    return value
  }

  /** Everything that was taken in is on disk. */
  async #flushed(): Promise<void> {
    await new Promise<void>((resolve) => this.#host.log.whenSaved(resolve, resolve))
    this.#checkAlive()
  }

  /** Errors: `document.unknown`, `document.deleted`, `document.renamed`. */
  #checkPresent(): void {
    const standing = this.#standing
    if (standing === 'absent') throw new TroupeError('document.unknown', this.#name)
    if (standing === 'deleted') throw absence(this.#record as DocumentRecord) // by `standingOf`
  }

  async #create({ by, update }: Request<'document.create'>): Promise<DocumentDescription> {
    if (this.#standing === 'present') throw new TroupeError('document.exists', this.#name)
    const entries = await this.#entriesOf(update, by, 'create')
    const description = await this.#exchange(() => this.#newRecord(by), entries, isReady)
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
    const deletion = { deletedAt: this.#scope.now(), deletedBy: by, ...this.epoch.retirement() }
    await this.#written(this.#records.save((record) => ({ ...basis, ...record, ...this.#size(), ...deletion })))
    this.#host.dismiss('document.deleted', '')
    this.#host.news.happened('document.deleted', by)
    this.quota.measured(0)
    return this.describe()
  }

  async #undelete({ by }: Request<'document.undelete'>): Promise<DocumentDescription> {
    if (this.#standing === 'deleted') {
      const { renamedTo, purgedAt } = this.#record as DocumentRecord // by `standingOf`
      if (renamedTo !== undefined || purgedAt !== undefined) throw absence(this.#record as DocumentRecord)
      const without = ({ deletedAt: _, deletedBy: __, ...rest }: DocumentRecord): DocumentRecord => rest
      await this.#written(this.#records.save((record) => without(record as DocumentRecord))) // it was there a moment ago
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

  async #reset({ by, update }: Request<'document.reset'>): Promise<DocumentDescription> {
    this.#checkPresent()
    const entries = await this.#entriesOf(update, by, 'import')
    await this.#flushed()
    const basis = await this.#basis()
    const change = () => ({ ...basis, updatedAt: this.#scope.now() })
    const description = await this.#exchange(change, entries, ['document.epoch', hasBegunAnew])
    this.#host.news.happened('document.reset', by)
    return description
  }

  /** Errors: `document.invalid`, `document.full`. */
  async #entriesOf(update: Uint8Array | undefined, user: string, via: string): Promise<Uint8Array[]> {
    if (update === undefined) return []
    const inspection = inspectUpdate(update, stateLimits)
    if (!inspection.ok) throw new TroupeError('document.invalid', `${inspection.code}: ${inspection.detail}`)
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
   * Other content: these entries, or none. Until the record is written nothing has changed; from then on it goes through, if
   * need be when the document is loaded the next time. It leaves memory: the next one to ask has the new content loaded.
   */
  async #exchange(
    change: () => DocumentRecord,
    entries: readonly Uint8Array[],
    goodbye: readonly [code: ErrorCode, detail: string],
  ): Promise<DocumentDescription> {
    const { epoch: gone } = await this.#options.journals.head(this.#scope.address)
    if (entries.length > 0) await this.#written(this.#records.stage(entries))
    const orders = { ...(gone !== '' && { gone }), ...(entries.length > 0 && { incoming: true }) }
    const retirement = this.epoch.retirement()
    const next = change()
    const size = { bytes: bytesOf(entries), offset: (next.history?.skipped ?? 0) + entries.length }
    await this.#written(this.#records.save(() => ({ ...next, ...size, ...retirement, ...orders })))
    this.#isNoted = true
    this.quota.measured(this.#record?.deletedAt === undefined ? size.bytes : 0)
    if (gone === '' && entries.length === 0) return this.describe()
    this.#host.dismiss(...goodbye)
    try {
      await this.#host.log.end()
      await this.#written(this.#records.finishExchange())
      return await this.#described(this.#record as DocumentRecord, { connections: 0, unsaved: 0 }) // it was written above
    } finally {
      if (!this.#background.isOver) this.#scope.stop()
    }
  }

  // ── to another name ────────────────────────────────────────────────────────────────────────────────────────────

  async #copy({ by, to }: Request<'document.copy'>): Promise<DocumentDescription> {
    await this.whenFree()
    this.#checkPresent()
    checkTarget(this.#scope, to)
    await this.#flushed()
    this.#checkPresent()
    return this.#send(to, by, false)
  }

  async #rename({ by, to }: Request<'document.rename'>): Promise<DocumentDescription> {
    const { renamedTo } = this.#record ?? {}
    if (renamedTo === to) return this.#askOther(to, { type: 'document.describe' })
    this.#checkPresent()
    checkTarget(this.#scope, to)
    await this.#flushed()
    const basis = await this.#basis()
    await this.#written(this.#records.save((record) => ({ ...basis, ...record, ...this.#size(), movingTo: to, movedBy: by })))
    this.#isNoted = true
    return this.#move()
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

  async #send(to: string, by: string, isMove: boolean): Promise<DocumentDescription> {
    const { createdAt, createdBy } = await this.#basis()
    const { epoch } = await this.#options.journals.head(this.#scope.address)
    const entries = await contentOf(this.#options.journals, this.#scope.address).entries(by, isMove ? 'rename' : 'copy')
    this.#checkAlive()
    const skipped = isMove ? await skippedOf(this.#options.journals, this.#scope) : undefined
    this.#checkAlive()
    const from = { name: this.#name, epoch, isMove, createdAt, createdBy, ...(skipped !== undefined && { skipped }) }
    return this.#askOther(to, { type: 'document.receive', by, from, entries })
  }

  #askOther(name: string, request: DocumentLifeRequest): Promise<DocumentDescription> {
    return askOther(this.#scope, name, request, () => this.#checkAlive())
  }

  /** The answer to this was lost, or its asker was; what happened here since came later. */
  #hasReceived({ from }: Request<'document.receive'>): boolean {
    const origin = this.#record?.origin
    return from.isMove && origin?.isMove === true && origin.name === from.name && origin.epoch === from.epoch
  }

  async #receive(request: Request<'document.receive'>): Promise<DocumentDescription> {
    if (this.#hasReceived(request)) return this.describe()
    if (this.#standing === 'present') throw new TroupeError('document.exists', this.#name)
    const { by, from, entries } = request
    this.quota.checkGrowth(entries.reduce((bytes, entry) => bytes + entry.length, 0))
    const { createdAt, createdBy } = from
    const { name, epoch, skipped } = from
    const history = skipped === undefined || entries.length === 0 ? undefined : { journal: historyOf(this.#scope, name), epoch, skipped }
    const born = { ...this.#newRecord(by), origin: from, ...(from.isMove && { createdAt, createdBy }), ...(history && { history }) }
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
