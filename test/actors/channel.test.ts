import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { ChannelMessage, Position } from '../../actors/output.ts'
import { openLmdbJournals } from '../../src/storage/lmdb.ts'
import { SeededRandom, type TestWorld, testWorld } from '../support/world.ts'
import { bodiesOf, ChannelHouse, type Numbers, numbered, offsetsOf } from './channelHouse.ts'
import { codeOf, quiet, track } from './house.ts'

describe('publishing', () => {
  it('[CH1] nobody hears a message or its offset before it is on disk', async () => {
    const house = await ChannelHouse.boot()
    await house.join('bob', 'news')
    house.disk.hold()
    const published = track(house.publish('ada', 'news', 'hello'))
    await quiet()
    expect([published.state, house.bodies('bob')]).toEqual(['open', []])
    house.disk.release()
    await quiet()
    expect(published.value).toMatchObject({ message: { channel: 'news', offset: 1, body: 'hello', user: 'ada' }, isRepeated: false })
    expect(house.bodies('bob')).toEqual(['hello'])
  })

  it('[CH2] every member hears every message in the order of the offsets, its own too, and the very same object', async () => {
    const house = await ChannelHouse.boot()
    for (const client of ['ada', 'bob', 'eve']) await house.join(client, 'news')
    await Promise.all(numbered(1, 50).map((n) => house.publish(n % 2 === 0 ? 'ada' : 'bob', 'news', n)))
    const offsets = numbered(1, 50)
    for (const client of ['ada', 'bob', 'eve']) expect(offsetsOf(house.messages(client))).toEqual(offsets)
    expect(house.bodies('eve')).toEqual(house.bodies('ada'))
    expect(house.messages('eve')[7]).toBe(house.messages('ada')[7])
    expect(Object.isFrozen(house.messages('eve')[7])).toBe(true)
  })

  it('[CH3] what waits together is one append and one publication; while the disk is busy nothing else is under way', async () => {
    const house = await ChannelHouse.boot()
    await house.join('bob', 'news')
    await house.publish('ada', 'news', 0)
    const before = house.disk.commits
    house.disk.hold()
    const all = numbered(1, 40).map((n) => house.publish('ada', 'news', n))
    await quiet()
    expect(house.disk.waiting).toBe(1)
    house.disk.release()
    await house.clock.advance(10)
    await Promise.all(all)
    expect(house.disk.commits - before).toBeLessThanOrEqual(2)
    expect(house.hears('bob').filter(({ type }) => type === 'output.messages').length).toBeLessThanOrEqual(3)
    expect(house.bodies('bob')).toEqual(numbered(0, 40))
  })

  it('[CH4] an idle channel stores at once; a busy one waits for company, the longer the more members, up to the limit', async () => {
    const house = await ChannelHouse.boot({ maxWindowMs: 6 })
    for (let i = 0; i < 100; i++) await house.join(`c${i}`, 'news')
    await house.clock.advance(1_000)
    await house.publish('ada', 'news', 1)
    const second = track(house.publish('ada', 'news', 2))
    await house.clock.advance(5)
    expect(second.state).toBe('open')
    await house.clock.advance(1)
    expect(second.state).toBe('kept')
  })

  it('[CH5] a publisher need not be a member, and a message keeps everything that it came with', async () => {
    const house = await ChannelHouse.boot()
    await house.join('bob', 'news')
    const draft = { sender: 'The Boss', kind: 'event', room: 'news', metadata: { a: { b: 1 } }, id: 'own' }
    const body = { text: '\ud800 lone, \u0001 and "quotes"', list: [1, null, true] }
    await house.publish('ada', 'news', body, draft)
    await house.crash()
    const { messages } = await house.history('news')
    expect(messages).toEqual(house.messages('bob'))
    expect(messages[0]).toMatchObject({ ...draft, body, user: 'ada', client: 'id of ada', offset: 1 })
  })
})

describe('a message that is no JSON', () => {
  it('[CH44] is refused, and the channel goes on', async () => {
    const house = await ChannelHouse.boot()
    for (const body of [undefined, 1n, () => 1]) expect(await codeOf(house.publish('ada', 'news', body as never))).toBe('message.malformed')
    expect(await codeOf(house.publish('ada', 'news', 1, { metadata: { n: 1n } as never }))).toBe('message.malformed')
    await house.publish('ada', 'news', null)
    await house.crash()
    expect(bodiesOf((await house.history('news')).messages)).toEqual([null])
  })
})

