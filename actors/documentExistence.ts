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
import { epochOf } from './documentDamage.ts'
import { DocumentEpoch, type EpochOptions, hasBegunAnew } from './documentEpoch.ts'
import { askOther, checkTarget, handOver, hasReceived, isFinal, receivedRecord } from './documentHandover.ts'
import { DocumentMeasure, type MeasureHost, type MeasureOptions } from './documentMeasure.ts'
import type { DocumentDescription, DocumentLifeRequest } from './documentMessages.ts'
import type { DocumentNews } from './documentNews.ts'
import { DocumentQuota, type QuotaOptions } from './documentQuota.ts'
import { absence, type DocumentRecord, newRecord, type RecordJournal, type Standing, withRequest } from './documentRecord.ts'
import { checkSame, defaultRepeatMs } from './documentRequests.ts'
import { type ErrorCode, TroupeError } from './errors.ts'
import type { Scope } from './system/scope.ts'

export interface ExistenceOptions extends QuotaOptions, EpochOptions, MeasureOptions {
  readonly work: DocumentWork
  /** A document comes into being when somebody opens and changes it. Default true. */
  readonly autoCreate?: boolean
  /** A request that comes again is recognised for so long. Default one day. */
  readonly repeatMs?: number
}

/** What it needs of the document in memory. */
export interface ExistenceHost extends MeasureHost {
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

export class DocumentExistence {
  readonly quota: DocumentQuota
  readonly epoch: DocumentEpoch
  readonly measure: DocumentMeasure
  readonly #scope: Scope
  readonly #options: ExistenceOptions
  readonly #host: ExistenceHost
  readonly #records: RecordJournal
  readonly #background: Background
  /** What is under way, and all that waits for it. */
  #busy: Promise<void> | undefined

