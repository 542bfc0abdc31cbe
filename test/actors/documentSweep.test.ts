/** The daily sweep of documents, on a disk that refuses. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { DocumentHouse, updateOf } from './documentHouse.ts'

const hourMs = 3_600_000

afterEach(() => {
  vi.restoreAllMocks()
})

/** What the log says from now on, above `debug`. */
const listen = ({ world }: DocumentHouse): string[] => {
  const lines: string[] = []
  for (const level of ['info', 'warn', 'error'] as const)
    vi.spyOn(world.log, level).mockImplementation((_fields, text) => void lines.push(text))
  return lines
}

describe('the sweep of documents', () => {
  it('[DSW1] waits for a disk that refuses, longer each time, says so once, and goes on where it was', async () => {
    const house = await DocumentHouse.open({ deletedMs: 0, idleMs: 1_000 })
    for (let at = 0; at < 100; at++) {
      await house.append(`n${at}`, updateOf('x'))
      await house.life(`n${at}`, { type: 'document.remove', by: '' })
    }
    await house.world.clock.advance(5_000)
    const lines = listen(house)
    const tries = vi.spyOn(house.journals, 'append')
    house.disk.refuse('storage.full')
    house.sweep()
    await house.world.clock.advance(3 * hourMs)
    expect(lines).toEqual(['the sweep of documents waits for the disk'])
    expect(tries.mock.calls.length).toBeLessThan(30)
    expect((await house.journals.list('document/')).length).toBe(100)
    house.disk.refuse(undefined)
    await house.world.clock.advance(2 * hourMs)
    expect(await house.journals.list('document/')).toEqual([])
    expect(lines.slice(1)).toEqual(['the sweep of documents goes on'])
  })

  it('[DSW1] is begun once a day, over restarts, too', async () => {
    const house = await DocumentHouse.open({ deletedMs: 0, idleMs: 1_000 })
    house.sweep()
    await house.world.clock.advance(10_000)
    await house.append('late', updateOf('x'))
    await house.life('late', { type: 'document.remove', by: '' })
    await house.reboot()
    house.sweep()
    await house.world.clock.advance(hourMs)
    expect(await house.journals.list('document/')).toEqual(['document/late'])
    house.world.clock.pass(23 * hourMs)
    await house.world.clock.advance(10_000)
    expect(await house.journals.list('document/')).toEqual([])
  })
})