describe('a repeated message', () => {
  it('[CH6] is there once, and answered with the offset of the first', async () => {
    const house = await ChannelHouse.boot()
    await house.join('bob', 'news')
    const first = await house.publish('ada', 'news', 'x', { id: 'm1' })
    const second = await house.publish('ada2', 'news', 'x', { id: 'm1' })
    expect(second).toEqual({ message: { ...first.message, client: 'id of ada2' }, isRepeated: true })
    expect(house.bodies('bob')).toEqual(['x'])
    await house.publish('ada', 'news', 'x', { id: 'm2' })
    expect(house.bodies('bob')).toEqual(['x', 'x'])
  })

  it('[CH7] is recognised while the first is on its way to disk, and shares its fate', async () => {
    const house = await ChannelHouse.boot()
    house.disk.hold()
    const both = ['ada', 'ada2'].map((client) => track(house.publish(client, 'news', 'x', { id: 'm1' })))
    await quiet()
    expect(both.map(({ state }) => state)).toEqual(['open', 'open'])
    house.disk.release()
    await quiet()
    expect(both.map(({ value }) => value)).toMatchObject([
      { isRepeated: false, message: { offset: 1 } },
      { isRepeated: true, message: { offset: 1 } },
    ])
    house.disk.hold()
    const refused = ['ada', 'ada2'].map((client) => track(house.publish(client, 'news', 'y', { id: 'm2' })))
    await quiet()
    house.disk.refuse('storage.full')
    house.disk.release()
    await quiet()
    expect(refused.map(({ value }) => value)).toEqual(['storage.full', 'storage.full'])
    house.disk.refuse(undefined)
    expect(await house.publish('ada', 'news', 'y', { id: 'm2' })).toMatchObject({ isRepeated: false, message: { offset: 2 } })
  })

  it('[CH8] with another content is refused', async () => {
    const house = await ChannelHouse.boot()
    await house.publish('ada', 'news', { a: 1 }, { id: 'm1' })
    expect(await codeOf(house.publish('ada', 'news', { a: 2 }, { id: 'm1' }))).toBe('message.id_reused')
    expect(house.observed.refused).toEqual(['message.id_reused'])
    expect((await house.history('news')).messages).toHaveLength(1)
  })

  it('[CH9] of another publisher is another message; clients without a name are one publisher, whatever their connection', async () => {
    const house = await ChannelHouse.boot()
    await house.publish('ada', 'news', 1, { id: 'm' })
    expect((await house.publish('bob', 'news', 2, { id: 'm' })).isRepeated).toBe(false)
    const nameless = (client: string) => house.publish(client, 'news', 3, { id: 'm', client, user: client, sender: client })
    expect((await nameless('connection-1')).isRepeated).toBe(false)
    expect((await nameless('connection-2')).isRepeated).toBe(true)
    const guest = { client: 'connection-3', user: 'guest:connection-3', sender: 'guest:connection-3' }
    expect((await house.publish('guest', 'news', 3, { id: 'm', ...guest })).isRepeated).toBe(true)
  })

  it.each(['crash', 'reboot'] as const)('[CH10] is recognised after a %s, and a content that differs is still refused', async (how) => {
    const house = await ChannelHouse.boot()
    const first = await house.publish('ada', 'news', { z: 1, 2: [], a: 'é' }, { id: 'm1' })
    await house.publish('ada', 'news', 'no id')
    await house[how]()
    const again = await house.publish('ada', 'news', { z: 1, 2: [], a: 'é' }, { id: 'm1' })
    expect(again).toEqual({ message: first.message, isRepeated: true })
    expect(await codeOf(house.publish('ada', 'news', 'other', { id: 'm1' }))).toBe('message.id_reused')
  })

  it.each(['live', 'after a restart'])('[CH11] is remembered for so many ids and so long (%s)', async (when) => {
    const house = await ChannelHouse.boot({ repeatMessages: 10, repeatMs: 60_000 })
    for (const n of numbered(1, 15)) await house.publish('ada', 'news', n, { id: `m${n}` })
    if (when !== 'live') await house.crash()
    const isRepeated = async (n: number) => (await house.publish('ada', 'news', n, { id: `m${n}` })).isRepeated
    expect([await isRepeated(6), await isRepeated(5)]).toEqual([true, false])
    await house.clock.advance(60_001)
    expect(await isRepeated(15)).toBe(false)
  })
})

describe('a disk that refuses', () => {
  it.each(['storage.full', 'storage.failed'] as const)(
    '[CH12] %s: the publisher is told, nobody hears it, nothing of it stays',
    async (code) => {
      const house = await ChannelHouse.boot()
      await house.join('bob', 'news')
      await house.publish('ada', 'news', 1)
      house.disk.refuse(code)
      expect(await codeOf(house.publish('ada', 'news', 2))).toBe(code)
      expect(await codeOf(house.publish('ada', 'news', 2))).toBe(code)
      house.disk.refuse(undefined)
      expect((await house.publish('ada', 'news', 3)).message.offset).toBe(2)
      expect(house.bodies('bob')).toEqual([1, 3])
      await house.crash()
      expect(bodiesOf((await house.history('news')).messages)).toEqual([1, 3])
      expect(house.observed.refused).toEqual([code, code])
    },
  )

  it('[CH13] another writer in the journal: what waits is refused, and the next one takes up what is there', async () => {
    const house = await ChannelHouse.boot()
    await house.publish('ada', 'news', 1)
    const [entry] = await house.journals.read('channel/news')
    await house.journals.append('channel/news', [entry?.data ?? new Uint8Array()])
    const both = ['x', 'y'].map((body) => track(house.publish('ada', 'news', body)))
    await house.clock.advance(100)
    expect(both.map(({ value }) => value)).toEqual(['channel.unavailable', 'channel.unavailable'])
    expect((await house.publish('ada', 'news', 3)).message.offset).toBe(3)
    expect(bodiesOf((await house.history('news')).messages)).toEqual([1, 1, 3])
  })

  it('[CH14] one message that is too large for the journal is refused alone', async () => {
    const house = await ChannelHouse.boot({}, { disk: { maxEntryBytes: 1_000 } })
    await house.publish('ada', 'news', 0)
    const all = [1, 'x'.repeat(2_000), 2, 3].map((body) => track(house.publish('ada', 'news', body)))
    await house.clock.advance(100)
    expect(all.map(({ state }) => state)).toEqual(['kept', 'broken', 'kept', 'kept'])
    expect(bodiesOf((await house.history('news')).messages)).toEqual([0, 1, 2, 3])
  })

  it('[CH15] what waits for a slow disk is bounded', async () => {
    const house = await ChannelHouse.boot({}, { disk: { maxEntryBytes: 4_000_000 } })
    await house.publish('ada', 'news', 0)
    house.disk.hold()
    const big = 'x'.repeat(3_000_000)
    const all = numbered(1, 8).map(() => track(house.publish('ada', 'news', big)))
    await quiet()
    expect(all.map(({ value }) => value)).toContain('channel.unavailable')
    expect(all.filter(({ state }) => state === 'open').length).toBeGreaterThan(4)
    house.disk.release()
    await house.clock.advance(1_000)
    expect(all.every(({ state }) => state !== 'open')).toBe(true)
  })
})

