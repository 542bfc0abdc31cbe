import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ChannelHouse, numbered } from './channelHouse.ts'
import { codeOf, quiet, track } from './house.ts'

describe('the directory', () => {
  it('[DI1] a channel is made once, and is as it was made in the next process', async () => {
    const house = await ChannelHouse.boot()
    const made = await house.create('news', { description: 'All of it', by: 'ada' })
    expect(made).toEqual({ name: 'news', description: 'All of it', createdAt: house.clock.now(), createdBy: 'ada', isRoom: false })
    expect(await codeOf(house.create('news'))).toBe('channel.exists')
    await house.crash()
    expect(await codeOf(house.create('news'))).toBe('channel.exists')
    expect((await house.join('bob', 'news')).info).toEqual(made)
    const info = house.system.ask('directory/default', { type: 'directory.info', name: 'news' })
    expect(await info).toEqual(made)
    expect(await codeOf(house.system.ask('directory/default', { type: 'directory.info', name: 'other' }))).toBe('channel.unknown')
  })

  it('[DI2] a channel that comes into being by joining or publishing is in it, an inbox is not listed', async () => {
    const house = await ChannelHouse.boot()
    await house.join('bob', 'b')
    await house.publish('bob', 'a', 1)
    await house.publish('bob', 'private_ada', 1)
    expect((await house.list()).channels.map(({ name }) => name)).toEqual(['a', 'b'])
    await house.crash()
    expect((await house.list()).channels.map(({ name }) => name)).toEqual(['a', 'b'])
    expect(await codeOf(house.create('private_ada'))).toBe('channel.exists')
  })

  it('[DI3] it lists by name, with a prefix, page by page, channels or rooms', async () => {
    const house = await ChannelHouse.boot()
    for (const n of numbered(1, 120).reverse()) await house.create(`c/${String(n).padStart(3, '0')}`)
    for (const name of ['z', 'c', 'c/', 'b']) await house.create(name)
    await house.create('c/room', { isRoom: true, ttlMs: 60_000 })
    const names = async (more: object) => {
      const { channels, hasMore } = await house.list(more)
      return [channels.map(({ name }) => name), hasMore] as const
    }
    expect(await names({ prefix: 'c/', limit: 2 })).toEqual([['c/', 'c/001'], true])
    expect(await names({ prefix: 'c/', limit: 2, after: 'c/001' })).toEqual([['c/002', 'c/003'], true])
    expect(await names({ prefix: 'c/', after: 'c/119' })).toEqual([['c/120', 'c/room'], false])
    expect(await names({ prefix: 'c/', after: 'a', limit: 1 })).toEqual([['c/'], true])
    expect(await names({ prefix: 'c/', after: 'z' })).toEqual([[], false])
    expect(await names({ isRoom: true })).toEqual([['c/room'], false])
    expect((await names({}))[0]).toHaveLength(100)
    expect(await names({ isRoom: false, after: 'c/120' })).toEqual([['z'], false])
    expect((await names({ limit: 10_000 }))[0]).toHaveLength(125)
  })

  it('[DI4] each tenant has its own', async () => {
    const house = await ChannelHouse.boot()
    await house.create('news', {}, '~acme')
    expect((await house.list()).channels).toEqual([])
    expect(await codeOf(house.remove('news'))).toBe('channel.unknown')
    await house.publish('ada', '~acme/news', 1)
    await house.remove('news', '~acme')
    expect(await house.journals.list('channel/')).toEqual([])
  })

  it('[DI5] what the disk refuses was not made', async () => {
    const house = await ChannelHouse.boot()
    house.disk.refuse('storage.full')
    expect(await codeOf(house.create('news'))).toBe('storage.full')
    const joined = track(house.join('bob', 'other'))
    await house.clock.advance(1_000)
    expect(joined.value).toBe('storage.full')
    house.disk.refuse(undefined)
    await house.clock.advance(1_000)
    expect((await house.list()).channels).toEqual([])
    await house.create('news')
  })
})

