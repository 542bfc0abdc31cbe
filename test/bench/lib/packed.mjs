/** Many updates in one file: for each, its length (four bytes, little endian) and its bytes. Made once, replayed against every server. */
import { readFileSync, writeFileSync } from 'node:fs'
import { clientFrame, cursor, syncMessage, walkUpdate } from './wire.mjs'

export const writePacked = (path, updates) => {
  const parts = []
  for (const update of updates) {
    const length = Buffer.alloc(4)
    length.writeUInt32LE(update.length)
    parts.push(length, update)
  }
  writeFileSync(path, Buffer.concat(parts))
}

export const readPacked = (path) => {
  const bytes = readFileSync(path)
  const updates = []
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at)
    updates.push(bytes.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  return updates
}

/**
 * All updates of one writer as frames in one buffer, with where each ends, and how many characters were inserted and deleted up to
 * each: an echo that has so many of both has acknowledged it, whatever was merged on the way.
 */
export const asFrames = (updates, head) => {
  const frames = updates.map((update) => clientFrame(syncMessage(head, 2, update)))
  const ends = new Float64Array(updates.length)
  const inserted = new Float64Array(updates.length)
  const deleted = new Float64Array(updates.length)
  const total = { inserted: 0, deleted: 0 }
  let end = 0
  for (let index = 0; index < updates.length; index++) {
    cursor.open(updates[index], 0)
    walkUpdate(
      (_client, _clock, length) => {
        total.inserted += length
      },
      (_client, _clock, length) => {
        total.deleted += length
      },
    )
    ends[index] = end += frames[index].length
    inserted[index] = total.inserted
    deleted[index] = total.deleted
  }
  return { bytes: Buffer.concat(frames), ends, inserted, deleted, total }
}