describe('joining', () => {
  it('[CH16] gives what comes after the offset of the answer, and nothing before it', async () => {
    const house = await ChannelHouse.boot()
    await house.publishAll('ada', 'news', [1, 2])
    const joined = await house.join('bob', 'news')
    expect(joined).toMatchObject({ offset: 2, messages: [], isNew: true, isAnnounced: true, info: { name: 'news', isRoom: false } })
    expect(joined.isRecovered).toBeUndefined()
    expect(joined.epoch).not.toBe('')
    await house.publish('ada', 'news', 3)
    expect(house.bodies('bob')).toEqual([3])
  })

  it('[CH17] twice by one connection is joining once, answered like the first time', async () => {
    const house = await ChannelHouse.boot()
    await house.join('eve', 'news')
    await house.join('ada', 'news')
    await house.publish('bob', 'news', 1)
    const again = await house.join('ada', 'news', { rewind: { count: 5 } })
    expect(again).toMatchObject({ offset: 1, isNew: false, isAnnounced: false, messages: [{ body: 1 }] })
    await house.publish('bob', 'news', 2)
    expect(house.bodies('ada')).toEqual([1, 2])
    expect(house.news('eve')).toEqual(['ada joined'])
  })

  it('[CH18] who left hears nothing more, and leaving twice is leaving once', async () => {
    const house = await ChannelHouse.boot()
    await house.join('ada', 'news')
    expect(await house.leave('ada', 'news')).toBe(true)
    expect(await house.leave('ada', 'news')).toBe(false)
    await house.publish('bob', 'news', 1)
    expect(house.bodies('ada')).toEqual([])
  })

  it('[CH19] `rewind` gives the last messages: so many, or those since a time, and never more than may be replayed', async () => {
    const house = await ChannelHouse.boot({ replayMessages: 20 })
    for (const n of numbered(1, 60)) {
      await house.clock.advance(1_000)
      await house.publish('ada', 'news', n)
    }
    const rewound = async (rewind: { count: number } | { since: number }) =>
      bodiesOf((await house.join('bob', 'news', { rewind })).messages)
    expect(await rewound({ count: 3 })).toEqual([58, 59, 60])
    expect(await rewound({ count: 0 })).toEqual([])
    expect(await rewound({ count: 1_000 })).toEqual(numbered(41, 60))
    expect(await rewound({ since: house.clock.now() - 4_000 })).toEqual([56, 57, 58, 59, 60])
    expect(await rewound({ since: 0 })).toEqual(numbered(41, 60))
    expect(await rewound({ since: house.clock.now() + 1 })).toEqual([])
  })
})