describe('removing a channel', () => {
  it('[DI6] is answered when it is gone; one that is not there cannot be removed', async () => {
    const house = await ChannelHouse.boot()
    await house.publish('ada', 'news', 1)
    house.disk.hold()
    const removed = track(house.remove('news'))
    await quiet()
    expect(removed.state).toBe('open')
    house.disk.release()
    await quiet()
    expect(removed.state).toBe('kept')
    expect(await house.journals.list('channel/')).toEqual([])
    expect((await house.list()).channels).toEqual([])
    expect(await codeOf(house.remove('news'))).toBe('channel.unknown')
  })

  it('[DI7] of a channel that is not in memory takes its history all the same', async () => {
    const house = await ChannelHouse.boot()
    await house.publish('ada', 'news', 1)
    await house.crash()
    await house.remove('news')
    expect(await house.journals.list('channel/')).toEqual([])
    expect((await house.publish('ada', 'news', 2)).message.offset).toBe(1)
  })

  it('[DI8] while it goes on, opening is refused for now and creating waits', async () => {
    const house = await ChannelHouse.boot()
    await house.publish('ada', 'news', 1)
    house.disk.hold()
    const removed = [house.remove('news'), house.remove('news')].map(track)
    await quiet()
    house.disk.flush(1) // it is written down; the channel removes its journal
    await quiet()
    const open = house.system.ask('directory/default', { type: 'directory.open', name: 'news', create: true, by: '' })
    expect(await codeOf(open)).toBe('channel.unavailable')
    const created = track(house.create('news', { description: 'anew' }))
    await quiet()
    expect(created.state).toBe('open')
    house.disk.release()
    await quiet()
    expect(removed.map(({ state }) => state)).toEqual(['kept', 'kept'])
    expect(created.value).toMatchObject({ description: 'anew' })
    expect((await house.publish('ada', 'news', 2)).message.offset).toBe(1)
  })

  it('[DI9] that a crash interrupted, at any write, is taken up by the next process', async () => {
    // The first write only says that the directory will have to be woken.
    for (let writes = 2; writes <= 4; writes++) {
      const house = await ChannelHouse.boot()
      await house.publish('ada', 'news', 1)
      house.disk.hold()
      void house.remove('news').catch(() => {})
      for (let i = 0; i < writes; i++) {
        await quiet()
        house.disk.flush(1)
      }
      await house.crash()
      house.disk.release()
      await house.clock.advance(20_000)
      expect([writes, await house.journals.list('channel/')]).toEqual([writes, []])
      expect([writes, (await house.list()).channels]).toEqual([writes, []])
      expect([writes, (await house.publish('ada', 'news', 2)).message.offset]).toEqual([writes, 1])
    }
  })

  it('[DI10] that the disk refuses is tried until it is done', async () => {
    const house = await ChannelHouse.boot()
    await house.publish('ada', 'news', 1)
    house.disk.hold()
    const removed = track(house.remove('news'))
    await quiet()
    house.disk.flush(2)
    await quiet()
    house.disk.refuse('storage.failed')
    house.disk.release()
    await quiet()
    expect(removed.state).toBe('broken')
    expect(await codeOf(house.publish('ada', 'news', 2))).toMatch(/^channel\.|^storage\./)
    house.disk.refuse(undefined)
    await house.clock.advance(20_000)
    expect(await house.journals.list('channel/')).toEqual([])
    expect((await house.list()).channels).toEqual([])
  })
})

