/** Presence that is too fast: what of it is let through later. */
import { describe, expect, it } from 'vitest'
import { HeldPresence } from '../../actors/heldPresence.ts'
import { encodeAwareness } from '../../crdt/awareness.ts'

const of = (client: number, clock: number) => ({
  type: 'document.awareness' as const,
  update: encodeAwareness([{ client, clock, state: '{}' }]),
})
const all = (held: HeldPresence) => {
  const taken = []
  for (let message = held.take(); message !== undefined; message = held.take()) taken.push(message)
  return taken
}

describe('presence that is held', () => {
  it('is the latest of each client id, in the order in which the ids came', () => {
    const held = new HeldPresence()
    const isKept = [of(1, 1), of(2, 7), of(1, 2), of(1, 3)].map((message) => held.hold(message))
    expect(isKept).toEqual([true, true, false, false])
    expect(all(held)).toEqual([of(1, 3), of(2, 7)])
    expect(held.isEmpty).toBe(true)
  })

  it('always has a place for the id that the connection began with, whatever echoes of others come', () => {
    const held = new HeldPresence()
    held.hear(of(1, 1))
    held.hold(of(1, 2))
    for (let client = 2; client < 500; client++) held.hold(of(client, 1))
    const taken = all(held)
    expect([taken.length, taken[0], taken.at(-1)]).toEqual([16, of(1, 2), of(499, 1)])
  })

  it('is not made of what names nobody', () => {
    const held = new HeldPresence()
    for (const update of [Uint8Array.of(0), new Uint8Array(0), Uint8Array.of(255)]) {
      held.hear({ type: 'document.awareness', update })
      held.hold({ type: 'document.awareness', update })
    }
    expect(held.isEmpty).toBe(true)
  })

  it('is a megabyte at most, and its own comes first', () => {
    const held = new HeldPresence()
    const large = (client: number, length: number) => {
      const update = new Uint8Array(length)
      update.set(of(client, 1).update)
      return { type: 'document.awareness', update } as const
    }
    held.hear(of(1, 1))
    expect(held.hold(large(1, 400_000))).toBe(true)
    expect(held.hold(large(2, 400_000))).toBe(true)
    expect(held.hold(large(3, 400_000))).toBe(false)
    expect(held.hold(large(4, 2_000_000))).toBe(false)
    expect(all(held)).toEqual([large(1, 400_000), large(3, 400_000)])
  })
})
