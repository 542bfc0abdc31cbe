import * as encoding from 'lib0/encoding'
import { describe, expect, it } from 'vitest'
import type { LaneOutput } from '../../actors/laneMessages.ts'
import { type Part, publication } from '../../actors/publication.ts'
import { decodeFrame, HocuspocusFramer } from '../../src/doors/hocuspocus.ts'

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
const text = (value: string): Uint8Array => encoding.encode((encoder) => encoding.writeVarString(encoder, value))
const frame = (...parts: readonly (Uint8Array | string | number)[]): Uint8Array =>
  new Uint8Array(
    Buffer.concat(parts.map((part) => (typeof part === 'number' ? bytes(part) : typeof part === 'string' ? text(part) : part))),
  )
const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex')

describe('what a client says', () => {
  it.each<[string, Uint8Array, object]>([
    [
      'a token with the version of its provider',
      frame('a', 2, 0, 'secret', '4.8.0'),
      { type: 'lane.token', token: 'secret', knowsPing: true },
    ],
    ['a token of an older provider', frame('a', 2, 0, 'secret'), { type: 'lane.token', token: 'secret', knowsPing: false }],
    ['an empty token', frame('a', 2, 0, ''), { type: 'lane.token', token: '', knowsPing: false }],
    ['what it has', frame('a', 0, 0, 2, bytes(1, 2)), { request: { type: 'document.sync', stateVector: bytes(1, 2) } }],
    ['what the server lacks', frame('a', 0, 1, 1, 9), { request: { type: 'document.update', update: bytes(9), isAnswer: true } }],
    ['a change', frame('a', 0, 2, 1, 9), { request: { type: 'document.update', update: bytes(9), isAnswer: false } }],
    [
      'a question that is not to be asked back',
      frame('a', 4, 0, 1, 0),
      { request: { type: 'document.sync', stateVector: bytes(0), isReply: true } },
    ],
    ['who it is', frame('a', 1, 1, 0), { request: { type: 'document.awareness', update: bytes(0) } }],
    ['who is here?', frame('a', 3), { request: { type: 'document.presence' } }],
    ['a message of the application', frame('a', 5, 'wörld'), { request: { type: 'document.stateless', payload: 'wörld' } }],
    ['that it leaves', frame('a', 7), { type: 'lane.leave' }],
  ])('understands %s', (_, given, expected) => {
    expect(decodeFrame(given)).toMatchObject({ name: 'a', ...expected })
  })

  it('knows the document by the name in front of the session, normalised', () => {
    expect(decodeFrame(frame('cafe\u0301\0x1', 3))).toMatchObject({ name: 'cafe\u0301\0x1', document: 'caf\u00e9' })
  })

  it('takes a single 10 for an answer to a ping, and a single 9 for nothing', () => {
    expect(decodeFrame(bytes(10))).toEqual({ type: 'lane.pong' })
    expect(decodeFrame(bytes(9))).toMatchObject({ type: 'lane.unreadable' })
  })

  it('knows y-websocket by its first byte', () => {
    expect(decodeFrame(frame('', 0, 0, 1, 0))).toEqual({ type: 'lane.foreign', detail: expect.stringContaining('/docs/NAME') })
  })

  it.each<[string, Uint8Array, string]>([
    ['nothing', bytes(), 'truncated'],
    ['an address that ends early', bytes(5, 97), 'truncated'],
    ['an address of 513 bytes', frame('x'.repeat(513), 3), 'too_large'],
    ['an address that is no text', bytes(2, 0xc3, 0x28, 3), 'text'],
  ])('finds no lane in %s', (_, given, code) => {
    expect(decodeFrame(given)).toMatchObject({ type: 'lane.unreadable', detail: expect.stringMatching(`^${code}: `) })
  })

  it.each<[string, Uint8Array, string]>([
    ['nothing behind the address', frame('a'), 'truncated'],
    ['a broadcast between servers', frame('a', 6, 'x'), 'kind'],
    ['a receipt', frame('a', 8, 1), 'kind'],
    ['an unknown number', frame('a', 99), 'kind'],
    ['a permission that only servers give', frame('a', 2, 2, 'read-write'), 'kind'],
    ['an unknown kind of sync', frame('a', 0, 3, 0), 'kind'],
    ['an update that ends early', frame('a', 0, 2, 5, 1), 'truncated'],
    ['two messages in one', frame('a', 0, 2, 1, 9, 0), 'trailing_bytes'],
    ['a token that is no text', frame('a', 2, 0, bytes(2, 0xc3, 0x28)), 'text'],
  ])('refuses %s', (_, given, code) => {
    expect(decodeFrame(given)).toMatchObject({ type: 'lane.garbage', name: 'a', detail: expect.stringMatching(`^${code}: `) })
  })

  it.each(['~acme/x', 'x'.repeat(256), 'a\u0001b', 'a\u200bb', '\0session'])('says that no document can be called %j', (name) => {
    expect(decodeFrame(frame(name, 2, 0, 't'))).toMatchObject({ type: 'lane.misnamed', name, isToken: true })
    expect(decodeFrame(frame(name, 3))).toMatchObject({ type: 'lane.misnamed', isToken: false })
  })
})

