/**
 * The record of a document: what is known about it beside its content. One small JSON entry in the journal `record/ID`; the newest
 * counts. It outlives the content: a deleted document is its record.
 *
 * Promises:
 * - What begins a change of content (`gone`, `incoming`) is one write. Whoever loads the document next finishes it (`finishExchange`),
 *   as often as it is interrupted: there is the old content or the new one, whole, and never both.
 * - A record that cannot be read says so (`damage`), and the next one takes its place.
 * - A document that somebody just began to write gets its record in the background; without one it is `present` as long as it has content.
 */
import { base64 } from '../crdt/base64.ts'
import { type RequestKey, seal } from '../crdt/change.ts'
import { decodeStateVector, encodeStateVector, type StateVector } from '../crdt/stateVector.ts'
import { emptyUpdate } from '../crdt/update.ts'
import { entriesAfter } from './documentContent.ts'
import { epochOf, isDamage } from './documentDamage.ts'
import { type MovedHistory, moveHistory } from './documentHistoryMove.ts'
import type { DocumentDescription, DocumentOrigin } from './documentMessages.ts'
import { TroupeError } from './errors.ts'
import type { Journals, Offset } from './journal.ts'
import type { EpochMs } from './world.ts'

export interface DocumentRecord {
  readonly createdAt: EpochMs
  readonly createdBy: string
  /** Of the last change, the size, and the offset, as they were when the document was measured. */
  readonly updatedAt: EpochMs
  readonly bytes: number
  readonly offset: Offset
  readonly deletedAt?: EpochMs
  readonly deletedBy?: string
  /** The content is gone for good. */
  readonly purgedAt?: EpochMs
  /** The content is on its way to this name; nothing is taken in meanwhile. */
  readonly movingTo?: string
  readonly movedBy?: string
  readonly renamedTo?: string
  readonly origin?: DocumentOrigin
  /** State vector (base64) of all that this name had and has no more. */
  readonly retired?: string
  /** Epoch of the journal that goes, with its history; empty: there is none. */
  readonly gone?: string
  /** The content that comes instead waits in `incoming/ID`. */
  readonly incoming?: boolean
  /** And with it this history. */
  readonly history?: MovedHistory
  /** By which it was created or begun anew, oldest first; they may come again. */
  readonly requests?: readonly RecordedRequest[]
}

export interface RecordedRequest extends RequestKey {
  readonly at: EpochMs
}

/** Such requests are rare, and the record is written anew whenever the document is measured. */
const mostRequests = 16

export const withRequest = (
  { requests = [] }: Pick<DocumentRecord, 'requests'>,
  request: RequestKey | undefined,
  at: EpochMs,
): Pick<DocumentRecord, 'requests'> =>
  request === undefined ? {} : { requests: [...requests, { id: request.id, hash: request.hash, at }].slice(-mostRequests) }

export const newRecord = (by: string, now: EpochMs): DocumentRecord => ({
  createdAt: now,
  createdBy: by,
  updatedAt: now,
  bytes: 0,
  offset: 0,
})

export type Standing = 'absent' | 'present' | 'deleted'

export const standingOf = (record: DocumentRecord | undefined, hasContent: boolean): Standing => {
  if (record === undefined) return hasContent ? 'present' : 'absent'
  return record.deletedAt === undefined ? 'present' : 'deleted'
}

/** As it is told. */
export const descriptionOf = (
  record: DocumentRecord,
  present: Pick<DocumentDescription, 'name' | 'epoch' | 'connections' | 'unsaved' | 'isFull'>,
  deletedMs: number,
): DocumentDescription => {
  const { createdAt, createdBy, updatedAt, bytes, offset, deletedAt, deletedBy = '', purgedAt, renamedTo, origin } = record
  const deleted = deletedAt !== undefined && {
    at: deletedAt,
    by: deletedBy,
    ...(purgedAt === undefined && { purgeAt: deletedAt + deletedMs }),
    ...(renamedTo !== undefined && { renamedTo }),
  }
  return {
    ...present,
    createdAt,
    createdBy,
    updatedAt,
    bytes,
    offset,
    ...(deleted && { deleted }),
    ...(origin?.isMove && { renamedFrom: origin.name }),
  }
}

/** Why somebody who asks for it is refused. */
export const absence = ({ renamedTo }: Pick<DocumentRecord, 'renamedTo'>): TroupeError =>
  renamedTo === undefined ? new TroupeError('document.deleted') : new TroupeError('document.renamed', renamedTo)

export const retiredOf = ({ retired }: DocumentRecord): StateVector | undefined => {
  if (retired === undefined) return undefined
  const vector = decodeStateVector(base64.decode(retired))
  return 'ok' in vector ? undefined : vector // it was encoded here
}

export const retire = (vector: StateVector): string | undefined =>
  vector.size === 0 ? undefined : base64.encode(encodeStateVector(vector))

