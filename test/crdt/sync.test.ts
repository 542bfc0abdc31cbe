import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import { describe, expect, it } from 'vitest'
import * as sync from 'y-protocols/sync'
import * as Y from 'yjs'
import {
  decodeMessage,
  encodeAuthDenied,
  encodeAwarenessMessage,
  encodeAwarenessQuery,
  encodeSyncStep1,
  encodeSyncStep2,
  encodeUpdate,
} from '../../crdt/sync.ts'

/** Its arguments are evaluated one after the other; that is all. */
const inOrder = (..._steps: unknown[]): void => {}

const block = Uint8Array.from({ length: 300 }, (_, i) => i & 255)
const code = (...frame: number[]) => {
  const message = decodeMessage(new Uint8Array(frame))
  return 'ok' in message ? message.code : message.type
}

describe('y-protocols messages', () => {
  it('come back from the frames they were put into', () => {
    expect(decodeMessage(encodeSyncStep1(block))).toEqual({ type: 'sync.step1', stateVector: block })
    expect(decodeMessage(encodeSyncStep2(block))).toEqual({ type: 'sync.step2', update: block })
    expect(decodeMessage(encodeUpdate(block))).toEqual({ type: 'sync.update', update: block })
    expect(decodeMessage(encodeAwarenessMessage(block))).toEqual({ type: 'awareness', update: block })
    expect(decodeMessage(encodeAwarenessQuery())).toEqual({ type: 'awareness.query' })
    expect(decodeMessage(encodeAuthDenied('không'))).toEqual({ type: 'auth.denied', reason: 'không' })
  })

  it('are what y-protocols writes and reads', () => {
    const doc = new Y.Doc()
    doc.getText('t').insert(0, 'hello')
    const step1 = encoding.encode((e) => inOrder(encoding.writeVarUint(e, 0), sync.writeSyncStep1(e, doc)))
    expect(step1).toEqual(encodeSyncStep1(Y.encodeStateVector(doc)))
    const other = new Y.Doc()
    const decoder = decoding.createDecoder(encodeSyncStep2(Y.encodeStateAsUpdate(doc)))
    expect(decoding.readVarUint(decoder)).toBe(0)
    sync.readSyncMessage(decoder, encoding.createEncoder(), other, 'test')
    expect(other.getText('t').toString()).toBe('hello')
  })

  it('are refused when unknown, cut or followed by anything', () => {
    expect(code()).toBe('truncated')
    expect(code(0xff)).toBe('truncated')
    expect(code(7)).toBe('kind')
    expect(code(0, 3, 0)).toBe('kind')
    expect(code(2, 1, 0)).toBe('kind')
    expect(code(0, 0)).toBe('truncated')
    expect(code(0, 2, 5, 1, 2)).toBe('truncated')
    expect(code(0, 0, 1, 0, 0)).toBe('trailing_bytes')
    expect(code(2, 0, 2, 0xff, 0xfe)).toBe('text')
  })

  it('may carry a payload with a query for awareness, as y-sweet does', () => {
    expect(code(3, 0, 1, 2)).toBe('awareness.query')
  })
})
