/**
 * What the store knows of one journal, and its record in the table of names.
 *
 *   envelope | id u32 | first u48 | last u48 | lastTime u48 | generation u32 | offset u48 | time u48 | length u48 | epoch
 *
 * An append rarely writes it: `last` is the key of the last block, and a head in each commit would cost up to 60 % more of it.
 * Creating, trimming and saving a snapshot do, so that a journal without entries goes on counting; so do every so many entries,
 * and closing in good order, so that a last block that is missing is noticed.
 */
import type { Offset } from '../../actors/journal.ts'
import type { EpochMs } from '../../actors/world.ts'
import { envelopeBytes, seal } from './record.ts'

export interface StoredSnapshot {
  readonly offset: Offset
  readonly time: EpochMs
  readonly length: number
  /** Under which its chunks lie; every snapshot of a journal has another one. Starts at 1. */
  readonly generation: number
}

/** Immutable: a change is another object, so "is all of it on disk?" is one comparison. */
export interface JournalState {
  /** Short key of the journal; 0 when it does not exist. Never given twice. */
  readonly id: number
  readonly epoch: string
  readonly first: Offset
  readonly last: Offset
  readonly lastTime: EpochMs
  readonly snapshot: StoredSnapshot | undefined
  /** The head on disk says at least this `last`. */
  readonly noted: Offset
  /** What of it cannot be read, so that it can only be removed. */
  readonly defect?: string
}

export const absent: JournalState = { id: 0, epoch: '', first: 1, last: 0, lastTime: 0, snapshot: undefined, noted: 0 }

/** Its id is in the head: only that can be removed. The entries stay behind, and nobody finds them. */
export const headless: JournalState = { ...absent, id: 2 ** 32 - 1, defect: 'the head' }

/** A put of a head costs 2 µs; in so many entries that is nothing. */
const mostUnnoted = 64

/** What the head says after an append. */
export const notedAt = (last: Offset, noted: Offset): Offset => (noted === 0 || last - noted > mostUnnoted ? last : noted)

const epochAt = envelopeBytes + 44

export const encodeState = (key: Buffer, state: JournalState): Buffer => {
  const epoch = Buffer.from(state.epoch)
  const record = Buffer.alloc(epochAt + epoch.length)
  let at = record.writeUInt32LE(state.id, envelopeBytes)
  for (const value of [state.first, state.last, state.lastTime]) at = record.writeUIntLE(value, at, 6)
  at = record.writeUInt32LE(state.snapshot?.generation ?? 0, at)
  for (const value of [state.snapshot?.offset, state.snapshot?.time, state.snapshot?.length]) at = record.writeUIntLE(value ?? 0, at, 6)
  epoch.copy(record, at)
  return seal(key, record)
}

/** Of a record that is intact. */
export const decodeState = (record: Buffer): JournalState => {
  const u48 = (index: number): number => record.readUIntLE(envelopeBytes + 4 + index * 6, 6)
  const generation = record.readUInt32LE(envelopeBytes + 22)
  const at = envelopeBytes + 26
  return {
    id: record.readUInt32LE(envelopeBytes),
    epoch: record.toString('utf8', epochAt),
    first: u48(0),
    last: u48(1),
    lastTime: u48(2),
    noted: u48(1),
    snapshot:
      generation === 0
        ? undefined
        : { generation, offset: record.readUIntLE(at, 6), time: record.readUIntLE(at + 6, 6), length: record.readUIntLE(at + 12, 6) },
  }
}