  constructor(scope: Scope, options: ExistenceOptions, host: ExistenceHost, records: RecordJournal) {
    this.#scope = scope
    this.#options = options
    this.#host = host
    this.#records = records
    this.#background = new Background(scope)
    this.epoch = new DocumentEpoch(options, scope.address, records, host.log)
    this.quota = new DocumentQuota(scope, options, this.#background, {
      becameFull: () => host.news.happened('document.full', ''),
      judgeAgain: () => host.listen(),
      hasRoom: () => host.hasRoom(),
      isAwaited: () => host.hasRefused,
      counted: () => this.measure.presentBytes,
    })
    const { epoch, quota } = this
    this.measure = new DocumentMeasure(scope, options, host, { records, background: this.#background, quota, epoch })
  }

  /** Before the first message. */
  begin(): void {
    if (this.#record?.movingTo !== undefined && this.#damage === undefined) this.#exclusively(() => this.#move()).catch(() => {}) // said where it failed
    this.quota.begin(this.measure.presentBytes)
  }

  get #record(): DocumentRecord | undefined {
    return this.#records.record
  }

  get #name(): string {
    return publicName(this.#scope.id)
  }

  get #standing(): Standing {
    return this.measure.standing
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
    return this.quota.guardsEntry ? this.quota.consult(this.measure.presentBytes)?.then(() => this.#checkAlive()) : undefined
  }

  /** It may be large for a tail that is mostly garbage. */
  async fit(): Promise<void> {
    const { log } = this.#host
    if (this.refusal === undefined && log.document.tailBytes > 0) await log.compaction.all().catch(() => {}) // then it stays as it is
  }

  // ── how that changes ───────────────────────────────────────────────────────────────────────────────────────────

  handle(request: DocumentLifeRequest): Promise<DocumentDescription> {
    switch (request.type) {
      case 'document.describe':
        return this.measure.describe()
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
        if (this.#standing === 'present' && !hasReceived(this.#record, request) && request.request === undefined)
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
    if (this.#isRepeated(request)) return this.measure.describe()
    if (this.#standing === 'present') throw new TroupeError('document.exists', this.#name)
    await this.#checkBirth()
    const entries = await this.#entriesOf(update, by, 'create')
    const born = () => ({ ...newRecord(by, this.#scope.now()), ...withRequest({}, request, this.#scope.now()) })
    const description = await this.#exchange(born, entries, isReady)
    this.#host.news.happened('document.created', by)
    return description
  }

  async #remove({ by }: Request<'document.remove'>): Promise<DocumentDescription> {
    if (this.#record?.deletedAt !== undefined && this.#record.renamedTo === undefined) return this.measure.describe()
    this.#checkPresent()
    await this.#flushed()
    const basis = await this.measure.basis()
    const deletion = { deletedAt: this.#scope.now(), deletedBy: by, ...(await this.#written(this.epoch.retirement())) }
    await this.#background.write(this.#records.save((record) => ({ ...basis, ...record, ...this.measure.size, ...deletion })))
    this.#host.dismiss('document.deleted', '')
    this.#host.news.happened('document.deleted', by)
    this.quota.measured(0)
    return this.measure.describe()
  }

  async #undelete({ by }: Request<'document.undelete'>): Promise<DocumentDescription> {
    if (this.#standing === 'deleted') {
      const { renamedTo, purgedAt } = this.#record as DocumentRecord // by `standingOf`
      if (renamedTo !== undefined || purgedAt !== undefined) throw absence(this.#record as DocumentRecord)
      await this.#checkBirth()
      const without = ({ deletedAt: _, deletedBy: __, ...rest }: DocumentRecord): DocumentRecord => rest
      await this.#background.write(this.#records.save((record) => without(record as DocumentRecord))) // it was there a moment ago
      this.#host.news.happened('document.restored', by)
      this.quota.measured(this.measure.presentBytes)
    }
    return this.measure.describe()
  }

  async #purge({ by, ifDue = false }: Request<'document.purge'>): Promise<DocumentDescription> {
    if (this.#standing === 'absent') throw new TroupeError('document.unknown', this.#name)
    const now = this.#scope.now()
    const { deletedAt, purgedAt } = this.#record ?? {}
    if (purgedAt !== undefined || (ifDue && !this.measure.isDue)) return this.measure.describe()
    if (deletedAt === undefined) await this.#flushed()
    const basis = await this.measure.basis()
    const change = () => ({ deletedBy: by, deletedAt: now, ...basis, purgedAt: now })
    const description = await this.#exchange(change, [], ['document.deleted', ''])
    if (deletedAt === undefined) this.#host.news.happened('document.deleted', by)
    return description
  }

  async #reset({ by, update, request }: Request<'document.reset'>): Promise<DocumentDescription> {
    if (this.#isRepeated(request)) return this.measure.describe()
    this.#checkPresent()
    const entries = await this.#entriesOf(update, by, 'import')
    await this.#flushed()
    const basis = await this.measure.basis()
    const change = () => ({ ...basis, updatedAt: this.#scope.now(), ...withRequest(basis, request, this.#scope.now()) })
    const description = await this.#exchange(change, entries, ['document.epoch', hasBegunAnew])
    this.#host.news.happened('document.reset', by)
    return description
  }

  /** Errors: `document.full`. */
  async #checkBirth(): Promise<void> {
    await this.quota.consult(this.measure.presentBytes)
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
    this.measure.recorded()
    this.quota.measured(record.deletedAt === undefined ? size.bytes : 0)
    if (gone === '' && entries.length === 0 && this.#damage === undefined) return this.measure.describe()
    const isFinished = await this.#finish(goodbye)
    // Its history is still under the old name: whoever moves it must not take it for done, and asks again once this is loaded anew.
    if (!isFinished && next.history !== undefined) throw new TroupeError('document.unavailable', 'it is loaded anew; ask again')
    const description = await this.measure.described(record, { connections: 0, unsaved: 0 })
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
    if (renamedTo === to) return askOther(this.#scope, to, { type: 'document.describe' }, () => this.#checkAlive())
    this.#checkWhole()
    checkTarget(this.#scope, to)
    await this.#flushed()
    const basis = await this.measure.basis()
    await this.#background.write(this.#records.save((record) => ({ ...basis, ...record, ...this.measure.size, movingTo: to, movedBy: by })))
    this.measure.recorded()
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
    const { createdAt, createdBy } = await this.measure.basis()
    const sending = { to, by, isMove, createdAt, createdBy, request }
    return handOver(this.#scope, this.#options.journals, sending, () => this.#checkAlive())
  }

  /** The document of a copy that was made here with this key. Errors: `document.key_reused`. */
  async received(request: RequestKey): Promise<DocumentDescription | undefined> {
    while (this.#busy !== undefined) await this.#busy
    this.#checkAlive()
    return this.#isRepeated(request) ? this.measure.describe() : undefined
  }

  async #receive(request: Request<'document.receive'>): Promise<DocumentDescription> {
    if (hasReceived(this.#record, request) || this.#isRepeated(request.request)) return this.measure.describe()
    if (this.#standing === 'present') throw new TroupeError('document.exists', this.#name)
    const { by, from, entries } = request
    // What is moved has been stored already, however large it is.
    if (!from.isMove) {
      await this.#checkBirth()
      this.quota.checkGrowth(bytesOf(entries))
    }
    const born = receivedRecord(this.#scope, request)
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
