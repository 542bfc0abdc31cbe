import { describe, expect, it } from 'vitest'
import { DocumentMemory, type Weighed } from '../../actors/documentMemory.ts'

interface Fake extends Weighed {
  isIdle: boolean
  cachedBytes: number
  bytes: number
}

const house = (limit: number) => {
  const memory = new DocumentMemory(limit)
  const unloaded: string[] = []
  const open = (name: string, bytes: number, isIdle: boolean, cachedBytes = 0): Fake => {
    const document: Fake = {
      bytes,
      cachedBytes,
      connections: 0,
      presentClients: 0,
      isIdle,
      dropCaches() {
        document.cachedBytes = 0
      },
      unload() {
        if (unloaded.includes(name)) return
        unloaded.push(name)
        queueMicrotask(() => memory.left(name, document)) // it leaves in a turn of its own
      },
    }
    memory.used(name, document)
    return document
  }
  return { memory, open, unloaded }
}

describe('the memory of documents', () => {
  it('[BGA12] is given back by the idle ones, the least recently used first, and only as much as is needed', async () => {
    const { memory, open, unloaded } = house(1_000)
    const a = open('a', 300, true)
    open('b', 300, true)
    open('c', 300, true)
    memory.used('a', a)
    open('d', 350, false)
    expect(unloaded).toEqual(['b'])
    await Promise.resolve()
    expect(memory.bytes).toBe(950)
  })

  it('[BGA12] is given back by prepared answers before any document leaves', () => {
    const { memory, open, unloaded } = house(1_000)
    const idle = open('idle', 300, true)
    const cached = open('cached', 300, false, 300)
    open('new', 300, false)
    expect([memory.bytes, cached.cachedBytes, unloaded]).toEqual([900, 0, []])
    expect(idle.bytes).toBe(300)
  })

  it('[BGA12] is over its limit while somebody has the documents open, and one that becomes idle then leaves at once', async () => {
    const { memory, open, unloaded } = house(1_000)
    const documents = Array.from({ length: 10 }, (_, i) => open(`${i}`, 300, false))
    expect([memory.bytes, unloaded]).toEqual([3_000, []])
    const fifth = documents[5] as Fake
    fifth.isIdle = true
    memory.used('5', fifth)
    expect(unloaded).toEqual(['5'])
    await Promise.resolve()
    expect(memory.bytes).toBe(2_700)
  })

  it('[BGA12] follows a document that grows, and forgets one that has left, but not the one that came after it', () => {
    const { memory, open } = house(1_000)
    const first = open('a', 100, false)
    first.bytes = 250
    memory.used('a', first)
    expect(memory.bytes).toBe(250)
    open('a', 40, false)
    expect(memory.bytes).toBe(40)
    memory.left('a', first)
    expect(memory.bytes).toBe(40)
  })

  it('[BGA12] is not looked through for each change while nothing can be given back', () => {
    const { memory, open } = house(1_000)
    let looks = 0
    const documents = Array.from({ length: 100 }, (_, i) => open(`${i}`, 100, false))
    for (const document of documents)
      Object.defineProperty(document, 'cachedBytes', {
        get() {
          looks++
          return 0
        },
      })
    const [one] = documents as [Fake]
    for (let i = 0; i < 1_000; i++) memory.used('0', one)
    expect(looks).toBeLessThan(5_000) // two each for itself, and not a hundred for all
  })
})
