/**
 * What is known about a document beside its content: whether it is there, since when, by whom, how large, when it changed last.
 *
 * Promises:
 * - It is as it is now, whatever the record says: size and offset come from memory, the times from the journal if nothing newer is known.
 * - It is noted in the record as soon as there is something to know, and from then on when the document leaves memory (`note`).
 * - Of what is damaged it says what the record knew.
 */
import { publicName } from './account.ts'
import type { Background } from './background.ts'
import { contentOf } from './documentContent.ts'
import type { DocumentEpoch } from './documentEpoch.ts'
import type { DocumentLog } from './documentLog.ts'
import type { DocumentDescription } from './documentMessages.ts'
import type { DocumentQuota } from './documentQuota.ts'
import { type DocumentRecord, descriptionOf, type RecordJournal, type Standing, settled, standingOf } from './documentRecord.ts'
import { TroupeError } from './errors.ts'
import type { Journals } from './journal.ts'
import type { Scope } from './system/scope.ts'
import type { EpochMs } from './world.ts'

export interface MeasureOptions {
  readonly journals: Journals
  /** What is deleted can be restored for so long. Default 30 days. */
  readonly deletedMs?: number
}

/** What it needs of the document in memory. */
export interface MeasureHost {
  readonly log: DocumentLog
  readonly connections: number
}

/** And of the parts that decide about its life. */
export interface MeasureParts {
  readonly records: RecordJournal
  readonly background: Background
  readonly quota: DocumentQuota
  readonly epoch: DocumentEpoch
}

type Present = Pick<DocumentDescription, 'connections' | 'unsaved'>

const defaultDeletedMs = 30 * 24 * 3_600_000

export class DocumentMeasure {
  readonly #scope: Scope
  readonly #journals: Journals
  readonly #deletedMs: number
  readonly #host: MeasureHost
  readonly #parts: MeasureParts
  #changedAt: EpochMs | undefined
  /** There is a record, or one is on its way. */
  #hasRecord: boolean

  constructor(scope: Scope, { journals, deletedMs = defaultDeletedMs }: MeasureOptions, host: MeasureHost, parts: MeasureParts) {
    this.#scope = scope
    this.#journals = journals
    this.#deletedMs = deletedMs
    this.#host = host
    this.#parts = parts
    this.#hasRecord = parts.records.record !== undefined
  }

  get #record(): DocumentRecord | undefined {
    return this.#parts.records.record
  }

  get standing(): Standing {
    const { log } = this.#host
    return standingOf(this.#record, log.saved > 0 || log.unsaved > 0 || log.damage !== undefined)
  }

  /** It was deleted so long ago that its content goes. */
  get isDue(): boolean {
    const { deletedAt } = this.#record ?? {}
    return deletedAt !== undefined && deletedAt + this.#deletedMs <= this.#scope.now()
  }

  get size(): Pick<DocumentRecord, 'bytes' | 'offset'> {
    const { log } = this.#host
    if (log.damage !== undefined) return { bytes: this.#record?.bytes ?? 0, offset: this.#record?.offset ?? 0 }
    return { bytes: log.document.bytes, offset: log.saved }
  }

  /** What counts for the limits: of one that is deleted, nothing. */
  get presentBytes(): number {
    return this.standing === 'present' ? this.size.bytes : 0
  }

  // ── in the record ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Changes are on disk. The first time that there is something to know, it is noted. */
  changed(): void {
    const { background, quota } = this.#parts
    this.#changedAt = this.#scope.now()
    if (this.standing === 'present') quota.changed(this.#host.log.document.bytes)
    if (this.#hasRecord) return
    this.#hasRecord = true
    background.run(
      background.write(this.note()),
      () => {},
      () => {
        this.#hasRecord = false
      },
    )
  }

  /** Somebody else has written the record. */
  recorded(): void {
    this.#hasRecord = true
  }

  /** The record says what is there. */
  get isNoted(): boolean {
    const { log } = this.#host
    return log.saved === 0 || (this.#record?.offset === log.saved && this.#record.bytes === log.document.bytes)
  }

  /** Notes size and time of the last change. */
  async note(): Promise<void> {
    if (this.isNoted) return
    const { records, quota } = this.#parts
    const basis = await this.basis()
    await records.save((record) => ({ ...basis, ...record, updatedAt: basis.updatedAt, ...this.size }))
    quota.measured(this.presentBytes)
  }

  /** The record as it would be written now. */
  async basis(): Promise<DocumentRecord> {
    const { log } = this.#host
    const record = this.#record
    if (log.damage !== undefined) return settled(record ?? { createdAt: 0, createdBy: '', updatedAt: 0, bytes: 0, offset: 0 })
    let updatedAt = this.#changedAt ?? record?.updatedAt ?? 0
    if (record === undefined || (this.#changedAt === undefined && record.offset !== log.saved)) {
      const found = await contentOf(this.#journals, this.#scope.address).times()
      updatedAt = Math.max(updatedAt, found.updatedAt)
      if (record === undefined)
        return { createdAt: found.createdAt || this.#scope.now(), createdBy: found.createdBy, updatedAt, ...this.size }
    }
    return { ...record, updatedAt, ...this.size }
  }

  // ── as it is told ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Errors: `document.unknown`. */
  async describe(): Promise<DocumentDescription> {
    if (this.standing === 'absent') throw new TroupeError('document.unknown', publicName(this.#scope.id))
    const { log, connections } = this.#host
    const description = await this.described(await this.basis(), { connections, unsaved: log.unsaved })
    return log.damage === undefined ? description : { ...description, damage: log.damage.message }
  }

  /** Of another record than the one that is there now. */
  async described(record: DocumentRecord, present: Present): Promise<DocumentDescription> {
    const { epoch, quota } = this.#parts
    const name = publicName(this.#scope.id)
    return descriptionOf(record, { name, epoch: await epoch.current(), isFull: quota.isFull(record.bytes), ...present }, this.#deletedMs)
  }
}
