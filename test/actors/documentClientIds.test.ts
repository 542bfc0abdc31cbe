/** Under which client ids somebody who may only comment may write. */
import { describe, expect, it } from 'vitest'
import { DocumentClientIds } from '../../actors/documentClientIds.ts'
import type { AwarenessOwner } from '../../crdt/awarenessState.ts'

/** A document of which is known who has written what, and who is here. */
const document = () => {
  const written = new Map<number, 'text' | 'comments'>()
  const present = new Map<number, AwarenessOwner>()
  const writers = new Set<string>()
  const ids = new DocumentClientIds({
    isThere: (client) => written.has(client),
    holderOf: (client) => present.get(client),
    mayWrite: (connection) => writers.has(connection),
    hasOnlyComments: (client) => written.get(client) === 'comments',
  })
  /** Somebody comes, or comes back, and shows its cursor. */
  const comes = (client: number, user: string, address = `connection/${user}`) => {
    present.set(client, { id: address, user: user === '' ? undefined : user })
    ids.announced(client, user)
    const wrote = new Set<number>()
    return {
      wrote,
      may: (other: number) => ids.isOpen(other, { user, address, wrote }),
      writes: (what: 'text' | 'comments', under = client) => {
        ids.used(under, { user, address, wrote })
        written.set(under, what)
      },
      leaves: () => present.delete(client),
    }
  }
  return { ids, written, writers, comes }
}

describe('[AC13] a commenter writes under', () => {
  it('an id that nobody has', () => {
    const { comes } = document()
    expect(comes(1, 'ben').may(2)).toBe(true)
  })

  it('its own, also when it has come back, whatever has become of its comments', () => {
    const { comes, written } = document()
    const ben = comes(1, 'ben')
    ben.writes('comments')
    expect(ben.may(1)).toBe(true)
    ben.leaves()
    written.set(1, 'text') // nobody knows any more where that was
    expect(comes(1, 'ben').may(1)).toBe(true)
  })

  it('its own, when its former connection is still there', () => {
    const { comes, written, ids } = document()
    written.set(1, 'comments')
    comes(1, 'ben', 'connection/half open')
    expect(ids.isOpen(1, { user: 'ben', address: 'connection/new' })).toBe(true)
    comes(2, '', 'connection/half open, too')
    expect(ids.isOpen(2, { user: '', address: 'connection/new, too' })).toBe(true)
  })

  it('its own, when it was a writer a moment ago, or is that of a writer who comes back', () => {
    const { comes, ids } = document()
    const ben = comes(1, 'ben')
    ben.writes('text')
    expect(ben.may(1)).toBe(true)
    expect(ids.isOpen(1, { user: 'ben', address: 'connection/later' })).toBe(true)
  })

  it('an id of before that has only comments', () => {
    const { written, ids } = document()
    written.set(1, 'comments')
    expect(ids.isOpen(1, { user: 'ben' })).toBe(true)
  })

  it('no id of a writer, here or away', () => {
    const { comes, ids, written } = document()
    const ann = comes(1, 'ann')
    const ben = comes(2, 'ben')
    expect(ben.may(1)).toBe(false)
    ann.leaves()
    expect(ben.may(1)).toBe(false) // she has seen the document and may be writing without a network
    written.set(3, 'text')
    expect(ben.may(3)).toBe(false)
    expect(ids.isOpen(3, { user: '' })).toBe(false)
  })

  it('no id of another commenter, here or away', () => {
    const { comes, written } = document()
    written.set(1, 'comments')
    const carl = comes(1, 'carl')
    const ben = comes(2, 'ben')
    expect(ben.may(1)).toBe(false)
    carl.writes('comments')
    carl.leaves()
    expect(ben.may(1)).toBe(false)
  })

  it('no id of a writer who did not log in', () => {
    const { comes, writers } = document()
    writers.add('connection/somebody')
    comes(1, '', 'connection/somebody')
    expect(comes(2, '', 'connection/another').may(1)).toBe(false)
    expect(comes(3, 'ben').may(1)).toBe(false)
  })

  it('an id of its own that somebody else called his own when it had been there for long', () => {
    const { comes, written, ids } = document()
    written.set(1, 'comments')
    const thief = comes(1, 'thief')
    thief.leaves()
    expect(ids.isOpen(1, { user: 'ben' })).toBe(true)
  })
})

it('what is remembered of client ids is bounded', () => {
  const { comes } = document()
  const bridge = comes(1, 'bridge')
  for (let client = 2; client < 1_000; client++) bridge.writes('text', client)
  expect(bridge.wrote.size).toBe(64)
  for (let client = 1_000; client < 12_000; client++) comes(client, 'crowd').leaves()
  // Of the first of them it is not known any more, and nothing was written under it.
  const ben = comes(20_000, 'ben')
  expect([ben.may(1_000), ben.may(11_999)]).toEqual([true, false])
})