describe('recovery', () => {
  const filled = async (numbers = {}) => {
    const house = await ChannelHouse.boot({ replayMessages: 20, ...numbers })
    await house.publishAll('ada', 'news', numbered(1, 30))
    const { epoch } = await house.describe('news')
    const recover = async (offset: number, from = epoch) => {
      const { isRecovered, messages } = await house.join('bob', 'news', { recover: { epoch: from, offset } })
      return [isRecovered, bodiesOf(messages)] as const
    }
    return { house, epoch, recover }
  }

  it.each(['live', 'after a crash'])('[CH20] gives exactly what was missed, up to the limit (%s)', async (when) => {
    const { house, recover } = await filled()
    if (when !== 'live') await house.crash()
    expect(await recover(30)).toEqual([true, []])
    expect(await recover(27)).toEqual([true, [28, 29, 30]])
    expect(await recover(10)).toEqual([true, numbered(11, 30)])
    expect(await recover(9)).toEqual([false, []])
    expect(house.observed.recovered).toEqual(['recovered', 'recovered', 'recovered', 'lost'])
  })

  it('[CH21] of another epoch, or of an offset that is not there, is refused', async () => {
    const { recover } = await filled()
    expect(await recover(29, 'other')).toEqual([false, []])
    expect(await recover(31)).toEqual([false, []])
    expect(await recover(-1)).toEqual([false, []])
  })

  it('[CH22] who had joined a channel before its first message is at the beginning', async () => {
    const house = await ChannelHouse.boot()
    const { epoch, offset } = await house.join('bob', 'news')
    expect([epoch, offset]).toEqual(['', 0])
    expect((await house.join('bob', 'news', { recover: { epoch, offset } })).isRecovered).toBe(true)
    await house.publishAll('ada', 'news', [1, 2])
    const { isRecovered, messages } = await house.join('bob', 'news', { recover: { epoch, offset } })
    expect([isRecovered, bodiesOf(messages)]).toEqual([true, [1, 2]])
    expect((await house.join('bob', 'empty', { recover: { epoch: 'gone', offset: 0 } })).isRecovered).toBe(false)
  })

  it('[CH23] over messages that are no longer kept is refused', async () => {
    const { house, recover } = await filled({ historyMessages: 10 })
    expect(await recover(20)).toEqual([true, numbered(21, 30)])
    expect(await recover(19)).toEqual([false, []])
    await house.publishAll('ada', 'news', numbered(31, 60))
    expect(await recover(50)).toEqual([true, numbered(51, 60)])
    expect(await recover(49)).toEqual([false, []])
  })

  it('[CH24] while others publish: the answer and what comes live are the whole sequence', async () => {
    const { house, epoch } = await filled()
    await house.crash({ replayMessages: 1_000 })
    const joins = numbered(1, 10).map(async (n) => {
      const join = house.join(`c${n}x`, 'news', { recover: { epoch, offset: 20 } })
      void house.publish('ada', 'news', 30 + n)
      return join
    })
    const answers = await Promise.all(joins)
    await house.clock.advance(1_000)
    for (const [i, { messages, isRecovered }] of answers.entries()) {
      expect(isRecovered).toBe(true)
      expect([...bodiesOf(messages), ...house.bodies(`c${i + 1}x`)]).toEqual(numbered(21, 40))
    }
  })

  it('[CH25] that would be more than 2 MiB is refused; a rewind is cut', async () => {
    const house = await ChannelHouse.boot({ replayMessages: 50 })
    const big = 'x'.repeat(125_000)
    for (const n of numbered(1, 20)) await house.publish('ada', 'news', `${n}${big}`)
    const { epoch } = await house.describe('news')
    expect((await house.join('bob', 'news', { recover: { epoch, offset: 0 } })).isRecovered).toBe(false)
    expect((await house.join('bob', 'news', { recover: { epoch, offset: 10 } })).messages).toHaveLength(10)
    const { messages } = await house.join('bob', 'news', { rewind: { count: 20 } })
    expect(offsetsOf(messages)).toEqual(numbered(20 - messages.length + 1, 20))
    expect(messages.length).toBeGreaterThan(10)
    expect(messages.length).toBeLessThan(20)
  })
})

describe('a cursor', () => {
  it('[CH26] is where a reader by that name goes on, in the next process too', async () => {
    const house = await ChannelHouse.boot()
    const read = async (client: string) => bodiesOf((await house.join(client, 'private_bob', { isPresent: false, cursor: 'bob' })).messages)
    await house.publishAll('ada', 'private_bob', [1, 2, 3])
    expect(await read('bob')).toEqual([1, 2, 3])
    await house.ask('bob', 'channel/private_bob', { type: 'channel.seen', cursor: 'bob', offset: 2 })
    expect(await read('bob2')).toEqual([3])
    await house.clock.advance(1_000)
    await house.crash()
    expect(await read('bob3')).toEqual([3])
    await house.ask('bob3', 'channel/private_bob', { type: 'channel.seen', cursor: 'bob', offset: 99 })
    await house.ask('bob3', 'channel/private_bob', { type: 'channel.seen', cursor: 'bob', offset: 1 })
    expect(await read('bob4')).toEqual([])
    await house.reboot()
    expect(await read('bob5')).toEqual([])
    await house.publish('ada', 'private_bob', 4)
    expect(house.bodies('bob5')).toEqual([4])
  })

  it('[CH27] that was not saved before a crash gives messages again, and never skips one', async () => {
    const house = await ChannelHouse.boot()
    await house.publishAll('ada', 'private_bob', [1, 2])
    await house.join('bob', 'private_bob', { isPresent: false, cursor: 'bob' })
    await house.ask('bob', 'channel/private_bob', { type: 'channel.seen', cursor: 'bob', offset: 2 })
    await house.crash()
    expect((await house.join('bob', 'private_bob', { cursor: 'bob' })).messages).toHaveLength(2)
  })

  it('[CH28] that the disk refuses is saved later', async () => {
    const house = await ChannelHouse.boot()
    await house.publish('ada', 'private_bob', 1)
    house.disk.refuse('storage.full')
    await house.ask('bob', 'channel/private_bob', { type: 'channel.seen', cursor: 'bob', offset: 1 })
    await house.clock.advance(2_000)
    house.disk.refuse(undefined)
    await house.clock.advance(10_000)
    await house.crash()
    expect((await house.join('bob', 'private_bob', { cursor: 'bob' })).messages).toEqual([])
  })
})

