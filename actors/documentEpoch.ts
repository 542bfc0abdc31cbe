/**
 * Which history a document has, and who comes with one that is no more: whoever says another epoch, and whoever has some of what was
 * retired, for merging both would double the content for everybody.
 */
import { bringsRetired, joinVectors, knowsRetired } from '../crdt/retired.ts'
import type { StateVector } from '../crdt/stateVector.ts'
import type { UpdateInspection } from '../crdt/update.ts'
import type { DocumentWork } from '../crdt/work.ts'
import { epochOf, salvagedVector } from './documentDamage.ts'
import type { DocumentLog } from './documentLog.ts'
import { type DocumentRecord, type RecordJournal, retire, retiredOf } from './documentRecord.ts'
import { TroupeError } from './errors.ts'
import type { Journals } from './journal.ts'

export interface EpochOptions {
  readonly journals: Journals
  readonly work: DocumentWork
  /** Of the data directory, when it was restored from a backup: part of the epoch of every document. */
  readonly generation?: string | undefined
}

export const hasBegunAnew = 'it began anew; drop the local copy'

export class DocumentEpoch {
  readonly #options: EpochOptions
  readonly #journal: string
  readonly #records: RecordJournal
  readonly #log: DocumentLog
  /** Decoded when the record says something else than the last time. */
  #retired: { readonly text: string | undefined; readonly vector: StateVector | undefined } = { text: undefined, vector: undefined }

  constructor(options: EpochOptions, journal: string, records: RecordJournal, log: DocumentLog) {
    this.#options = options
    this.#journal = journal
    this.#records = records
    this.#log = log
  }

  /** Empty before the first change. Random (128 bits), so nobody guesses that of another document. */
  async current(): Promise<string> {
    const { journals, generation } = this.#options
    const epoch = await epochOf(journals, this.#journal)
    return epoch === '' || generation === undefined ? epoch : `${epoch}.${generation}`
  }

  /** Does the client know the history that is here, as far as it says? Errors: `document.epoch`. */
  async check(known: string): Promise<void> {
    if ((await this.current()) !== known) throw new TroupeError('document.epoch', hasBegunAnew)
  }

  /** Why somebody with this state vector is refused. */
  hasOldVector(encoded: Uint8Array): string | undefined {
    const retired = this.#retiredVector
    if (retired === undefined) return undefined
    const vector = this.#log.document.vectorOf(encoded)
    if ('ok' in vector) return undefined // it will be refused for what it is
    return knowsRetired(vector, this.#log.document.stateVector, retired) ? hasBegunAnew : undefined
  }

  /** Why an update is refused. */
  isOldUpdate(inspection: UpdateInspection): string | undefined {
    const retired = this.#retiredVector
    if (retired === undefined) return undefined
    return bringsRetired(inspection, this.#log.document.stateVector, retired) ? hasBegunAnew : undefined
  }

  /** For the record, when what is here now goes: all that this name ever had. */
  async retirement(): Promise<Pick<DocumentRecord, 'retired'>> {
    const { journals, work } = this.#options
    const { damage, document } = this.#log
    const present = damage === undefined ? document.stateVector : await salvagedVector(journals, work, this.#journal)
    const retired = retire(joinVectors(this.#retiredVector ?? new Map(), present))
    return retired === undefined ? {} : { retired }
  }

  get #retiredVector(): StateVector | undefined {
    const { record } = this.#records
    if (record?.retired !== this.#retired.text) this.#retired = { text: record?.retired, vector: record && retiredOf(record) }
    return this.#retired.vector
  }
}
