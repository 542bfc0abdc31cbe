import { describe, expect, it } from 'vitest'
import { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate, removeAwarenessStates } from 'y-protocols/awareness'
import * as Y from 'yjs'
import { type AwarenessEntry, awarenessLimits, decodeAwareness, encodeAwareness } from '../../crdt/awareness.ts'
import { AwarenessState, awarenessPolicy } from '../../crdt/awarenessState.ts'
import { random } from './sessions.ts'

const entry = (client: number, clock: number, state: unknown = { n: clock }): AwarenessEntry => ({
  client,
  clock,
  state: state === null ? null : JSON.stringify(state),
})
const code = (entries: readonly AwarenessEntry[] | Uint8Array) => {
  const decoded = decodeAwareness(entries instanceof Uint8Array ? entries : encodeAwareness(entries))
  return 'ok' in decoded ? decoded.code : decoded.length
}
const decoded = (update: Uint8Array) => {
  const entries = decodeAwareness(update)
  if ('ok' in entries) throw new Error(entries.code)
  return entries
}

/** A stock client's awareness, without its timer. */
const stock = (client: number) => {
  const doc = new Y.Doc()
  doc.clientID = client
  const awareness = new Awareness(doc)
  clearInterval(awareness._checkInterval)
  return awareness
}

const a = { id: 'connection-a' }
const b = { id: 'connection-b' }
const c = { id: 'connection-c' }

describe('awareness on the wire', () => {
  it('is read and written as y-protocols does', () => {
    const awareness = stock(5)
    awareness.setLocalState({ user: { name: 'Zoë 🦊' }, cursor: [1, null] })
    const update = encodeAwarenessUpdate(awareness, [5])
    expect(encodeAwareness(decoded(update))).toEqual(update)
    expect(decoded(update)).toEqual([{ client: 5, clock: 1, state: JSON.stringify(awareness.getLocalState()) }])
    removeAwarenessStates(awareness, [5], 'test')
    expect(decoded(encodeAwarenessUpdate(awareness, [5]))).toEqual([{ client: 5, clock: 2, state: null }])
  })

  it('is refused as a whole when one entry is bad', () => {
    const state = (text: string) => code([entry(1, 1), { client: 2, clock: 1, state: text }])
    expect(state('{}')).toBe(2)
    expect(state('{bad')).toBe('json')
    expect(state('')).toBe('json')
    expect(state('['.repeat(32) + ']'.repeat(32))).toBe(2)
    expect(state('['.repeat(33) + ']'.repeat(33))).toBe('depth')
    expect(state(`"${'x'.repeat(awarenessLimits.stateBytes - 2)}"`)).toBe(2)
    expect(state(`"${'x'.repeat(awarenessLimits.stateBytes - 1)}"`)).toBe('too_large')
    expect(code([entry(1, 2 ** 51)])).toBe('clock')
    expect(code(new Uint8Array([...encodeAwareness([entry(1, 1)]), 0]))).toBe('trailing_bytes')
    expect(code(new Uint8Array([1, 1, 1, 3, 0xff, 0xfe, 0x41]))).toBe('text')
    expect(code(new Uint8Array([0xff, 0xff, 0x7f, 0]))).toBe('count')
    expect(code(new Uint8Array(awarenessLimits.messageBytes + 1))).toBe('too_large')
    expect(code(Array.from({ length: 501 }, (_, i) => entry(i, 1)))).toBe('too_many_clients')
    const whole = encodeAwareness([entry(1, 1), entry(2, 300, { long: 'x'.repeat(200) })])
    for (let size = 0; size < whole.length; size++) expect(typeof code(whole.subarray(0, size))).toBe('string')
  })
})

