/** Who a presence says it is: the name of the account, put there by the server, so that it stays put on its way round. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeAwareness, encodeAwareness } from '../../crdt/awareness.ts'
import { stampIdentity } from '../../crdt/awarenessIdentity.ts'
import { AwarenessState, awarenessPolicy } from '../../crdt/awarenessState.ts'

const anna = { id: 'connection/a', user: 'anna' }
const ben = { id: 'connection/b', user: 'ben' }
const stamping = () => new AwarenessState({ ...awarenessPolicy, stampsIdentity: true })

describe('a state', () => {
  it.each([
    ['{"cursor":1}', 'anna', '{"cursor":1,"user":{"id":"anna"}}'],
    ['{"user":{"name":"A"}}', 'anna', '{"user":{"name":"A","id":"anna"}}'],
    ['{"user":{"id":"ben","name":"A"}}', 'anna', '{"user":{"id":"anna","name":"A"}}'],
    ['{"user":["ben"]}', 'anna', '{"user":{"id":"anna"}}'],
    ['{"user":"ben"}', 'anna', '{"user":{"id":"anna"}}'],
    ['{"user":null}', 'anna', '{"user":{"id":"anna"}}'],
    ['{"user":{"id":"ben"},"user":{"id":"carl"}}', 'anna', '{"user":{"id":"anna"}}'],
    ['{"user":{"id":"ben","name":"A"}}', undefined, '{"user":{"name":"A"}}'],
    ['{ "user": {"name":"A"} }', undefined, '{ "user": {"name":"A"} }'],
    ['{"user":"ben"}', undefined, '{"user":"ben"}'],
    ['[1]', 'anna', '[1]'],
    ['"text"', 'anna', '"text"'],
    ['{"__proto__":{"id":"x"}}', 'anna', '{"__proto__":{"id":"x"},"user":{"id":"anna"}}'],
  ] as const)('%s of %s is shown as %s', (state, user, shown) => {
    expect(stampIdentity(state, user)).toBe(shown)
  })

  it('that was stamped stays as it is, also when a client has parsed it and written it again', () => {
    fc.assert(
      fc.property(fc.json(), fc.option(fc.string({ minLength: 1 }), { nil: undefined }), (state, user) => {
        const once = stampIdentity(state, user)
        const again = stampIdentity(JSON.stringify(JSON.parse(once)), user)
        expect(stampIdentity(again, user)).toBe(again)
        if (user !== undefined) expect(again).toBe(stampIdentity(once, user))
      }),
      { seed: 3, numRuns: 500 },
    )
  })
})

describe('the presence of a document that stamps', () => {
  it('shows what came with the name of its owner, and is not moved by the same state coming round', () => {
    const state = stamping()
    const [shown] = state.apply([{ client: 1, clock: 0, state: '{"user":{"id":"ben"},"n":1}' }], anna, 0).changed
    expect(shown).toEqual({ client: 1, clock: 1, state: '{"user":{"id":"anna"},"n":1}' })
    // The owner adopts the raised clock and sends on what it got; then it renews what it had said itself.
    expect(state.apply([{ client: 1, clock: 1, state: shown?.state ?? '' }], anna, 1).changed).toEqual([])
    expect(state.apply([{ client: 1, clock: 1, state: '{"user":{"id":"ben"},"n":1}' }], anna, 2).changed).toEqual([])
    expect(state.apply([{ client: 1, clock: 2, state: '{"user":{"id":"ben"},"n":2}' }], anna, 3).changed).toEqual([
      { client: 1, clock: 2, state: '{"user":{"id":"anna"},"n":2}' },
    ])
  })

  it('shows an heir under the same name', () => {
    const state = stamping()
    const [first, second] = [anna, { id: 'connection/c', user: 'anna' }]
    state.apply([{ client: 1, clock: 0, state: '{}' }], first, 0)
    const { changed } = state.apply([{ client: 1, clock: 5, state: '{"user":{"id":"root"}}' }], second, 1)
    expect(changed).toEqual([{ client: 1, clock: 5, state: '{"user":{"id":"anna"}}' }])
  })

  it('knows an echo by its clock, of whoever does not own it, and reads none of its state', () => {
    const state = stamping()
    state.apply([{ client: 1, clock: 0, state: '{}' }], anna, 0)
    expect([0, 1, 2].map((clock) => state.isEcho(1, clock, ben))).toEqual([true, true, false])
    expect([state.isEcho(1, 1, anna), state.isEcho(2, 0, ben)]).toEqual([false, false])
    const message = encodeAwareness([
      { client: 1, clock: 1, state: 'no JSON at all' },
      { client: 2, clock: 0, state: '{}' },
    ])
    expect(decodeAwareness(message)).toMatchObject({ ok: false })
    const heard = decodeAwareness(message, undefined, (client, clock) => state.isEcho(client, clock, ben))
    expect(heard).toEqual([{ client: 2, clock: 0, state: '{}' }])
    const cut = message.subarray(0, 8)
    expect(decodeAwareness(cut, undefined, () => true)).toMatchObject({ ok: false })
  })
})