describe('history', () => {
  const filled = async (count = 1_200) => {
    const house = await ChannelHouse.boot({ replayMessages: 30 })
    for (let n = 1; n <= count; n += 100) {
      await house.publishAll('ada', 'news', numbered(n, Math.min(count, n + 99)))
      await house.clock.advance(1_000)
    }
    return house
  }

  it('[CH29] gives the newest, or the oldest, of a range of offsets, ascending, and says whether there is more', async () => {
    const house = await filled()
    const page = async (range: object) => {
      const { messages, hasMore } = await house.history('news', range)
      return [offsetsOf(messages), hasMore]
    }
    expect(await page({})).toEqual([numbered(1_151, 1_200), true])
    expect(await page({ limit: 5 })).toEqual([numbered(1_196, 1_200), true])
    expect(await page({ limit: 3, direction: 'forwards' })).toEqual([[1, 2, 3], true])
    expect(await page({ limit: 3, before: 4 })).toEqual([[1, 2, 3], false])
    expect(await page({ limit: 3, before: 5 })).toEqual([[2, 3, 4], true])
    expect(await page({ limit: 3, after: 1_197, direction: 'forwards' })).toEqual([[1_198, 1_199, 1_200], false])
    expect(await page({ after: 1_197 })).toEqual([[1_198, 1_199, 1_200], false])
    expect(await page({ after: 1_200 })).toEqual([[], false])
    expect(await page({ before: 1 })).toEqual([[], false])
    expect(await page({ limit: 5_000 })).toEqual([numbered(201, 1_200), true])
    expect(await page({ limit: 5_000, direction: 'forwards' })).toEqual([numbered(1, 1_000), true])
    expect(await page({ after: 100, before: 104, direction: 'forwards' })).toEqual([[101, 102, 103], false])
    expect(await house.history('news')).toMatchObject({ first: 1, offset: 1_200 })
  })

  it('[CH30] finds times in the journal and in memory, both ends included', async () => {
    const house = await filled()
    const { messages: all } = await house.history('news', { limit: 1_000 })
    const timeOf = (offset: number) => all.find((message) => message.offset === offset)?.time ?? 0
    const found = async (range: object) => offsetsOf((await house.history('news', { limit: 1_000, ...range })).messages)
    expect(await found({ since: timeOf(901) })).toEqual(numbered(901, 1_200))
    expect(await found({ since: timeOf(901), until: timeOf(901) })).toEqual(numbered(901, 1_000))
    expect(await found({ until: timeOf(301) - 1 })).toEqual(numbered(1, 300))
    expect(await found({ since: timeOf(901) + 1, until: timeOf(901) + 2 })).toEqual([])
    expect(await found({ since: timeOf(1_101), after: 1_190 })).toEqual(numbered(1_191, 1_200))
    expect(await found({ since: house.clock.now() + 1 })).toEqual([])
  })

  it('[CH31] of an empty channel is empty, and asking makes no journal', async () => {
    const house = await ChannelHouse.boot()
    expect(await house.history('news')).toEqual({ messages: [], epoch: '', first: 1, offset: 0, hasMore: false })
    await house.join('bob', 'news')
    await house.reboot()
    expect(await house.journals.list('channel/')).toEqual([])
  })

  it('[CH32] a page is cut at 2 MiB, and says that there is more', async () => {
    const house = await ChannelHouse.boot()
    for (const n of numbered(1, 20)) await house.publish('ada', 'news', `${n}${'x'.repeat(125_000)}`)
    const back = await house.history('news', { limit: 20 })
    const forth = await house.history('news', { limit: 20, direction: 'forwards' })
    expect(offsetsOf(back.messages)).toEqual(numbered(21 - back.messages.length, 20))
    expect(offsetsOf(forth.messages)).toEqual(numbered(1, forth.messages.length))
    expect([back.hasMore, forth.hasMore]).toEqual([true, true])
    expect(back.messages.length).toBeGreaterThan(10)
  })
})

describe('retention', () => {
  it('[CH33] no more messages are to be had than are kept; the journal is trimmed now and then', async () => {
    const house = await ChannelHouse.boot({ historyMessages: 100 })
    let trims = 0
    const { trim } = house.journals
    house.journals.trim = (...args) => {
      trims++
      return trim.apply(house.journals, args)
    }
    for (const n of numbered(1, 400)) await house.publish('ada', 'news', n)
    expect(await house.history('news', { limit: 1_000 })).toMatchObject({
      first: 301,
      offset: 400,
      messages: { length: 100 },
      hasMore: false,
    })
    expect(trims).toBeGreaterThan(5)
    expect(trims).toBeLessThan(30)
    expect((await house.journals.head('channel/news')).first).toBeGreaterThan(270)
    await house.crash()
    expect((await house.history('news', { limit: 1_000, direction: 'forwards' })).messages[0]?.body).toBe(301)
  })

  it('[CH34] a channel that keeps nothing still delivers, and says honestly that there is nothing to recover', async () => {
    const house = await ChannelHouse.boot({ historyMessages: 0 })
    await house.join('bob', 'news')
    await house.publishAll('ada', 'news', [1, 2, 3])
    expect(house.bodies('bob')).toEqual([1, 2, 3])
    const { epoch } = await house.describe('news')
    expect((await house.join('bob', 'news', { recover: { epoch, offset: 3 } })).isRecovered).toBe(true)
    expect((await house.join('bob', 'news', { recover: { epoch, offset: 2 } })).isRecovered).toBe(false)
    expect(await house.history('news')).toMatchObject({ messages: [], first: 4, offset: 3 })
    expect((await house.publish('ada', 'news', 4, { id: 'm' })).message.offset).toBe(4)
    expect((await house.publish('ada', 'news', 4, { id: 'm' })).isRepeated).toBe(true)
  })

  it('[CH35] messages that are too old go, at load and while somebody listens; offsets and epoch go on', async () => {
    const day = 24 * 3_600_000
    const house = await ChannelHouse.boot({ historyMs: 2 * day })
    await house.publishAll('ada', 'news', [1, 2])
    const { epoch } = await house.describe('news')
    await house.clock.advance(1.5 * day)
    await house.publish('ada', 'news', 3)
    await house.join('bob', 'news')
    await house.clock.advance(0.6 * day)
    expect(await house.history('news')).toMatchObject({ first: 3, offset: 3, epoch })
    await house.crash()
    await house.clock.advance(3 * day)
    expect(await house.history('news')).toMatchObject({ first: 4, offset: 3, messages: [], epoch })
    expect((await house.publish('ada', 'news', 4)).message.offset).toBe(4)
  })
})