export const recordOf = (id: string): string => `record/${id}`
/** Content that waits for its record to call for it. */
export const incomingOf = (id: string): string => `incoming/${id}`

/** As a change and as a snapshot. */
const noChange = seal(emptyUpdate)

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Errors: `journal.corrupt`. */
export const readRecord = async (journals: Journals, id: string): Promise<{ record?: DocumentRecord; offset: Offset }> => {
  const [newest] = await journals.read(recordOf(id), { reverse: true, limit: 1 })
  if (newest === undefined) return { offset: 0 }
  try {
    return { record: JSON.parse(decoder.decode(newest.data)) as DocumentRecord, offset: newest.offset }
  } catch (cause) {
    throw new TroupeError('journal.corrupt', recordOf(id), { cause })
  }
}

/** Offset of a record that nobody can read. */
const unreadable = -1

/** With nothing under way. */
export const settled = ({ gone: _, incoming: __, history: ___, movingTo: ____, movedBy: _____, ...rest }: DocumentRecord): DocumentRecord =>
  rest

/** The journal of a record: written by the document alone, one change after the other. */
export class RecordJournal {
  readonly #journals: Journals
  readonly #id: string
  #record: DocumentRecord | undefined
  #offset: Offset
  #last: Promise<unknown> = Promise.resolve()
  #damage: TroupeError | undefined

  private constructor(journals: Journals, id: string) {
    this.#journals = journals
    this.#id = id
    this.#offset = unreadable
  }

  /** Finishes what was begun. Errors: those of the store. */
  static async load(journals: Journals, id: string): Promise<RecordJournal> {
    const journal = new RecordJournal(journals, id)
    try {
      const { record, offset } = await readRecord(journals, id)
      journal.#record = record
      journal.#offset = offset
      await journal.finishExchange()
    } catch (error) {
      if (!isDamage(error)) throw error
      journal.#damage = error
    }
    return journal
  }

  /** Why the record cannot be read, or what it has begun cannot be finished. */
  get damage(): TroupeError | undefined {
    return this.#damage
  }

  /** As it is on disk. */
  get record(): DocumentRecord | undefined {
    return this.#record
  }

  /** Resolves when it is on disk. `change` sees what was written before. Errors: those of the store; then nothing has changed. */
  save(change: (record: DocumentRecord | undefined) => DocumentRecord): Promise<DocumentRecord> {
    const saved = this.#last.then(async () => {
      const next = change(this.#record)
      if (this.#offset === unreadable) await this.#journals.remove(recordOf(this.#id))
      const expected = this.#offset > 0 ? this.#offset : 'none'
      const { last } = await this.#journals.append(recordOf(this.#id), [encoder.encode(JSON.stringify(next))], { expected })
      this.#record = next
      this.#offset = last
      // An older one that stays costs nothing but its bytes; the next write takes it along.
      this.#journals.trim(recordOf(this.#id), last).catch(() => {})
      return next
    })
    this.#last = saved.catch(() => {})
    return saved
  }

  /** Puts content where the record can call for it. On disk when resolved. Errors: `journal.too_large`, those of the store. */
  async stage(entries: readonly Uint8Array[]): Promise<void> {
    await this.#journals.remove(incomingOf(this.#id))
    if (entries.length > 0) await this.#journals.append(incomingOf(this.#id), entries, { expected: 'none' })
  }

  /** The old content goes, the new one comes, the record says that it is so. Can be interrupted anywhere and called again. */
  async finishExchange(): Promise<void> {
    const record = this.#record
    if (record?.gone === undefined && record?.incoming === undefined) return
    const document = `document/${this.#id}`
    const journals = this.#journals
    const epoch = await epochOf(journals, document)
    if (epoch !== '' && epoch === record.gone) {
      // The content last: as long as it is there, this is done again.
      for (const journal of [`history/${this.#id}`, `quarantine/${document}`, document]) await journals.remove(journal)
    }
    if (record.incoming === true) {
      const { history } = record
      const skipped = history?.skipped ?? 0
      if ((await journals.head(document)).epoch === '')
        await journals.append(document, [...Array<Uint8Array>(skipped).fill(noChange), ...(await this.#staged())], { expected: 'none' })
      if (skipped > 0) await journals.saveSnapshot(document, skipped, noChange, { trim: true })
      if (history !== undefined) await moveHistory(journals, history, this.#id)
      await journals.remove(incomingOf(this.#id))
    }
    await this.save((present) => {
      const { gone: _, incoming: __, history: ___, ...rest } = present as DocumentRecord // it is the one from above
      return rest
    })
  }

  async #staged(): Promise<Uint8Array[]> {
    const staged: Uint8Array[] = []
    for await (const { data } of entriesAfter(this.#journals, incomingOf(this.#id), 0)) staged.push(data)
    if (staged.length === 0) throw new TroupeError('journal.corrupt', `${incomingOf(this.#id)} is empty`)
    return staged
  }
}
