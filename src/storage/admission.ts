/**
 * What a journal accepts, the same for every backend: names, entries, expected offsets, pages of a read.
 */
import { TroupeError } from '../../actors/errors.ts'
import type { Entry, Offset, ReadOptions } from '../../actors/journal.ts'

export const defaultMaxEntryBytes = 16 * 1024 * 1024

const maxNameBytes = 512
const forbidden = /[\p{Cc}\p{Cs}]/u // control characters, and halves of a surrogate pair that stand alone

/** The UTF-8 bytes of a journal name. Errors: `journal.bad_name`. */
export const nameKey = (name: string): Buffer => {
  if (typeof name !== 'string' || name === '') throw new TroupeError('journal.bad_name', 'the name is empty')
  if (name.length > maxNameBytes) throw new TroupeError('journal.bad_name', `the name has more than ${maxNameBytes} bytes`)
  if (forbidden.test(name)) throw new TroupeError('journal.bad_name', 'control character or lone surrogate')
  const key = Buffer.from(name)
  if (key.length > maxNameBytes) throw new TroupeError('journal.bad_name', `the name has more than ${maxNameBytes} bytes`)
  return key
}

/** Errors: `journal.too_large`. */
export const admitEntries = (entries: readonly Uint8Array[], maxEntryBytes: number): void => {
  for (const { length } of entries) {
    if (length > maxEntryBytes) throw new TroupeError('journal.too_large', `${length} bytes, the limit is ${maxEntryBytes}`)
  }
}

/** Errors: `journal.conflict`. */
export const admitExpected = (expected: Offset | 'none' | undefined, last: Offset): void => {
  if (expected === undefined) return
  if ((expected === 'none' ? 0 : expected) !== last) throw new TroupeError('journal.conflict', `expected ${expected}, it is at ${last}`)
}

/** Errors: `journal.conflict`. A snapshot of the future would hide entries that are still to come. */
export const admitSnapshot = (offset: Offset, last: Offset): void => {
  if (Number.isInteger(offset) && offset >= 0 && offset <= last) return
  throw new TroupeError('journal.conflict', `snapshot at ${offset}, the journal is at ${last}`)
}

/** First offset that is left when everything before `before` goes: never backwards, never past `last + 1`. */
export const trimmedFirst = (before: Offset, first: Offset, last: Offset): Offset =>
  Number.isNaN(before) ? first : Math.min(Math.max(first, Math.ceil(before)), last + 1)

const defaultLimit = 1_000
const defaultMaxBytes = 16 * 1024 * 1024

/** One answer to a read: takes entries until limit or byte count is reached, but at least one. */
export class Page {
  readonly entries: Entry[] = []
  readonly #limit: number
  readonly #maxBytes: number
  #bytes = 0

  constructor({ limit = defaultLimit, maxBytes = defaultMaxBytes }: ReadOptions) {
    this.#limit = limit
    this.#maxBytes = maxBytes
  }

  get isFull(): boolean {
    return this.entries.length >= this.#limit
  }

  /** False when this entry no longer fits: the page is complete. */
  take(entry: Entry): boolean {
    this.#bytes += entry.data.length
    if (this.isFull || (this.#bytes > this.#maxBytes && this.entries.length > 0)) return false
    this.entries.push(entry)
    return true
  }
}

/** The offsets that a read asks for, both ends included; empty when `low` > `high`. */
export const readRange = ({ after, reverse }: ReadOptions, first: Offset, last: Offset): { low: Offset; high: Offset } =>
  reverse === true
    ? { low: first, high: after === undefined ? last : Math.min(last, Math.ceil(after) - 1) }
    : { low: after === undefined ? first : Math.max(first, Math.floor(after) + 1), high: last }

export const defaultListLimit = 1_000
