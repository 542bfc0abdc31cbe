/**
 * The envelope of every stored record: `version u8 | crc32 u32 | payload`.
 *
 * LMDB has no checksums: 42 flipped bytes in values were returned as if nothing had happened. The sum covers key and
 * payload, so a record that was moved to another key is found too. A mismatch refuses one journal, never the store.
 */
import { crc32 } from 'node:zlib'
import { TroupeError } from '../../actors/errors.ts'

const recordVersion = 1

/** The payload starts here. */
export const envelopeBytes = 5

/** Fills the envelope of `record`, whose payload is already in place. */
export const seal = (key: Uint8Array, record: Buffer): Buffer => {
  record[0] = recordVersion
  record.writeUInt32LE(crc32(record.subarray(envelopeBytes), crc32(key)), 1)
  return record
}

/** True when version and checksum are right. */
export const isIntact = (key: Uint8Array, record: Buffer): boolean =>
  record.length >= envelopeBytes &&
  record[0] === recordVersion &&
  record.readUInt32LE(1) === crc32(record.subarray(envelopeBytes), crc32(key))

/** Errors: `journal.corrupt`, with `what` it is. */
export const verify = (key: Uint8Array, record: Buffer, what: string): Buffer => {
  if (!isIntact(key, record)) throw new TroupeError('journal.corrupt', what)
  return record
}
