/**
 * Awareness (cursors, names, who is here) on bytes. y-protocols' own `Awareness` is not used: it starts a timer when made,
 * keeps an entry for each id that ever appeared, and half of a bad message is applied before it throws.
 *
 *   update = count × (client clock text)      varUints; the text is JSON, `null` removes
 *
 * This file holds the codec; who may say what is `AwarenessState` (awarenessState.ts).
 * States are kept as the JSON text that came and sent on as it is: nothing is parsed and written again, so no
 * `JSON.stringify` can overflow on what `JSON.parse` took. A stock client, though, writes foreign states anew when it echoes
 * them, and `1e20` becomes 21 digits: a message that is too large is dropped, its sender is not to be blamed.
 */
import * as encoding from 'lib0/encoding'
import { Cursor } from './cursor.ts'
import { checkJson } from './json.ts'
import { Refusal, type Rejection, rejecting } from './rejection.ts'

export interface AwarenessEntry {
  readonly client: number
  readonly clock: number
  /** The JSON text of the state; null removes the client. */
  readonly state: string | null
}

export interface AwarenessLimits {
  /** UTF-8 bytes of one state: 16 KiB. A cursor with name and colour has ~200. */
  readonly stateBytes: number
  /** Bytes of one message: 64 KiB. */
  readonly messageBytes: number
  /** Entries in one message. A stock client forwards all that it learns, so this is the clients of a document: 500. */
  readonly entries: number
  /** Nesting of a state: 32. */
  readonly depth: number
}

export const awarenessLimits: AwarenessLimits = { stateBytes: 16 * 1024, messageBytes: 64 * 1024, entries: 500, depth: 32 }

/** Far above what `AwarenessState` lets in, so that no echo of it is ever refused. */
const maxClock = 2 ** 50

const tooLarge = new Refusal('too_large', 'an awareness message is larger than the limit')
const stateTooLarge = new Refusal('too_large', 'an awareness state is larger than the limit')
const tooMany = new Refusal('too_many_clients', 'an awareness message has more entries than the limit')
const clockTooHigh = new Refusal('clock', 'an awareness clock is above 2^50')
const trailing = new Refusal('trailing_bytes', 'bytes follow the awareness entries')
const noState = new Refusal('json', 'an awareness state is empty')

const nothingIsKnown = (): boolean => false

/**
 * All entries, or a rejection: nothing of a half-bad message is ever applied. What `isKnown` names is left out, and its state is not
 * looked at: with 500 viewers, stock clients send back 500 states for each that is new, and reading JSON would cost a core.
 */
export const decodeAwareness = (
  update: Uint8Array,
  limits: AwarenessLimits = awarenessLimits,
  isKnown: (client: number, clock: number) => boolean = nothingIsKnown,
): readonly AwarenessEntry[] | Rejection =>
  rejecting(() => {
    if (update.length > limits.messageBytes) throw tooLarge
    const cursor = new Cursor().open(update)
    const count = cursor.count(3)
    if (count > limits.entries) throw tooMany
    const entries: AwarenessEntry[] = []
    for (let i = 0; i < count; i++) {
      const client = cursor.varUint()
      const clock = cursor.varUint()
      if (clock > maxClock) throw clockTooHigh
      if (isKnown(client, clock)) {
        cursor.skip(cursor.varUint())
        continue
      }
      const state = readState(cursor, limits)
      entries.push({ client, clock, state: state === 'null' ? null : state })
    }
    if (cursor.left > 0) throw trailing
    return entries
  })

const readState = (cursor: Cursor, limits: AwarenessLimits): string => {
  const size = cursor.varUint()
  if (size > limits.stateBytes) throw stateTooLarge
  const start = cursor.at
  cursor.skip(size)
  cursor.at = start
  cursor.skipText(size) // UTF-8, before anything decodes it
  if (size === 0) throw noState
  const json = checkJson(cursor.bytes, start, cursor.at, limits.depth)
  return json.trim() === 'null' ? 'null' : json
}

export const encodeAwareness = (entries: readonly AwarenessEntry[]): Uint8Array =>
  encoding.encode((encoder) => {
    encoding.writeVarUint(encoder, entries.length)
    for (const { client, clock, state } of entries) {
      encoding.writeVarUint(encoder, client)
      encoding.writeVarUint(encoder, clock)
      encoding.writeVarString(encoder, state ?? 'null')
    }
  })

/** The client id of the first entry; undefined when there is none, or none can be read. */
export const firstClient = (update: Uint8Array): number | undefined => {
  const client = rejecting(() => {
    const cursor = new Cursor().open(update)
    return cursor.varUint() === 0 ? undefined : cursor.varUint()
  })
  return typeof client === 'number' ? client : undefined
}
