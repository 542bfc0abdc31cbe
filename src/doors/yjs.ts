/**
 * The wire of y-websocket: one document for each socket, binary messages, one message for each WebSocket frame.
 *
 *   client                          server
 *   ── 0 0 vector ───────────────→           what I have
 *   ── 1 awareness ──────────────→           who I am
 *          ←── 0 2 update ... ────           what you lack (none or several), then
 *          ←── 0 1 update ────────           the last of it: now you are synchronised
 *          ←── 0 0 vector ────────           what I have
 *   ── 0 1 update ───────────────→           what the server lacks
 *   ── 0 2 update ───────────────→           a change
 *          ←── 0 2 update ────────           changes, those of the client too, when they are on disk
 *   ── 3 ────────────────────────→           who is here?
 *          ←── 1 awareness ───────
 *   ── 102 payload ──────────────→           have you saved all that?
 *          ←── 102 payload ───────           yes
 *   ── 103 (empty) ──────────────→           which history is this?
 *          ←── 103 epoch ─────────           empty before the first change
 *   ── 104 (empty) ──────────────→           tell me when the disk refuses what we write
 *          ←── 104 code ──────────           at once, and whenever it changes; empty: all is well
 *
 * Numbers are varUints, the rest are length and bytes (see crdt/sync.ts). Source: y-protocols PROTOCOL.md, y-websocket 3.1, y-sweet's `sync-status`.
 */
import type { Part } from '../../actors/publication.ts'
import { decodeMessage } from '../../crdt/sync.ts'
import type { Decoded, Door } from './door.ts'

/** y-sweet's clients count their changes and send the number; it comes back when all of them are on disk. */
const syncStatus = 102
const epoch = 103
const storage = 104

const decode = (frame: Uint8Array): Decoded => {
  const message = decodeMessage(frame)
  if ('ok' in message) return { ok: false, detail: `${message.code}: ${message.detail}` }
  switch (message.type) {
    case 'sync.step1':
      return { ok: true, message: { type: 'document.sync', stateVector: message.stateVector } }
    case 'sync.step2':
      return { ok: true, message: { type: 'document.update', update: message.update, isAnswer: true } }
    case 'sync.update':
      return { ok: true, message: { type: 'document.update', update: message.update, isAnswer: false } }
    case 'awareness':
      return { ok: true, message: { type: 'document.awareness', update: message.update } }
    case 'awareness.query':
      return { ok: true, message: { type: 'document.presence' } }
    case 'sync.status':
      return { ok: true, message: { type: 'document.barrier', payload: message.payload } }
    case 'epoch.query':
      return { ok: true, message: { type: 'document.epoch' } }
    case 'storage.query':
      return { ok: true, message: { type: 'document.storage' } }
    case 'auth.denied':
      return { ok: false, detail: 'kind: a message that only servers send' }
  }
}

const numbers: Readonly<Partial<Record<Part['kind'], readonly number[]>>> = {
  vector: [0, 0],
  state: [0, 1],
  update: [0, 2],
  awareness: [1],
  barrier: [syncStatus],
  epoch: [epoch],
  storage: [storage],
}

const head = ({ kind, bytes }: Part): Uint8Array | undefined => {
  const number = numbers[kind]
  if (number === undefined) return undefined
  const head = [...number]
  let rest = bytes.length
  for (; rest >= 128; rest = Math.floor(rest / 128)) head.push((rest % 128) | 128)
  head.push(rest)
  return Uint8Array.from(head)
}

export const yjsDoor: Door = { name: 'yjs', decode, head }