describe('a channel that nobody uses any more', () => {
  it('[CH47] forgets its old messages within a day, on the disk too, and leaves memory again', async () => {
    const day = 24 * 3_600_000
    const house = await ChannelHouse.boot({ historyMs: 2 * day })
    for (const n of numbered(1, 100)) await house.publish('ada', `c${n}`, n)
    await house.reboot()
    for (let days = 0; days < 3; days++) await house.clock.advance(day)
    await house.clock.advance(10_000)
    expect((await house.journals.head('channel/c1')).first).toBe(2)
    expect((await house.journals.head('channel/c100')).first).toBe(2)
    expect(house.system.counts().get('channel')).toBe(0)
    await house.publish('ada', 'c1', 'young')
    await house.clock.advance(1.5 * day)
    expect((await house.history('c1')).messages).toHaveLength(1)
  })
})

describe('the life of a channel', () => {
  it('[CH36] it leaves memory when nobody is in it and nothing waits, and comes back as it was', async () => {
    const house = await ChannelHouse.boot()
    await house.join('bob', 'news')
    const { message } = await house.publish('ada', 'news', 1)
    await house.clock.advance(400_000)
    expect(house.isThere('channel/news')).toBe(true)
    await house.leave('bob', 'news')
    await house.clock.advance(400_000)
    expect(house.isThere('channel/news')).toBe(false)
    expect((await house.history('news')).messages).toEqual([message])
  })

  it('[CH37] where channels are not made by joining, one that nobody created is refused and leaves no trace', async () => {
    const house = await ChannelHouse.boot({ autoCreate: false })
    expect(await codeOf(house.join('bob', 'news'))).toBe('channel.unknown')
    expect(await codeOf(house.publish('bob', 'news', 1))).toBe('channel.unknown')
    expect(house.isThere('channel/news')).toBe(false)
    await house.create('news')
    expect((await house.publish('bob', 'news', 1)).message.offset).toBe(1)
    expect((await house.publish('bob', 'private_ada', 1)).message.offset).toBe(1)
  })

  it('[CH38] a channel that fails stops, and whoever watched it can come back with what it has', async () => {
    const house = await ChannelHouse.boot()
    const { epoch } = (await house.publish('ada', 'news', 1)).message
    await house.join('bob', 'news')
    const reasons: string[] = []
    house.system.watch('channel/news', ({ reason }) => reasons.push(reason))
    expect(await codeOf(house.ask('ada', 'channel/news', { type: 'channel.publish' }))).toBe('actor.failed') // no draft
    expect(reasons).toEqual(['failed'])
    await house.publish('ada', 'news', 2)
    expect(bodiesOf((await house.join('bob', 'news', { recover: { epoch, offset: 1 } })).messages)).toEqual([2])
  })

  it('[CH39] nobody but an actor joins, and only a member has a status', async () => {
    const house = await ChannelHouse.boot()
    const join = { type: 'channel.join', user: 'ada', status: 'online', isPresent: true }
    expect(await codeOf(house.system.ask('channel/news', join))).toBe('channel.not_joined')
    expect(await codeOf(house.ask('ada', 'channel/news', { type: 'channel.status', status: 'away' } as never))).toBe('channel.not_joined')
  })

  it('[CH40] channels of two tenants are two channels, known by the same name', async () => {
    const house = await ChannelHouse.boot()
    await house.join('bob', '~acme/news')
    await house.publish('ada', 'news', 1)
    await house.publish('ada', '~acme/news', 2)
    expect(house.messages('bob')).toMatchObject([{ channel: 'news', body: 2, offset: 1 }])
    expect((await house.list({}, '~acme')).channels).toMatchObject([{ name: 'news' }])
  })
})

describe('removal', () => {
  it('[CH41] what is on its way to disk is published, what waits is refused, then every member is told', async () => {
    const house = await ChannelHouse.boot()
    await house.join('bob', 'news')
    house.disk.hold()
    const committing = track(house.publish('ada', 'news', 1))
    await quiet()
    const waiting = track(house.publish('ada', 'news', 2))
    const removed = track(house.ask('ada', 'channel/news', { type: 'channel.remove', reason: 'expired', isRoom: true }))
    await quiet()
    expect([committing.state, waiting.value, removed.state]).toEqual(['open', 'channel.closed', 'open'])
    house.disk.release()
    await house.clock.advance(100)
    expect([committing.state, removed.state]).toEqual(['kept', 'kept'])
    expect(house.hears('bob')).toMatchObject([
      { type: 'output.messages', messages: [{ body: 1 }] },
      { type: 'output.closed', channel: 'news', reason: 'expired', isRoom: true },
    ])
    expect(await house.journals.list('channel/')).toEqual([])
    expect(house.isThere('channel/news')).toBe(false)
  })

  it('[CH42] the next channel of this name begins anew, with another epoch', async () => {
    const house = await ChannelHouse.boot()
    const { message } = await house.publish('ada', 'news', 1, { id: 'm1' })
    await house.remove('news')
    const next = await house.join('bob', 'news', { recover: { epoch: message.epoch, offset: 1 } })
    expect(next).toMatchObject({ isRecovered: false, offset: 0, isNew: true })
    const again = await house.publish('ada', 'news', 1, { id: 'm1' })
    expect(again).toMatchObject({ isRepeated: false, message: { offset: 1 } })
    expect(again.message.epoch).not.toBe(message.epoch)
  })

  it('[CH48] whoever joins as soon as he hears of the end finds the next one', async () => {
    const house = await ChannelHouse.boot({}, { disk: { flushMs: () => 3 } })
    const joined = track(house.join('bob', 'news'))
    await house.clock.advance(100)
    expect(joined.state).toBe('kept')
    void house.publish('ada', 'news', 1)
    await house.clock.advance(100)
    void house.remove('news')
    for (let ms = 0; ms < 100 && house.hears('bob').at(-1)?.type !== 'output.closed'; ms++) await house.clock.advance(1)
    const again = track(house.join('bob', 'news'))
    await house.clock.advance(100)
    expect(again.value).toMatchObject({ epoch: '', offset: 0, isNew: true })
  })

  it('[CH43] refuses requests while it goes on, and takes no new member', async () => {
    const house = await ChannelHouse.boot()
    await house.publish('ada', 'news', 1)
    house.disk.hold()
    const removed = track(house.remove('news'))
    await quiet()
    house.disk.flush(2) // the directory has written it down; the journal is still there
    await quiet()
    const refused = await Promise.all([house.publish('ada', 'news', 2), house.join('bob', 'news')].map((ask) => codeOf(ask)))
    expect(refused).toEqual(['channel.closed', 'channel.closed'])
    house.disk.release()
    await house.clock.advance(100)
    expect(removed.state).toBe('kept')
    expect(await house.history('news')).toMatchObject({ messages: [], epoch: '' })
  })
})

