/**
 * How a document gets from disk into memory: its snapshot, and all changes since.
 *
 * Promises:
 * - No change is missing, neither in between nor, as far as the record knows, at the end; else the document is damaged.
 * - Of what is damaged nothing is in memory, so that nothing can take what is left of it for all of it: the document is empty, and
 *   refuses everybody (documentExistence.ts).
 */
import { decodeChange, unsealAll } from '../crdt/change.ts'
import { DocumentState } from '../crdt/document.ts'
import { isLongToInspect, unpacked } from '../crdt/packedInspection.ts'
import type { Rejection } from '../crdt/rejection.ts'
import { storedLimits, type UpdateInspection } from '../crdt/update.ts'
import type { DocumentWork } from '../crdt/work.ts'
import { isDamage } from './documentDamage.ts'
import type { RecordJournal } from './documentRecord.ts'
import { DocumentRequests, type RequestLimits } from './documentRequests.ts'
import { isTroupeError, TroupeError } from './errors.ts'
import type { Journals, Offset } from './journal.ts'
import type { Scope } from './system/scope.ts'

export interface LoadOptions extends RequestLimits {
  readonly journals: Journals
  readonly work: DocumentWork
  /** A change that is larger is inspected in the worker: a MiB takes 5 to 40 ms. What is loaded may be four times as large. Default 256 KiB. */
  readonly inlineBytes?: number
  readonly observe?: LoadObserver
}

export interface LoadObserver {
  /** A document could not be loaded, with this code. */
  loadFailed(code: string): void
}

export interface Loaded {
  readonly document: DocumentState
  /** Done ones that may come again. */
  readonly requests: DocumentRequests
  /** Offset of the entry just before the tail. */
  readonly tailAfter: Offset
  /** Offset of the last entry on disk. */
  readonly saved: Offset
  /** Why nobody can work with the document. */
  readonly damage: TroupeError | undefined
}

export const defaultInlineBytes = 256 * 1024
/**
 * What is loaded comes once, not with each key, and was inspected before it was stored: it may be so much larger than a change before
 * a thread pays. The first of them takes 50 ms and 20 MiB to start, which is more than a document of a MiB costs here.
 */
const loadedOnce = 4
const pageEntries = 5_000

/** Errors: those of the store, but what is damaged. */
export const loadDocument = async (
  scope: Scope,
  options: LoadOptions,
  records: Pick<RecordJournal, 'record' | 'damage'>,
): Promise<Loaded> => {
  try {
    if (records.damage !== undefined) throw records.damage
    return await read(scope, options, records.record?.offset ?? 0)
  } catch (error) {
    options.observe?.loadFailed(isTroupeError(error) ? error.code : 'actor.failed')
    if (!isDamage(error)) throw error
    scope.log.error({ document: scope.address, error: String(error) }, 'a document is damaged; it refuses everybody')
    return { document: DocumentState.empty(), requests: new DocumentRequests(options), tailAfter: 0, saved: 0, damage: error }
  }
}

/** `known`: an offset that was on disk. */
const read = async (scope: Scope, options: LoadOptions, known: Offset): Promise<Loaded> => {
  const { journals } = options
  const { address } = scope
  const snapshot = await journals.snapshot(address)
  const tailAfter = snapshot?.offset ?? 0
  const updates: Uint8Array[] = []
  const requests = new DocumentRequests(options)
  const sealed = snapshot && readable(unsealAll(snapshot.data), snapshot.data, address)
  for (const request of sealed?.requests ?? []) requests.add(request, request.offset, request.time)
  let saved = tailAfter
  for (;;) {
    const entries = await journals.read(address, { after: saved, limit: pageEntries })
    for (const { offset, time, data } of entries) {
      if (offset !== ++saved) throw missing(saved, offset - 1)
      const { update, request } = readable(decodeChange(data), data, `${address}#${offset}`)
      updates.push(update)
      if (request !== undefined) requests.add(request, offset, time)
    }
    if (entries.length === 0) break
  }
  if (saved < known) throw missing(saved + 1, known)
  const merged = sealed?.update ?? new Uint8Array(0)
  const inlineBytes = (options.inlineBytes ?? defaultInlineBytes) * loadedOnce
  const inspections = new Map<Uint8Array, UpdateInspection | Rejection>()
  for (const bytes of [merged, ...updates]) {
    if (isLongToInspect(bytes, inlineBytes)) inspections.set(bytes, unpacked(await options.work.run('inspect', bytes, storedLimits)))
  }
  const document = DocumentState.load(merged, updates, undefined, inspections)
  if (!(document instanceof DocumentState)) throw new TroupeError('journal.corrupt', `${address}: ${document.code}: ${document.detail}`)
  if (document.setAside.length > 0) scope.log.error({ document: address, setAside: document.setAside }, 'stored updates could not be used')
  return { document, requests, tailAfter, saved, damage: undefined }
}

const missing = (first: Offset, last: Offset): TroupeError =>
  new TroupeError('journal.corrupt', `changes ${first} to ${last} of the document are missing`)

const readable = <Value>(value: Value | undefined, stored: Uint8Array, where: string): Value => {
  if (value === undefined) throw new TroupeError('storage.newer_format', `${where} has format ${stored[0]}`)
  return value
}