describe('a room', () => {
  const room = (house: ChannelHouse, name: string, ttlMs: number) => house.create(name, { isRoom: true, ttlMs })

  it('[DI11] ends at its deadline: its members are told, its history is gone', async () => {
    const house = await ChannelHouse.boot()
    const made = await room(house, 'party', 60_000)
    expect(made).toMatchObject({ isRoom: true, expiresAt: house.clock.now() + 60_000 })
    await house.join('bob', 'party')
    await house.publish('ada', 'party', 1)
    await house.clock.advance(59_000)
    expect((await house.describe('party')).expiresAt).toBe(made.expiresAt)
    await house.clock.advance(1_100)
    expect(house.hears('bob').at(-1)).toMatchObject({ type: 'output.closed', channel: 'party', reason: 'expired', isRoom: true })
    expect((await house.list()).channels).toEqual([])
    expect(await house.journals.list('channel/')).toEqual([])
  })

  it.each(['crash', 'reboot'] as const)(
    '[DI12] keeps its deadline through a %s, and ends at once when it has passed meanwhile',
    async (how) => {
      const house = await ChannelHouse.boot()
      await room(house, 'short', 10_000)
      await room(house, 'long', 100_000)
      for (const name of ['short', 'long']) await house.publish('ada', name, 1)
      await house[how]()
      house.clock.pass(20_000) // the process is away
      await house[how]()
      await house.clock.advance(100)
      expect(await house.journals.list('channel/')).toEqual(['channel/long'])
      await house.clock.advance(80_000)
      expect(await house.journals.list('channel/')).toEqual([])
    },
  )

  it('[DI13] that is removed before its deadline and made anew has the new one', async () => {
    const house = await ChannelHouse.boot()
    await room(house, 'party', 10_000)
    await house.remove('party')
    await room(house, 'party', 60_000)
    await house.clock.advance(30_000)
    expect((await house.list()).channels).toHaveLength(1)
    await house.clock.advance(31_000)
    expect((await house.list()).channels).toHaveLength(0)
  })

  it('[DI14] hundreds that end at the same time all end', async () => {
    const house = await ChannelHouse.boot()
    for (const n of numbered(1, 200)) await room(house, `r${n}`, 10_000)
    await house.publish('ada', 'r7', 1)
    await house.clock.advance(11_000)
    expect((await house.list()).channels).toEqual([])
    expect(await house.journals.list('channel/')).toEqual([])
  })
})

describe('the table of a directory', () => {
  it('[DI15] through any sequence of calls and restarts lists what a map would', async () => {
    const name = fc.constantFrom('a', 'b', 'c/1', 'c/2', 'private_x')
    const step = fc.oneof(
      fc.record({ do: fc.constant('create' as const), name, ttlMs: fc.constantFrom(undefined, 3_000, 10_000) }),
      fc.record({ do: fc.constantFrom('remove' as const, 'publish' as const), name }),
      fc.record({ do: fc.constantFrom('crash' as const, 'reboot' as const, 'wait' as const) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
        const house = await ChannelHouse.boot()
        const model = new Map<string, number>()
        for (const each of steps) {
          for (const [known, endsAt] of model) if (endsAt <= house.clock.now()) model.delete(known)
          if (each.do === 'create') {
            const code = await codeOf(house.create(each.name, { isRoom: each.ttlMs !== undefined, ttlMs: each.ttlMs }))
            expect(code === 'channel.exists').toBe(model.has(each.name))
            if (!model.has(each.name)) model.set(each.name, house.clock.now() + (each.ttlMs ?? Number.POSITIVE_INFINITY))
          } else if (each.do === 'remove') {
            expect((await codeOf(house.remove(each.name))) === 'channel.unknown').toBe(!model.delete(each.name))
          } else if (each.do === 'publish') {
            await house.publish('ada', each.name, 1)
            if (!model.has(each.name)) model.set(each.name, Number.POSITIVE_INFINITY)
          } else if (each.do === 'wait') await house.clock.advance(1_900)
          else await house[each.do]()
          await house.clock.advance(100)
        }
        const listed = (await house.list()).channels.map((channel) => channel.name)
        const now = house.clock.now()
        expect(listed).toEqual(
          [...model]
            .filter(([known, at]) => at > now && known !== 'private_x')
            .map(([known]) => known)
            .sort(),
        )
      }),
      { seed: 15, numRuns: 60 },
    )
  })
})