describe('on a real disk', () => {
  const onDisk = async (numbers: Partial<Numbers> = {}) => {
    const directory = await mkdtemp(join(tmpdir(), 'troupe-channels-'))
    directories.push(directory)
    const open = ({ clock, random, log }: TestWorld) => openLmdbJournals({ directory, clock, random, log, ballastBytes: 0 })
    return ChannelHouse.boot(numbers, { open })
  }

  const directories: string[] = []
  const houses: ChannelHouse[] = []
  afterEach(async () => {
    for (const house of houses.splice(0)) {
      await house.system.close()
      await house.journals.close()
    }
    for (const directory of directories.splice(0)) await rm(directory, { recursive: true, force: true })
  })

  it('[CH45] order, history, recovery, repeats, retention and removal are the same, over a restart', async () => {
    const house = await onDisk({ historyMessages: 200, replayMessages: 50 })
    houses.push(house)
    await house.join('bob', 'news')
    await house.publishAll('ada', 'news', numbered(1, 300))
    const last = await house.publish('ada', 'news', 'last', { id: 'last' })
    expect(house.bodies('bob')).toEqual([...numbered(1, 300), 'last'])
    const { epoch } = last.message
    await house.reboot()
    expect(await house.publish('ada', 'news', 'last', { id: 'last' })).toEqual({ message: last.message, isRepeated: true })
    const page = await house.history('news', { limit: 1_000, direction: 'forwards' })
    expect([page.first, page.offset, page.epoch, offsetsOf(page.messages)]).toEqual([102, 301, epoch, numbered(102, 301)])
    const recover = async (offset: number) => {
      const { isRecovered, messages } = await house.join('bob2', 'news', { recover: { epoch, offset } })
      return [isRecovered, offsetsOf(messages)]
    }
    expect(await recover(251)).toEqual([true, numbered(252, 301)])
    expect(await recover(250)).toEqual([false, []])
    await house.remove('news')
    await house.reboot()
    expect(await house.journals.list('channel/')).toEqual([])
    const next = await house.publish('ada', 'news', 'new')
    expect(next.message.offset).toBe(1)
    expect(next.message.epoch).not.toBe(epoch)
  })
})

