import { describe, expect, it } from 'vitest'
import type { ChannelMessage, Json, Output } from '../../actors/output.ts'
import { busDoor } from '../../src/doors/bus.ts'
import { EventEncoder, endPiece, idOf, type Piece, positionsOf } from '../../src/doors/sse.ts'

const encoder = new EventEncoder(busDoor({ messageBytes: 1024 * 1024, depth: 64 }).encode)

const message = (offset: number, body: Json = { n: offset }): ChannelMessage => ({
  channel: 'a',
  offset,
  epoch: 'E1',
  time: 1_000,
  id: `m${offset}`,
  user: 'ann',
  sender: 'ann',
  client: 'c1',
  body,
  kind: 'message',
})

/** Fields of the events of some pieces, as a reader of the specification takes them apart. */
const parsed = (pieces: readonly Piece[]) =>
  pieces.map(({ bytes, at }) => {
    const text = bytes.toString()
    expect(text.endsWith('\n\n')).toBe(true)
    const lines = text.slice(0, -2).split('\n')
    const fields = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]))
    return {
      ...fields,
      ...(fields.data === undefined ? {} : { data: JSON.parse(fields.data) as unknown }),
      ...(at === undefined ? {} : { at }),
    }
  })

const joined = (data: object): Output => ({
  type: 'output.answer',
  ref: undefined,
  command: 'join_channel',
  at: 0,
  account: { user: 'ann', tenant: '', isAnonymous: false, permissions: [] },
  client: 'c1',
  data: { channel: 'a', epoch: 'E1', sequence: 7, recovered: null, messages: [], ...data } as unknown as Json,
})

describe('the stream', () => {
  it('says a message in the envelope of the bus, with the place behind it', () => {
    expect(
      parsed(encoder.encode({ type: 'output.messages', channel: 'a', messages: [message(3, 'line\nbreak'), message(4)] })),
    ).toMatchObject([
      {
        event: 'message',
        data: { id: 'm3', channel: 'a', content: 'line\nbreak', sequence: 3 },
        at: { channel: 'a', epoch: 'E1', offset: 3 },
      },
      { event: 'message', data: { content: { n: 4 } }, at: { offset: 4 } },
    ])
  })

  it('begins a channel with its place, which a reader that saw nothing else can come back with', () => {
    expect(parsed(encoder.encode(joined({})))).toEqual([
      {
        event: 'ready',
        data: { channel: 'a', epoch: 'E1', sequence: 7, recovered: null, replayed: 0 },
        at: { channel: 'a', epoch: 'E1', offset: 7 },
      },
    ])
  })

  it('begins before what is replayed: whoever is cut off in between has not had it', () => {
    const pieces = parsed(encoder.encode(joined({ recovered: true, messages: [message(6), message(7)] })))
    expect(pieces.map(({ at }) => at?.offset)).toEqual([5, 6, 7])
    expect(pieces[0]).toMatchObject({ event: 'ready', data: { recovered: true, replayed: 2, sequence: 7 } })
  })

  it('says who comes and goes, and the end of a channel, without moving the reader', () => {
    const presence = encoder.encode({
      type: 'output.presence',
      id: 'p',
      change: 'joined',
      channel: 'a',
      user: 'bob',
      client: 'c2',
      status: 'online',
      before: 'offline',
      at: 0,
      offset: 7,
    })
    expect(parsed(presence)).toMatchObject([{ event: 'presence', data: { type: 'event', content: { type: 'user_joined', user: 'bob' } } }])
    const closed = encoder.encode({ type: 'output.closed', channel: 'a', isRoom: true, reason: 'expired', at: 0 })
    expect(parsed(closed)).toMatchObject([{ event: 'closed', data: { content: { type: 'room_expired' } } }])
    expect([...presence, ...closed].every(({ at }) => at === undefined)).toBe(true)
  })

  it('moves the reader over what it cannot have any more', () => {
    expect(parsed(encoder.encode({ type: 'output.gap', channel: 'a', epoch: 'E2', offset: 9, at: 0 }))).toMatchObject([
      { event: 'lost', data: { content: { type: 'lost', epoch: 'E2', sequence: 9 } }, at: { channel: 'a', epoch: 'E2', offset: 9 } },
    ])
  })

  it('keeps the line alive with a comment, and says why it ends', () => {
    expect(encoder.encode({ type: 'output.heartbeat', at: 0 }).map(({ bytes }) => bytes.toString())).toEqual([':\n\n'])
    expect(parsed([endPiece('auth.expired', 'the token has expired')])).toEqual([
      { event: 'end', data: { code: 'auth.expired', message: 'the token has expired' } },
    ])
  })

  it('is made once for all readers', () => {
    const output: Output = { type: 'output.messages', channel: 'a', messages: [message(1)] }
    expect(encoder.encode(output)[0]).toBe(encoder.encode(output)[0])
  })

  it('says nothing of answers to other commands', () => {
    expect(encoder.encode({ ...joined({}), command: 'ping' } as Output)).toEqual([])
  })
})

describe('the id of an event', () => {
  const a = { epoch: 'Ab_-3', offset: 12 }
  const b = { epoch: 'Zz', offset: 0 }

  it('names the place in every channel, and is read again', () => {
    expect(idOf([a])).toBe('Ab_-3:12')
    expect(positionsOf(idOf([a, b]), 2)).toEqual([a, b])
  })

  it.each(['', 'x', 'Ab:', 'Ab:-1', 'Ab:1.5', 'A b:1', 'Ab:1,Zz:2', `${'a'.repeat(65)}:1`, 'Ab:9999999999999999'])(
    '%j is no place in one channel, so nothing will be recovered from it',
    (id) => {
      expect(positionsOf(id, 1)).toEqual([{ epoch: '-', offset: 0 }])
    },
  )
})
