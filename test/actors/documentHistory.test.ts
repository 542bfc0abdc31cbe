import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import type { DocumentOptions } from '../../actors/document.ts'
import { TroupeError } from '../../actors/errors.ts'
import type {
  HistoryDifference,
  HistoryPage,
  HistoryRequest,
  HistoryView,
  NamedVersion,
  Pruned,
  Reversion,
} from '../../actors/historyMessages.ts'
import type { Compression } from '../../actors/historyOptions.ts'
import type { Journals } from '../../actors/journal.ts'
import { rootsOf } from '../../crdt/content.ts'
import { randomPast, textOf } from '../crdt/pasts.ts'
import { docOf } from '../crdt/sessions.ts'
import { until } from '../support/wait.ts'
import { DocumentHouse } from './documentHouse.ts'
import { codeOf, track } from './house.ts'

const compression: Compression = {
  compress: async (bytes) => deflateRawSync(bytes),
  decompress: async (compressed, maxOutputLength) => inflateRawSync(compressed, { maxOutputLength }),
}
const dayMs = 24 * 3_600_000

/** Compacts after each 20 changes. */
const options = (history: Partial<NonNullable<DocumentOptions['history']>> = {}): Partial<DocumentOptions> => ({
  history: { compression, keepMs: 0, ...history },
  compaction: { updates: 20, share: 0, bytes: 1e9 },
  retryMs: 20_000,
})

interface Answers {
  'document.history': HistoryPage
  'document.view': HistoryView
  'document.diff': HistoryDifference
  'document.version.list': readonly NamedVersion[]
  'document.version.create': NamedVersion
  'document.version.rename': NamedVersion
  'document.version.delete': undefined
  'document.restore': Reversion
  'document.rollback': Reversion
  'document.prune': Pruned
}

/** A document, and a second one beside it that is never forgotten: what it was after each change. */
class Story {
  readonly house: DocumentHouse
  readonly moments: Readonly<Record<string, unknown>>[] = [{}]
  readonly doc = new Y.Doc()
  #minute = 60_000

  constructor(house: DocumentHouse) {
    this.house = house
  }

  static async begin(given: Partial<DocumentOptions> = options()): Promise<Story> {
    return new Story(await DocumentHouse.open(given))
  }

