/**
 * What somebody has of a document: for each client the clock that comes next. Promises: a hostile vector costs no more
 * than its bytes; `integrable` says before anything is applied whether Yjs could integrate an update at once.
 */
import * as encoding from 'lib0/encoding'
import { Cursor } from './cursor.ts'
import { rangesOf } from './ranges.ts'
import { Refusal, type Rejection, rejecting } from './rejection.ts'
import type { Reach, UpdateInspection } from './update.ts'

export type StateVector = Map<number, number>

const trailing = new Refusal('trailing_bytes', 'bytes follow the state vector')
const clockTooHigh = new Refusal('clock', 'a clock in the state vector is above 2^50')
const tooMany = new Refusal('too_many_clients', 'the state vector has more clients than the limit')

/** `maxClients`: each browser tab that ever wrote is one. 100 000 take ~700 KB on the wire. */
export const decodeStateVector = (bytes: Uint8Array, maxClients = Number.POSITIVE_INFINITY): StateVector | Rejection =>
  rejecting(() => {
    const cursor = new Cursor().open(bytes)
    const count = cursor.count(2)
    if (count > maxClients) throw tooMany
    const vector: StateVector = new Map()
    for (let i = 0; i < count; i++) {
      const client = cursor.varUint()
      const clock = cursor.varUint()
      if (clock > 2 ** 50) throw clockTooHigh
      vector.set(client, clock)
    }
    if (cursor.left > 0) throw trailing
    return vector
  })

/** As Yjs writes it: higher clients first. */
export const encodeStateVector = (vector: ReadonlyMap<number, number>): Uint8Array => {
  const encoder = encoding.createEncoder()
  encoding.writeVarUint(encoder, vector.size)
  // Sorted as numbers: 60 000 clients take 10 ms, and as many pairs twice that.
  const clients = Float64Array.from(vector.keys()).sort()
  for (const client of clients.reverse()) {
    encoding.writeVarUint(encoder, client)
    encoding.writeVarUint(encoder, vector.get(client) ?? 0)
  }
  return encoding.toUint8Array(encoder)
}

/**
 * - `known`: brings nothing; all its clocks are there and it deletes nothing.
 * - `missing`: some part hangs in the air (an earlier clock of a client, a neighbour, a parent or something to delete is
 *   unknown). Yjs would keep it as pending, again and again, and hand it to every joiner.
 * - `new`: integrates at once. A deletion always counts as new: a vector does not tell what is deleted.
 *
 * Known limit: two clients whose structs need each other in a circle count as `new`. No Yjs client writes that; Yjs keeps
 * it pending and `compact` quarantines it.
 */
export type Verdict = 'new' | 'known' | 'missing'

export const integrable = (update: UpdateInspection, vector: ReadonlyMap<number, number>): Verdict => {
  let brings = update.deleteRanges > 0
  let isWhole = true
  let client = -1
  let have = 0
  for (const range of rangesOf(update)) {
    if (range.client !== client) {
      client = range.client
      have = vector.get(client) ?? 0
    }
    if (range.to <= have) continue
    brings = true
    if (range.from > have) isWhole = false
    have = range.to
  }
  if (!brings) return 'known'
  if (!isWhole) return 'missing'
  return isWithin(update.needs, update, vector) && isWithin(update.deletes, update, vector) ? 'new' : 'missing'
}

/** Whether it is not `known`, which takes less to find out than the verdict. */
export const brings = (update: UpdateInspection, vector: ReadonlyMap<number, number>): boolean =>
  update.deleteRanges > 0 || hasNewStructs(update, vector)

/** Leaving deletions aside. */
export const hasNewStructs = (update: UpdateInspection, vector: ReadonlyMap<number, number>): boolean => {
  for (const { client, to } of rangesOf(update)) if (to > (vector.get(client) ?? 0)) return true
  return false
}

/** Is all that is reached for either known already or part of the update itself? */
const isWithin = (reaches: readonly Reach[], update: UpdateInspection, vector: ReadonlyMap<number, number>): boolean => {
  let own: Map<number, number> | undefined
  for (const { client, to } of reaches) {
    if (to <= (vector.get(client) ?? 0)) continue
    own ??= new Map(update.ranges.map((range) => [range.client, range.to])) // ascending: the last range of a client stays
    if (to > (own.get(client) ?? 0)) return false
  }
  return true
}

/** Notes the clocks of an update that is `new`. */
export const advance = (vector: StateVector, update: UpdateInspection): void => {
  for (const { client, to } of rangesOf(update)) if (to > (vector.get(client) ?? 0)) vector.set(client, to)
}
