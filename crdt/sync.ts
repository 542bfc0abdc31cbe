/**
 * The messages of y-protocols, on bytes. One WebSocket frame is one message: y-websocket up to 3.1 reads the first and drops
 * the rest. From y-protocols `PROTOCOL.md` and y-websocket 3.1:
 *
 *   frame      = 0 sync | 1 awareness | 2 auth | 3 | 102 status | 103 epoch | 104 storage    numbers are varUints, `block` is a length and bytes
 *   sync       = 0 block       step 1: my state vector; answer with step 2, then with your own step 1
 *              | 1 block       step 2: what you lack; makes the client "synced"
 *              | 2 block       an update
 *   awareness  = block         see awareness.ts
 *   auth       = 0 text        refused, with the reason; the client only logs it
 *   3                          send me all awareness; y-sweet's client adds a payload, which is ignored
 *   102 block                  how much of mine have you saved; y-sweet
 *   103 block                  which epoch does the document have; the answer is a text. Troupe's own client
 *   104 block                  tell me whether the disk takes the document's changes; the answer is a text, empty while it does. Troupe's own client
 *
 * Blocks are views into the frame, not copies. What they contain is not looked at here.
 */
import * as encoding from 'lib0/encoding'
import { decodeUtf8 } from 'lib0/string'
import { Cursor, noBytes } from './cursor.ts'
import { Refusal, type Rejection } from './rejection.ts'

export type Message =
  | { readonly type: 'sync.step1'; readonly stateVector: Uint8Array }
  | { readonly type: 'sync.step2'; readonly update: Uint8Array }
  | { readonly type: 'sync.update'; readonly update: Uint8Array }
  | { readonly type: 'awareness'; readonly update: Uint8Array }
  | { readonly type: 'awareness.query' }
  | { readonly type: 'auth.denied'; readonly reason: string }
  | { readonly type: 'sync.status'; readonly payload: Uint8Array }
  | { readonly type: 'epoch.query' }
  | { readonly type: 'storage.query' }

/** It is kept until all is on disk; y-sweet's clients send a number. */
const maxStatusBytes = 1024

const longStatus = new Refusal('too_large', `a status of more than ${maxStatusBytes} bytes`)
const trailing = new Refusal('trailing_bytes', 'bytes follow the message')
const unknownMessage = new Refusal('kind', 'an unknown message')
const unknownSync = new Refusal('kind', 'an unknown sync message')
const unknownAuth = new Refusal('kind', 'an unknown auth message')
const noText = new Refusal('text', 'a string is not UTF-8')

const cursor = new Cursor()

/** Exactly one message. All stock clients send one a frame, so more is refused instead of half read. */
export const decodeMessage = (frame: Uint8Array): Message | Rejection => {
  cursor.open(frame)
  try {
    const message = read()
    if (cursor.left > 0 && message.type !== 'awareness.query') throw trailing
    return message
  } catch (reason) {
    if (reason instanceof Refusal) return reason
    throw reason
  } finally {
    cursor.open(noBytes)
  }
}

const read = (): Message => {
  switch (cursor.varUint()) {
    case 0:
      return readSync()
    case 1:
      return { type: 'awareness', update: cursor.block() }
    case 2: {
      if (cursor.varUint() !== 0) throw unknownAuth
      return { type: 'auth.denied', reason: readText(cursor.block()) }
    }
    case 3:
      return { type: 'awareness.query' }
    case 102:
      return { type: 'sync.status', payload: readStatus(cursor.block()) }
    case 103:
      cursor.block()
      return { type: 'epoch.query' }
    case 104:
      cursor.block()
      return { type: 'storage.query' }
    default:
      throw unknownMessage
  }
}

const readSync = (): Message => {
  switch (cursor.varUint()) {
    case 0:
      return { type: 'sync.step1', stateVector: cursor.block() }
    case 1:
      return { type: 'sync.step2', update: cursor.block() }
    case 2:
      return { type: 'sync.update', update: cursor.block() }
    default:
      throw unknownSync
  }
}

const readStatus = (bytes: Uint8Array): Uint8Array => {
  if (bytes.length > maxStatusBytes) throw longStatus
  return bytes
}

const readText = (bytes: Uint8Array): string => {
  try {
    return decodeUtf8(bytes)
  } catch {
    throw noText
  }
}

/** The numbers in front, the length, the bytes; one allocation. */
const frame = (head: readonly number[], block: Uint8Array): Uint8Array => {
  let size = 1
  for (let rest = block.length; rest >= 128; rest = Math.floor(rest / 128)) size++
  const bytes = new Uint8Array(head.length + size + block.length)
  bytes.set(head)
  let at = head.length
  let rest = block.length
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes[at++] = (rest % 128) | 128
  bytes[at++] = rest
  bytes.set(block, at)
  return bytes
}

export const encodeSyncStep1 = (stateVector: Uint8Array): Uint8Array => frame([0, 0], stateVector)
export const encodeSyncStep2 = (update: Uint8Array): Uint8Array => frame([0, 1], update)
export const encodeUpdate = (update: Uint8Array): Uint8Array => frame([0, 2], update)
export const encodeAwarenessMessage = (update: Uint8Array): Uint8Array => frame([1], update)
export const encodeAwarenessQuery = (): Uint8Array => new Uint8Array([3])
export const encodeAuthDenied = (reason: string): Uint8Array =>
  encoding.encode((encoder) => {
    encoding.writeVarUint(encoder, 2)
    encoding.writeVarUint(encoder, 0)
    encoding.writeVarString(encoder, reason)
  })