  async add(user: string, update: Uint8Array): Promise<void> {
    await this.house.system.ask('document/d', { type: 'document.edit', update, author: { user, via: '' } })
    Y.applyUpdate(this.doc, update)
    this.moments.push(rootsOf(this.doc))
    await this.house.world.clock.advance(this.#minute)
  }

  async edit(user: string, change: (text: Y.Text, doc: Y.Doc) => void): Promise<void> {
    const before = Y.encodeStateVector(this.doc)
    const mine = docOf([Y.encodeStateAsUpdate(this.doc)])
    mine.clientID = 1 + [...user].reduce((sum, char) => sum * 31 + char.charCodeAt(0), 0)
    mine.transact(() => change(mine.getText('t'), mine))
    await this.add(user, Y.encodeStateAsUpdate(mine, before))
  }

  async write(user: string, ...words: readonly string[]): Promise<void> {
    for (const word of words) await this.edit(user, (text) => text.insert(text.length, word))
  }

  /** Time goes on meanwhile: with readers, what is to be stored waits for company. */
  async ask<Type extends HistoryRequest['type']>(request: Extract<HistoryRequest, { type: Type }>): Promise<Answers[Type]> {
    const answer = this.house.system.ask('document/d', request, { timeoutMs: 1e9 })
    const asked = track(answer)
    for (let left = 100; asked.state === 'open' && left > 0; left--) await this.house.world.clock.advance(1)
    return (await answer) as Answers[Type] // as the messages say
  }

  async view(offset: number) {
    return (await this.ask({ type: 'document.view', at: { offset }, withContent: true })).roots
  }

  async checkAll(from = 0): Promise<void> {
    for (let offset = from; offset < this.moments.length; offset++)
      expect([offset, await this.view(offset)]).toEqual([offset, this.moments[offset]])
  }

  /** The text of the live document. */
  text(): Promise<string> {
    return this.ask({ type: 'document.view', at: { time: Number.MAX_SAFE_INTEGER }, withContent: true }).then(({ roots }) =>
      textOf(roots.t),
    )
  }
}

describe('the past of a document', () => {
  for (const seed of [61, 62])
    it(`[HJ1] can be seen at every change, across compactions and crashes (seed ${seed})`, async () => {
      const story = await Story.begin()
      for (const [i, { update, author }] of randomPast(seed, 110).entries()) {
        await story.add(author.user, update)
        if (i % 37 === 36) await story.house.crash()
      }
      const { first: covered } = await story.house.journals.head('document/d')
      expect(covered).toBeGreaterThan(40)
      await story.checkAll()
    })

  it('[HJ1] is where it was when the entries move to the history while somebody looks', async () => {
    const story = await Story.begin()
    await story.write('ann', ...'nineteen words come')
    const looks = Promise.all([3, 9, 17].map((offset) => story.view(offset)))
    await story.write('ann', ...'before', ...'these')
    expect(await looks).toEqual([3, 9, 17].map((offset) => story.moments[offset]))
  })

  it('lists who wrote when, in pages, in either direction', async () => {
    const story = await Story.begin()
    for (const [user, words] of [
      ['ann', 'abcdefghijkl'],
      ['bob', 'klmnopqrst'],
      ['ann', 'uvwxyz'],
    ] as const) {
      await story.write(user, ...words)
      await story.house.world.clock.advance(60 * 60_000)
    }
    const all = await story.ask({ type: 'document.history' })
    expect(all.groups.map(({ author, from, to, changes, inserted }) => [author.user, from, to, changes, inserted])).toEqual([
      ['ann', 23, 28, 6, 6],
      ['bob', 13, 22, 10, 10],
      ['ann', 1, 12, 12, 12],
    ])
    expect(all).toMatchObject({ first: 0, last: 28 })
    expect(all.next).toBeUndefined()
    for (const isForwards of [true, false]) {
      const pages: unknown[] = []
      let next: number | undefined = isForwards ? 0 : 29
      while (next !== undefined) {
        const page: HistoryPage = await story.ask({
          type: 'document.history',
          limit: 1,
          ...(isForwards ? { after: next } : { before: next }),
        })
        pages.push(...page.groups)
        next = page.next
      }
      expect(pages).toEqual(isForwards ? [...all.groups].reverse() : all.groups)
    }
  })

  it('is found by time', async () => {
    const story = await Story.begin()
    const times: number[] = []
    for (const char of 'abcdefghijklmnopqrstuvwxyzabcdef') {
      times.push(story.house.world.clock.now())
      await story.write('ann', char)
    }
    for (const [i, time] of times.entries()) {
      expect((await story.ask({ type: 'document.view', at: { time }, withContent: false })).offset).toBe(i + 1)
      expect((await story.ask({ type: 'document.view', at: { time: time - 1 }, withContent: false })).offset).toBe(i)
    }
  })

  it('is compared between two moments, by author', async () => {
    const story = await Story.begin()
    await story.write('ann', 'hello ', 'world')
    await story.edit('bob', (text) => text.delete(0, 5))
    await story.write('bob', ...'!'.repeat(30))
    const { roots, from, to } = await story.ask({ type: 'document.diff', from: { offset: 2 } })
    expect([from, to]).toEqual([2, 33])
    expect(roots.t?.content).toMatchObject([
      { delete: 'hello', by: { author: { user: 'bob' } } },
      { retain: 6 },
      { insert: '!'.repeat(30), by: { author: { user: 'bob' } } },
    ])
  })

  it('refuses what is not there, with a reason', async () => {
    const story = await Story.begin()
    await story.write('ann', 'a')
    expect(await codeOf(story.view(2))).toBe('command.bad_parameters')
    expect(await codeOf(story.ask({ type: 'document.view', at: { version: '1' }, withContent: false }))).toBe('document.version_unknown')
    expect(await codeOf(story.ask({ type: 'document.diff', from: { offset: 1 }, to: { offset: 0 } }))).toBe('command.bad_parameters')
    const off = new Story(await DocumentHouse.open({}))
    await off.write('ann', 'a')
    expect(await codeOf(off.view(0))).toBe('document.no_history')
  })

  it('refuses to go through more than it may', async () => {
    const story = await Story.begin(options({ replayBytes: 3_000 }))
    await story.write('ann', ...'x'.repeat(200))
    expect(await codeOf(story.ask({ type: 'document.diff', from: { offset: 0 } }))).toBe('document.history_too_large')
  })

  it('refuses to tell more than it may, and tells of a shorter time', async () => {
    const story = await Story.begin(options({ diffBytes: 1_000 }))
    await story.write('ann', 'x'.repeat(600))
    expect(Object.keys((await story.ask({ type: 'document.diff', from: { offset: 0 } })).roots)).toEqual(['t'])
    await story.write('bob', 'y'.repeat(600))
    expect(await codeOf(story.ask({ type: 'document.diff', from: { offset: 0 } }))).toBe('document.history_too_large')
    expect(Object.keys((await story.ask({ type: 'document.diff', from: { offset: 1 } })).roots)).toEqual(['t'])
  })

  it('begins with what was there when it was switched on', async () => {
    const story = await Story.begin({ ...options(), history: undefined })
    await story.write('ann', ...'x'.repeat(45))
    const house = new DocumentHouse(options(), {})
    Object.assign(house, { disk: story.house.disk })
    await story.house.system.close()
    await house.boot()
    Object.assign(story, { house })
    await story.write('bob', ...'y'.repeat(45))
    const { first } = await story.ask({ type: 'document.history' })
    expect(first).toBeGreaterThan(19)
    expect(await codeOf(story.view(first - 1))).toBe('document.pruned')
    await story.checkAll(first)
  })
})

describe('a history that cannot be written', () => {
  it('[HJ2] stops nobody and loses nothing: the entries stay until it can', async () => {
    const story = await Story.begin()
    await story.write('ann', 'a')
    let isBroken = true
    const wrap = (journals: Journals): Journals =>
      new Proxy(journals, {
        get: (target, name) => {
          const own = target[name as keyof Journals] as (...given: unknown[]) => unknown
          if (name !== 'append') return typeof own === 'function' ? own.bind(target) : own
          return (journal: string, ...rest: unknown[]) =>
            isBroken && journal.startsWith('history/')
              ? Promise.reject(new TroupeError('storage.full'))
              : own.call(target, journal, ...rest)
        },
      })
    await story.house.system.close()
    await story.house.boot(wrap)
    await story.write('ann', ...'x'.repeat(50))
    expect(await story.house.journals.head('document/d')).toMatchObject({ first: 1, last: 51 })
    isBroken = false
    await story.write('ann', 'z')
    await story.house.world.clock.advance(16 * 20_000) // the longest wait after compactions that failed
    expect((await story.house.journals.head('document/d')).first).toBeGreaterThan(40)
    await story.checkAll()
  })

  it('[HJ3] holds nothing twice when the process dies between history and snapshot', async () => {
    const story = await Story.begin()
    let dies = true
    const wrap = (journals: Journals): Journals =>
      new Proxy(journals, {
        get: (target, name) => {
          const own = target[name as keyof Journals] as (...given: unknown[]) => unknown
          if (name !== 'saveSnapshot') return typeof own === 'function' ? own.bind(target) : own
          return (journal: string, ...rest: unknown[]) =>
            dies && journal.startsWith('document/') ? new Promise(() => {}) : own.call(target, journal, ...rest)
        },
      })
    await story.house.boot(wrap)
    await story.write('ann', ...'x'.repeat(30))
    await until(async () => (await story.house.journals.head('history/d')).last > 0)
    dies = false
    await story.house.crash()
    await story.write('ann', ...'y'.repeat(60))
    await story.checkAll()
    const { groups } = await story.ask({ type: 'document.history' })
    expect(groups.reduce((sum, { changes }) => sum + changes, 0)).toBe(90)
  })
})

describe('named versions', () => {
  it('[HJ4] are of now or of a moment, are renamed and deleted, and survive a crash', async () => {
    const story = await Story.begin()
    await story.write('ann', ...'abcdef')
    const now = await story.ask({ type: 'document.version.create', name: 'draft', user: 'ann' })
    const then = await story.ask({ type: 'document.version.create', name: 'start', description: 'of all', user: 'bob', at: { offset: 2 } })
    expect([now.offset, then.offset]).toEqual([6, 2])
    await story.house.crash()
    expect(await story.ask({ type: 'document.version.list' })).toEqual([then, now])
    expect(await story.ask({ type: 'document.version.rename', id: now.id, name: 'final' })).toEqual({ ...now, name: 'final' })
    await story.ask({ type: 'document.version.delete', id: then.id })
    expect((await story.ask({ type: 'document.version.list' })).map(({ name }) => name)).toEqual(['final'])
    const { roots } = await story.ask({ type: 'document.view', at: { version: now.id }, withContent: true })
    expect(roots).toEqual(story.moments[6])
    expect(await codeOf(story.ask({ type: 'document.version.delete', id: then.id }))).toBe('document.version_unknown')
  })

  it('are bounded in number', async () => {
    const story = await Story.begin(options({ versions: 1 }))
    await story.write('ann', 'a')
    await story.ask({ type: 'document.version.create', name: 'one', user: '' })
    expect(await codeOf(story.ask({ type: 'document.version.create', name: 'two', user: '' }))).toBe('document.full')
  })
})

describe('going back', () => {
  it('restores a moment while somebody has it open, as a change of whoever did it', async () => {
    const story = await Story.begin()
    await story.write('ann', ...'what was good ')
    const good = story.moments.length - 1
    await story.edit('bob', (text) => text.delete(0, 5))
    await story.write('bob', ...'vandalism goes on for a while')
    const editor = await story.house.connect('d')
    const { offset, means } = await story.ask({ type: 'document.restore', to: { offset: good }, user: 'cat' })
    expect(means).toBe('undo')
    expect(await story.view(offset)).toEqual(story.moments[good])
    await until(() => editor.doc.getText('t').toString() === 'what was good ')
    const { groups } = await story.ask({ type: 'document.history', limit: 1 })
    expect(groups[0]).toMatchObject({ from: offset, author: { user: 'cat', via: 'restore' } })
    const again = await story.ask({ type: 'document.restore', to: { offset: good }, user: 'cat' })
    expect(again).toEqual({ offset, means: 'none' })
  })

  it('takes back what one author did, in a stretch or ever', async () => {
    const story = await Story.begin()
    await story.write('ann', ...'aaaaa')
    await story.write('bob', ...'bbbbb')
    await story.write('ann', ...'AAAAA')
    await story.write('bob', ...'BBBBBBBBBB')
    await story.ask({ type: 'document.rollback', of: { user: 'bob' }, from: { offset: 15 }, user: 'cat' })
    expect(await story.text()).toBe('aaaaabbbbbAAAAA')
    await story.ask({ type: 'document.rollback', of: { user: 'bob' }, user: 'cat' })
    expect(await story.text()).toBe('aaaaaAAAAA')
    await story.ask({ type: 'document.rollback', of: { user: 'cat', via: 'rollback' }, user: 'ann' })
    expect(await story.text()).toBe('aaaaabbbbbAAAAABBBBBBBBBB')
  })
})

describe('forgetting', () => {
  it('[HJ5] at a moment leaves nothing of what was before, anywhere, and everything after; named versions stay', async () => {
    // Not compressed, so that it would be found.
    const plain: Compression = { compress: async (bytes) => bytes.slice(), decompress: async (compressed) => compressed.slice() }
    const story = await Story.begin(options({ compression: plain }))
    await story.write('ann', 'secret')
    const named = await story.ask({ type: 'document.version.create', name: 'kept', user: '', at: { offset: 30 } }).catch(() => undefined)
    expect(named).toBeUndefined()
    await story.edit('ann', (text) => text.delete(0, 6))
    await story.write('ann', ...'public words that may be known to all')
    const version = await story.ask({ type: 'document.version.create', name: 'kept', user: '', at: { offset: 12 } })
    const { first } = await story.ask({ type: 'document.prune', before: { offset: 23 } })
    expect(first).toBe(23)
    await story.checkAll(23)
    expect(await codeOf(story.view(22))).toBe('document.pruned')
    const seen = await story.ask({ type: 'document.view', at: { version: version.id }, withContent: true })
    expect(seen.roots).toEqual(story.moments[12])
    for (const journal of await story.house.journals.list('')) {
      const snapshot = await story.house.journals.snapshot(journal)
      for (const data of [...(await story.house.journals.read(journal)).map((entry) => entry.data), ...(snapshot ? [snapshot.data] : [])])
        expect(Buffer.from(data).includes('secret')).toBe(false)
    }
    await story.house.crash()
    await story.write('ann', ...'and it goes on, compaction after compaction')
    await story.checkAll(23)
    await story.ask({ type: 'document.prune', before: { offset: 40 } })
    await story.ask({ type: 'document.prune', before: { offset: 60 } })
    await story.checkAll(60)
    expect((await story.ask({ type: 'document.view', at: { version: version.id }, withContent: true })).roots).toEqual(story.moments[12])
    const { roots } = await story.ask({ type: 'document.diff', from: { version: version.id }, to: { offset: 61 } })
    expect(roots.t?.content?.[1]).toMatchObject({ by: { author: { user: '', via: 'forgotten' } } })
    const { offset } = await story.ask({ type: 'document.restore', to: { version: version.id }, user: '' })
    expect(await story.view(offset)).toEqual(story.moments[12])
  })

  it('comes with age, an eighth late at most', async () => {
    const story = await Story.begin(options({ keepMs: 8 * dayMs }))
    await story.write('ann', ...'x'.repeat(30))
    story.house.world.clock.pass(6 * dayMs)
    await story.write('ann', ...'y'.repeat(30))
    expect(await story.ask({ type: 'document.prune' })).toMatchObject({ first: 0 })
    story.house.world.clock.pass(4 * dayMs)
    expect(await story.ask({ type: 'document.prune' })).toMatchObject({ first: 30 })
    await story.checkAll(30)
    story.house.world.clock.pass(40 * dayMs)
    await story.write('ann', ...'z'.repeat(21))
    await until(async () => (await story.ask({ type: 'document.history' })).first === 60)
    await story.checkAll(60)
  })

  it('comes with size', async () => {
    const story = await Story.begin(options({ keepBytes: 1_500 }))
    for (let i = 0; i < 200; i++) await story.edit('ann', (_, doc) => doc.getMap('m').set(`k${i % 7}`, `${i * 7919}`.repeat(3)))
    const { first, bytes } = await story.ask({ type: 'document.history' })
    expect(bytes).toBeLessThan(3_000)
    expect(first).toBeGreaterThan(50)
    await story.checkAll(first)
  })

  it('[HJ4] is no loss when the process dies in the middle of it', async () => {
    const story = await Story.begin()
    await story.write('ann', ...'x'.repeat(50))
    const version = await story.ask({ type: 'document.version.create', name: 'kept', user: '', at: { offset: 10 } })
    let dies = true
    const wrap = (journals: Journals): Journals =>
      new Proxy(journals, {
        get: (target, name) => {
          const own = target[name as keyof Journals] as (...given: unknown[]) => unknown
          if (name !== 'saveSnapshot') return typeof own === 'function' ? own.bind(target) : own
          return (journal: string, ...rest: unknown[]) =>
            dies && journal.startsWith('history/') ? new Promise(() => {}) : own.call(target, journal, ...rest)
        },
      })
    await story.house.system.close()
    await story.house.boot(wrap)
    const before = (await story.house.journals.head('history/d')).last
    story.ask({ type: 'document.prune', before: { offset: 25 } }).catch(() => {})
    await until(async () => (await story.house.journals.head('history/d')).last > before + 1)
    dies = false
    await story.house.crash()
    expect((await story.ask({ type: 'document.view', at: { version: version.id }, withContent: true })).roots).toEqual(story.moments[10])
    await story.checkAll(25)
    await story.ask({ type: 'document.prune', before: { offset: 30 } })
    expect((await story.ask({ type: 'document.view', at: { version: version.id }, withContent: true })).roots).toEqual(story.moments[10])
  })
})