describe('publishers that retry and subscribers that come back, through crashes, refusals and removals of memory', () => {
  /** Publishes until it is acknowledged, with the same id. */
  interface Publisher {
    readonly name: string
    sent: number
    open: { readonly id: string; readonly body: number; tries: number } | undefined
    readonly acknowledged: Map<string, number>
  }

  /** What a client keeps: the position, and all that it has seen since it last had to start anew. */
  interface Subscriber {
    readonly name: string
    /** Connections so far. */
    life: number
    state: 'away' | 'joining' | 'there'
    position: Position | undefined
    seen: ChannelMessage[]
  }

  const run = async (
    seed: number,
  ): Promise<{ acknowledged: number; repeated: number; recovered: number; lost: number; crashes: number }> => {
    const random = new SeededRandom(seed)
    const numbers = { historyMessages: 30, replayMessages: 8, repeatMessages: 10_000, idleMs: 500, graceMs: 300 }
    const house = await ChannelHouse.boot(numbers, { disk: { flushMs: () => random.below(12) }, world: testWorld(seed) })
    const publishers: Publisher[] = ['p', 'q', 'r'].map((name) => ({ name, sent: 0, open: undefined, acknowledged: new Map() }))
    const subscribers: Subscriber[] = ['s', 't', 'u', 'v'].map((name) => ({
      name,
      life: 0,
      state: 'away',
      position: undefined,
      seen: [],
    }))
    const counts = { acknowledged: 0, repeated: 0, recovered: 0, lost: 0, crashes: 0 }
    const failures: unknown[] = []
    /** In callbacks, where what is thrown reaches nobody. */
    const check = (assertion: () => void) => {
      try {
        assertion()
      } catch (error) {
        failures.push(error)
      }
    }

    const publish = (publisher: Publisher) => {
      publisher.open ??= { id: `${publisher.name}${++publisher.sent}`, body: publisher.sent, tries: 0 }
      const { open } = publisher
      const attempt = ++open.tries
      house.publish(publisher.name, 'news', open.body, { id: open.id }).then(
        ({ message, isRepeated }) => {
          const before = publisher.acknowledged.get(open.id) ?? message.offset
          check(() => expect(message.offset).toBe(before))
          publisher.acknowledged.set(open.id, message.offset)
          counts.acknowledged++
          if (isRepeated) counts.repeated++
          if (publisher.open === open && attempt === open.tries) publisher.open = undefined
        },
        () => {}, // it tries again
      )
    }

    /** Takes what came live into the sequence; a hole is a failure. */
    const take = (subscriber: Subscriber) => {
      if (subscriber.state !== 'there' || subscriber.position === undefined) return
      for (const message of house.messages(`${subscriber.name}${subscriber.life}`)) {
        if (message.offset <= subscriber.position.offset) continue
        expect(message.offset).toBe(subscriber.position.offset + 1)
        subscriber.seen.push(message)
        subscriber.position = { epoch: message.epoch, offset: message.offset }
      }
    }

    const disconnect = (subscriber: Subscriber) => {
      take(subscriber)
      if (subscriber.state !== 'away') house.lose(`${subscriber.name}${subscriber.life}`)
      subscriber.state = 'away'
    }

    const connect = (subscriber: Subscriber) => {
      const life = ++subscriber.life
      const recover = subscriber.position
      subscriber.state = 'joining'
      house.join(`${subscriber.name}${life}`, 'news', recover === undefined ? {} : { recover }).then(
        ({ epoch, offset, isRecovered, messages }) => {
          if (life !== subscriber.life || subscriber.state !== 'joining') return
          subscriber.state = 'there'
          subscriber.position = { epoch, offset }
          if (isRecovered === true) {
            counts.recovered++
            subscriber.seen.push(...messages)
            check(() => expect(offsetsOf(messages)).toEqual(numbered((recover?.offset ?? 0) + 1, offset)))
          } else {
            if (isRecovered === false) counts.lost++
            subscriber.seen = []
            check(() => expect(messages).toEqual([]))
          }
        },
        () => {
          if (life === subscriber.life) subscriber.state = 'away' // it tries again
        },
      )
    }

    for (let step = 0; step < 160; step++) {
      const what = random.below(20)
      if (what < 9) publish(random.pick(publishers))
      else if (what < 13) {
        const subscriber = random.pick(subscribers)
        if (subscriber.state === 'away') connect(subscriber)
        else if (random.chance(0.4)) disconnect(subscriber)
      } else if (what === 13) house.disk.refuse(random.chance(0.4) ? 'storage.full' : undefined)
      else if (what === 14 && random.chance(0.3)) house.system.stop('channel/news')
      else if (what === 15 && random.chance(0.4)) {
        for (const subscriber of subscribers) disconnect(subscriber)
        counts.crashes++
        if (random.chance(0.7)) await house.crash()
        else await house.reboot()
      } else await house.clock.advance(random.below(30))
      if (house.isThere('channel/news')) for (const subscriber of subscribers) take(subscriber)
      else for (const subscriber of subscribers) disconnect(subscriber)
    }

    house.disk.refuse(undefined)
    for (let i = 0; i < 50 && publishers.some(({ open }) => open !== undefined); i++) {
      for (const publisher of publishers) if (publisher.open !== undefined) publish(publisher)
      await house.clock.advance(2_000)
    }
    for (const subscriber of subscribers) if (subscriber.state === 'away') connect(subscriber)
    await house.clock.advance(10_000)
    for (const subscriber of subscribers) take(subscriber)

    expect(failures).toEqual([])
    const { first, offset } = await house.describe('news')
    const { messages } = await house.history('news', { limit: 1_000 })
    expect(offsetsOf(messages)).toEqual(numbered(first, offset))
    const ids = new Set<string>()
    for (const publisher of publishers) {
      expect(publisher.acknowledged.size).toBe(publisher.sent)
      for (const [id, at] of publisher.acknowledged) {
        expect(ids.has(id)).toBe(false)
        ids.add(id)
        if (at >= first) expect(messages.find((message) => message.offset === at)?.id).toBe(id)
      }
    }
    // Every message was acknowledged, and none is there twice: there are as many offsets as messages.
    expect(offset).toBe(ids.size)
    for (const { seen, position } of subscribers) {
      expect(position?.offset).toBe(offset)
      if (seen.length > 0) expect(offsetsOf(seen)).toEqual(numbered(offset - seen.length + 1, offset))
      for (const message of seen) if (message.offset >= first) expect(message).toEqual(messages[message.offset - first])
    }
    return counts
  }

  it('[CH46] each acknowledged message is there once, and everybody has the same sequence or knows that it starts anew (seeds 1 to 40)', async () => {
    const total = { acknowledged: 0, repeated: 0, recovered: 0, lost: 0, crashes: 0 }
    for (let seed = 1; seed <= 40; seed++) {
      try {
        const counts = await run(seed)
        for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += counts[key]
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error })
      }
    }
    expect(total.acknowledged).toBeGreaterThan(1_000)
    for (const key of ['repeated', 'recovered', 'lost', 'crashes'] as const)
      expect([key, total[key]]).toEqual([key, expect.toSatisfy((n: number) => n > 20)])
  })
})