describe('AwarenessState', () => {
  it('shows a client to peers at once even if they know its clock as removed (server restart, quick return)', () => {
    const peer = stock(9)
    applyAwarenessUpdate(peer, encodeAwareness([entry(1, 7)]), 'server')
    removeAwarenessStates(peer, [1], 'connection closed') // what y-websocket does; the clock stays
    const { changed } = new AwarenessState().apply([entry(1, 7)], a, 0)
    applyAwarenessUpdate(peer, encodeAwareness(changed), 'server')
    expect(peer.getStates().get(1)).toEqual({ n: 7 })
  })

  it('stays in step with the client that adopts the raised clock, also when it moves meanwhile', () => {
    const state = new AwarenessState()
    const me = stock(1)
    me.setLocalState({ at: 1 })
    const first = state.apply(decoded(encodeAwarenessUpdate(me, [1])), a, 0).changed
    me.setLocalState({ at: 2 }) // before the echo arrives: the same clock as the raised one
    const second = state.apply(decoded(encodeAwarenessUpdate(me, [1])), a, 0).changed
    expect(second).toEqual([{ client: 1, clock: 3, state: '{"at":2}' }])
    for (const changed of [first, second]) applyAwarenessUpdate(me, encodeAwareness(changed), 'server')
    expect(me.getLocalState()).toEqual({ at: 2 })
    expect(state.apply(decoded(encodeAwarenessUpdate(me, [1])), a, 0).changed).toEqual([]) // its echo moves nothing
    me.setLocalState({ at: 3 })
    expect(state.apply(decoded(encodeAwarenessUpdate(me, [1])), a, 0).changed).toEqual([{ client: 1, clock: 4, state: '{"at":3}' }])
  })

  it('lets nobody overwrite, remove or poison an id of another connection, and does not blame who forwards', () => {
    const state = new AwarenessState()
    state.apply([entry(1, 5)], a, 0)
    state.apply([entry(2, 5)], b, 0)
    const before = state.entries()
    for (const forged of [entry(1, 6, { evil: 1 }), entry(1, 6), entry(1, 99, null), entry(1, 6, null), entry(1, 900)])
      expect(state.apply([forged], b, 1)).toEqual({ changed: [], refused: [], hasReturned: false })
    expect(state.entries()).toEqual(before)
    expect(state.release(b, 2)).toEqual([entry(2, 6, null)]) // and b's leaving does not take 1 along
    expect(state.apply([entry(1, 7)], a, 3).changed).toEqual([entry(1, 7)])
  })

  it('removes at the known clock, which peers accept', () => {
    const state = new AwarenessState()
    const peer = stock(9)
    applyAwarenessUpdate(peer, encodeAwareness(state.apply([entry(1, 5)], a, 0).changed), 'server')
    expect(peer.getStates().has(1)).toBe(true)
    const removal = state.release(a, 1)
    expect(removal).toEqual([entry(1, 6, null)])
    applyAwarenessUpdate(peer, encodeAwareness(removal), 'server')
    expect(peer.getStates().has(1)).toBe(false)
    expect(state.all()).toEqual([])
  })

  for (const seed of [1, 2, 3, 4, 5, 6])
    it(`comes to rest with everybody seen by everybody, though stock clients send back all that they hear (seed ${seed})`, () => {
      const r = random(seed)
      const state = new AwarenessState()
      const clients = [1, 2, 3, 4].map((client) => ({
        client,
        awareness: stock(client),
        socket: '',
        up: [] as Uint8Array[],
        down: [] as Uint8Array[],
      }))
      type Client = (typeof clients)[number]
      let messages = 0
      const publish = (entries: readonly AwarenessEntry[]) => {
        if (entries.length > 0) for (const each of clients) if (each.socket !== '') each.down.push(encodeAwareness(entries))
      }
      const connect = (each: Client, socket: string) => {
        each.socket = socket
        each.up.push(encodeAwarenessUpdate(each.awareness, [each.client]))
        each.down.push(...state.all())
      }
      const disconnect = (each: Client) => {
        const owner = { id: each.socket }
        Object.assign(each, { socket: '', up: [], down: [] })
        publish(state.release(owner, 0))
        const others = [...each.awareness.getStates().keys()].filter((client) => client !== each.client)
        removeAwarenessStates(each.awareness, others, 'closed')
      }
      const deliver = (each: Client) => {
        messages++
        const up = each.up.shift()
        if (up !== undefined) publish(state.apply(decoded(up), { id: each.socket }, 0).changed)
        const down = each.down.shift()
        if (down !== undefined) applyAwarenessUpdate(each.awareness, down, 'server')
      }
      for (const each of clients) {
        each.awareness.on('update', ({ added, updated, removed }: Record<'added' | 'updated' | 'removed', number[]>) => {
          if (each.socket !== '') each.up.push(encodeAwarenessUpdate(each.awareness, [...added, ...updated, ...removed]))
        })
        connect(each, `first-${each.client}`)
      }
      for (let step = 0; step < 300; step++) {
        const each = clients[r.below(4)] as Client
        const action = r.below(20)
        if (action === 0 && each.socket !== '') disconnect(each)
        else if (each.socket === '') connect(each, `socket-${step}`)
        else if (action < 5) each.awareness.setLocalState({ of: each.client, step })
        else deliver(each)
      }
      for (const each of clients) if (each.socket === '') connect(each, `last-${each.client}`)
      const settle = () => {
        messages = 0
        for (let busy = clients; busy.length > 0 && messages < 5000; busy = clients.filter(({ up, down }) => up.length + down.length > 0))
          for (const each of busy) deliver(each)
        expect(messages).toBeLessThan(5000)
      }
      settle()
      publish(state.raise())
      settle()
      for (const each of clients) {
        const seen = Object.fromEntries(each.awareness.getStates())
        for (const other of clients)
          expect(seen[other.client], `${other.client} as seen by ${each.client}`).toEqual(other.awareness.getLocalState())
      }
      expect(state.size).toBe(4)
    })

  it('takes the leave of its owner, at the same or a higher clock, and its return', () => {
    const state = new AwarenessState()
    state.apply([entry(1, 5)], a, 0)
    expect(state.apply([entry(1, 6, null)], a, 1).changed).toEqual([entry(1, 6, null)])
    expect(state.apply([entry(1, 7)], a, 2).changed).toEqual([{ ...entry(1, 7), clock: 8 }])
    expect(state.apply([entry(1, 10, null)], a, 3).changed).toEqual([entry(1, 10, null)])
  })

  it('lets a tab behind a connection disappear that only echoes speak of', () => {
    const state = new AwarenessState()
    state.apply([entry(1, 5)], a, 0)
    state.apply([entry(9, 5)], a, 0)
    const echoes = state.raise()
    expect(state.apply(echoes, a, 20_000).changed).toEqual([])
    expect(state.expire(30_000, 30_000)).toEqual([{ client: 9, clock: 7, state: null }])
    expect(state.size).toBe(1)
  })

  it('does not revive a removed id by an echo that was still on its way', () => {
    const state = new AwarenessState()
    state.apply([entry(2, 1)], b, 0)
    const [shown] = state.apply([entry(1, 5)], a, 0).changed as [AwarenessEntry]
    state.release(a, 1)
    expect(state.apply([shown], b, 2).changed).toEqual([])
    expect(state.size).toBe(1)
    // But its owner comes back, and has not kept the others.
    expect(state.apply([entry(1, 6)], c, 3)).toEqual({ changed: [{ ...entry(1, 6), clock: 7 }], refused: [], hasReturned: true })
  })

  it('gives a returning client its place without a removal in between when the dead socket is released or expires', () => {
    for (const end of ['release', 'expire'] as const) {
      const state = new AwarenessState()
      state.apply([entry(1, 5)], a, 0) // half open from now on
      expect(state.apply([entry(1, 5)], b, 20_000).changed).toEqual([]) // announces itself at its old clock
      expect(state.apply([entry(1, 7)], b, 25_000).changed).toEqual([]) // moves
      const changed = end === 'release' ? state.release(a, 29_000) : state.expire(30_000, 30_000)
      expect(changed).toEqual([entry(1, 7)])
      expect(state.release(a, 31_000)).toEqual([])
      expect(state.apply([entry(1, 8)], b, 32_000).changed).toEqual([entry(1, 8)])
      expect(state.release(b, 33_000)).toEqual([entry(1, 8, null)])
    }
  })

  it('lets an authenticated user take over its id at once on a new connection, and nobody else', () => {
    const state = new AwarenessState()
    state.apply([entry(1, 5)], { id: 'old', user: 'ann' }, 0)
    expect(state.apply([entry(1, 7)], { id: 'forger', user: 'eve' }, 1).changed).toEqual([])
    expect(state.apply([entry(1, 7)], { id: 'new', user: 'ann' }, 2).changed).toEqual([entry(1, 7)])
    expect(state.release({ id: 'old', user: 'ann' }, 3)).toEqual([])
    state.release({ id: 'new', user: 'ann' }, 4)
    expect(state.apply([entry(1, 9)], { id: 'forger', user: 'eve' }, 5).changed).toEqual([])
    expect(state.apply([entry(1, 9)], { id: 'newer', user: 'ann' }, 6).changed).toEqual([{ ...entry(1, 9), clock: 10 }])
  })

  it('shows a tab that another tab forwards, and hands it over when it connects itself', () => {
    const state = new AwarenessState()
    state.apply([entry(1, 1)], a, 0)
    expect(state.apply([entry(2, 4)], a, 1).changed).toEqual([{ ...entry(2, 4), clock: 5 }]) // the other tab, over BroadcastChannel
    expect(state.apply([entry(2, 6)], b, 2).changed).toEqual([entry(2, 6)])
    expect(state.apply([entry(2, 6), entry(2, 7)], a, 3).changed).toEqual([]) // still forwarded
    expect(state.release(a, 4)).toEqual([entry(1, 2, null)])
  })

  it('removes who is silent for 30 s, not who renews', () => {
    const state = new AwarenessState()
    state.apply([entry(1, 1)], a, 0)
    state.apply([entry(2, 1)], b, 0)
    state.apply([entry(2, 3)], b, 15_000)
    expect(state.expire(29_999, 30_000)).toEqual([])
    expect(state.expire(30_000, 30_000)).toEqual([entry(1, 2, null)])
    expect(state.apply([entry(1, 4)], a, 31_000).changed).toEqual([{ ...entry(1, 4), clock: 5 }]) // a frozen tab wakes up
  })

  it('bounds ids for each connection, ids of the document, clock jumps and what it remembers', () => {
    const state = new AwarenessState({ ...awarenessPolicy, ids: 12, removedIds: 20 })
    const flood = state.apply(
      Array.from({ length: 400 }, (_, i) => entry(1000 + i, 1)),
      a,
      0,
    )
    expect(flood.changed.length).toBe(10)
    expect(flood.refused[0]).toEqual({ client: 1010, code: 'too_many_ids' })
    expect(state.apply([entry(1, 1), entry(2, 1), entry(3, 1)], b, 0).refused).toEqual([{ client: 3, code: 'document_full' }])
    expect(state.apply([entry(1, 1003)], b, 0).refused).toEqual([{ client: 1, code: 'clock_window' }])
    expect(state.apply([entry(1, 1002)], b, 0).changed.length).toBe(1)
    state.release(a, 0)
    expect(state.apply([entry(7, 2 ** 33)], c, 0).refused).toEqual([{ client: 7, code: 'clock_window' }])
    for (let i = 0; i < 100_000; i++) {
      state.apply([entry(5000 + i, 1)], c, i)
      state.apply([entry(5000 + i, 9, null)], c, i)
    }
    expect(state.remembered).toBeLessThanOrEqual(12 + 20)
    state.expire(1e9, 30_000)
    state.expire(2e9, 30_000)
    expect(state.remembered).toBe(0)
  })

  it('encodes everybody once for all newcomers, in messages small enough to be echoed', () => {
    const state = new AwarenessState()
    for (let i = 0; i < 100; i++) state.apply([entry(i, 1, { long: 'x'.repeat(1000) })], { id: `${i}` }, 0)
    const all = state.all()
    expect(state.all()).toBe(all)
    expect(all.length).toBeGreaterThan(2)
    for (const message of all) expect(message.length).toBeLessThan(awarenessLimits.messageBytes)
    expect(all.flatMap(decoded)).toEqual(state.entries())
    state.apply([entry(5, 3)], { id: '5' }, 1)
    expect(state.all()).not.toBe(all)
  })
})