describe('what the server says', () => {
  const part = (kind: Part['kind'], value: Uint8Array | string = bytes()): Part =>
    ({ kind, bytes: typeof value === 'string' ? Buffer.from(value) : value }) as Part
  const written = (output: LaneOutput): string => new HocuspocusFramer().whole(output).map(hex).join('')
  const published = (...parts: Part[]) => written({ type: 'lane.publish', name: 'ab', publication: publication(parts) })

  it.each<[string, Part, string]>([
    ['what it has', part('vector', bytes(7)), '8207 026162 00 00 01 07'],
    ['the last that the client lacks', part('state', bytes(7)), '8207 026162 00 01 01 07'],
    ['a change', part('update', bytes(7)), '8207 026162 00 02 01 07'],
    ['who is here', part('awareness', bytes(7)), '8206 026162 01 01 07'],
    ['that a change is saved', part('saved'), '8205 026162 08 01'],
    ['that a change is refused', part('refused'), '8205 026162 08 00'],
    ['that the client may write', part('access', 'write'), `8210 026162 02 02 0a ${hex(Buffer.from('read-write'))}`],
    ['that the client may comment', part('access', 'comment'), `8210 026162 02 02 0a ${hex(Buffer.from('read-write'))}`],
    ['that the client may read', part('access', 'read'), `820e 026162 02 02 08 ${hex(Buffer.from('readonly'))}`],
    ['a message of the application', part('stateless', 'hi'), '8207 026162 05 02 6869'],
    ['nothing about what the protocol has no word for', part('barrier', bytes(1)), ''],
  ])('spells %s', (_, given, expected) => {
    expect(published(given)).toBe(expected.replaceAll(' ', ''))
  })

  it.each<[LaneOutput, string]>([
    [{ type: 'lane.tokenWanted', name: 'ab' }, '8205 026162 02 00'],
    [{ type: 'lane.denied', name: 'ab', reason: 'no' }, '8208 026162 02 01 02 6e6f'],
    [{ type: 'lane.closed', name: 'ab', reason: 'no' }, '8207 026162 07 02 6e6f'],
    [{ type: 'lane.presenceWanted', name: 'ab' }, '8204 026162 03'],
    [{ type: 'lane.ping' }, '8201 09'],
  ])('spells %o', (output, expected) => {
    expect(written(output)).toBe(expected.replaceAll(' ', ''))
  })

  it('encodes a publication once for all sockets with the same address, and large bytes not at all', () => {
    const framer = new HocuspocusFramer()
    const large = new Uint8Array(100_000)
    const message = publication([part('update', bytes(1)), part('update', large)])
    const output = (name: string): LaneOutput => ({ type: 'lane.publish', name, publication: message })
    expect(framer.whole(output('a'))).toBe(framer.whole(output('a')))
    expect(framer.whole(output('a'))).not.toBe(framer.whole(output('b')))
    expect(framer.whole(output('a\0s'))).not.toBe(framer.whole(output('a\0s')))
    expect(framer.whole(output('a\0s'))).toContain(large)
  })

  it('writes long answers frame by frame', () => {
    const answer = publication([part('update', bytes(1)), part('state', bytes(2)), part('vector', bytes(3))], true)
    expect(new HocuspocusFramer().answer({ type: 'lane.publish', name: 'a', publication: answer })).toHaveLength(3)
    expect(new HocuspocusFramer().answer({ type: 'lane.publish', name: 'a', publication: publication([part('saved')]) })).toBeUndefined()
  })
})
