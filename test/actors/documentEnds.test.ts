/** The process ends at each write of what changes a document as a whole; whoever comes next finds the old or the new one, whole. */
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import type { DocumentOptions } from '../../actors/document.ts'
import type { DocumentLifeRequest } from '../../actors/documentMessages.ts'
import type { HistoryView, NamedVersion } from '../../actors/historyMessages.ts'
import { quiet } from '../support/world.ts'
import { DocumentHouse, updateOf } from './documentHouse.ts'
import { codeOf, track } from './house.ts'

const by = 'ada'
/** More than any of these needs. */
const mostWrites = 24

/** What a reader of this name finds: a text, or why there is none. */
const found = async (house: DocumentHouse, name: string): Promise<string> => {
  try {
    return await house.text(name)
  } catch (error) {
    return (error as { code: string }).code
  }
}

/** Runs a request in processes that end at one write after the other, until it ends before the process does. */
const atEachWrite = async (
  prepare: (house: DocumentHouse) => Promise<void>,
  name: string,
  request: DocumentLifeRequest,
  check: (house: DocumentHouse, at: string) => Promise<void>,
): Promise<number> => {
  let ends = 0
  for (const isWritten of [false, true]) {
    for (let write = 0; ; write++) {
      expect(write).toBeLessThan(mostWrites)
      const house = await DocumentHouse.open(options)
      await prepare(house)
      await house.endAt(write, isWritten)
      const asked = track(house.life(name, request))
      await quiet(40)
      const isOver = asked.state !== 'open'
      if (isOver) expect(asked).toMatchObject({ state: 'kept' })
      await house.crash()
      await check(house, `write ${write}, ${isWritten ? 'after' : 'before'} it was on disk`)
      if (isOver) break
      ends++
    }
  }
  return ends
}

const options: Partial<DocumentOptions> = {
  history: {
    keepMs: 0,
    compression: {
      compress: async (bytes) => deflateRawSync(bytes),
      decompress: async (compressed, maxOutputLength) => inflateRawSync(compressed, { maxOutputLength }),
    },
  },
  compaction: { updates: 3, share: 0, bytes: 1e9 },
}

/** Five changes, the first of them in the history, and a version with a name. */
const one = async (house: DocumentHouse) => {
  const doc = new Y.Doc()
  doc.on('update', (update: Uint8Array) => updates.push(update))
  const updates: Uint8Array[] = []
  for (const letter of 'hello') doc.getText('text').insert(doc.getText('text').length, letter)
  for (const update of updates) {
    await house.append('a', update)
    await quiet()
  }
  await house.system.ask('document/a', { type: 'document.version.create', name: 'half', user: by, at: { offset: 2 } })
}

const past = async (house: DocumentHouse, name: string): Promise<string> => {
  const seen: string[] = []
  const address = `document/${name}`
  for (const offset of [1, 2, 3, 4, 5]) {
    const view = (await house.system.ask(address, { type: 'document.view', at: { offset }, withContent: false })) as HistoryView
    const doc = new Y.Doc()
    Y.applyUpdate(doc, view.update)
    seen.push(doc.getText('text').toString())
  }
  const versions = (await house.system.ask(address, { type: 'document.version.list' })) as NamedVersion[]
  return [...seen, ...versions.map((version) => `${version.name} ${version.offset}`)].join(', ')
}

describe('when the process ends in the middle', () => {
  it('a renamed document is under one of its names, whole, and the rename can be asked for again', async () => {
    const ends = await atEachWrite(one, 'a', { type: 'document.rename', by, to: 'b' }, async (house, at) => {
      const [old, next] = [await found(house, 'a'), await found(house, 'b')]
      // It goes on as soon as somebody opens it, so `b` was looked at when the first answer was there.
      expect(
        [
          ['hello', ''],
          ['document.renamed', 'hello'],
        ],
        at,
      ).toContainEqual([old, next])
      await house.life('a', { type: 'document.rename', by, to: 'b' })
      expect([await found(house, 'a'), await found(house, 'b')], at).toEqual(['document.renamed', 'hello'])
      expect(await past(house, 'b'), at).toBe('h, he, hel, hell, hello, half 2')
      expect(await house.journals.list('incoming/')).toEqual([])
    })
    expect(ends).toBeGreaterThan(8)
  })

  it('a renamed document that somebody changed under its new name at once keeps that', async () => {
    await atEachWrite(one, 'a', { type: 'document.rename', by, to: 'b' }, async (house, at) => {
      const next = await found(house, 'b')
      if (next !== 'hello') return
      const client = await house.connect('b')
      await client.write('!')
      expect(await found(house, 'a'), at).toBe('document.renamed')
      expect(await found(house, 'b'), at).toBe('hello!')
    })
  })

  it('a copy is there or not, and the original is what it was', async () => {
    const ends = await atEachWrite(one, 'a', { type: 'document.copy', by, to: 'b' }, async (house, at) => {
      expect(await found(house, 'a'), at).toBe('hello')
      if ((await found(house, 'b')) === '')
        expect(await codeOf(house.life('a', { type: 'document.copy', by, to: 'b' }))).toMatch(/^no error/)
      expect(await found(house, 'b'), at).toBe('hello')
    })
    expect(ends).toBeGreaterThan(5)
  })

  it('a document that is reset has all of the old content or all of the new, and what is gone stays gone', async () => {
    const ends = await atEachWrite(one, 'a', { type: 'document.reset', by, update: updateOf('new') }, async (house, at) => {
      const text = await found(house, 'a')
      expect(['hello', 'new'], at).toContain(text)
      expect(await house.journals.list('history/'), at).toEqual(text === 'hello' ? ['history/a'] : [])
    })
    expect(ends).toBeGreaterThan(6)
  })

  it('a document is deleted or not, and can be restored', async () => {
    await atEachWrite(one, 'a', { type: 'document.remove', by }, async (house, at) => {
      expect(['hello', 'document.deleted'], at).toContain(await found(house, 'a'))
      await house.life('a', { type: 'document.undelete', by })
      expect(await found(house, 'a'), at).toBe('hello')
    })
  })

  it('a purged document is gone as a whole, or still there as a whole', async () => {
    await atEachWrite(one, 'a', { type: 'document.purge', by }, async (house, at) => {
      const text = await found(house, 'a')
      expect(['hello', 'document.deleted'], at).toContain(text)
      if (text === 'document.deleted') expect(await house.journals.list(''), at).toEqual(['record/a'])
    })
  })

  it('a document that is made where another was deleted is one of both', async () => {
    const deleted = async (house: DocumentHouse) => {
      await one(house)
      await house.life('a', { type: 'document.remove', by })
    }
    await atEachWrite(deleted, 'a', { type: 'document.create', by, update: updateOf('new') }, async (house, at) => {
      const text = await found(house, 'a')
      expect(['document.deleted', 'new'], at).toContain(text)
      if (text === 'new') return
      await house.life('a', { type: 'document.undelete', by })
      expect(await found(house, 'a'), at).toBe('hello')
    })
  })
})

describe('when a document begins anew', () => {
  it('whoever asks for its past at that moment is answered, or told to ask again', async () => {
    const asked = [
      { type: 'document.history' },
      { type: 'document.view', at: { offset: 4 }, withContent: false },
      { type: 'document.version.list' },
      { type: 'document.version.create', name: 'one', user: '' },
      { type: 'document.restore', to: { offset: 1 }, user: '' },
    ]
    const answers = new Set<string>()
    for (let turns = 0; turns < 12; turns++) {
      const house = await DocumentHouse.open(options)
      for (const text of ['a', 'b', 'c', 'd']) await house.append('a', updateOf(text))
      await house.world.clock.advance(10_000)
      await house.append('a', updateOf('e'))
      const answering = asked.map((message) => codeOf(house.system.ask('document/a', message as never, { timeoutMs: 1e9 })))
      await quiet(turns)
      await house.life('a', { type: 'document.reset', by, update: updateOf('new') })
      for (const answer of await Promise.all(answering)) answers.add(answer.replace(/^no error.*/, 'done'))
    }
    expect([...answers].sort()).toEqual(['document.unavailable', 'done'])
  })
})

describe('when the disk refuses in the middle', () => {
  it('at any one of the writes the answer is right: done, nothing done, or not known; and it can be asked for again', async () => {
    const requests: readonly [DocumentLifeRequest, result: string, name: string][] = [
      [{ type: 'document.rename', by, to: 'b' }, 'hello', 'b'],
      [{ type: 'document.copy', by, to: 'b' }, 'hello', 'b'],
      [{ type: 'document.reset', by, update: updateOf('new') }, 'new', 'a'],
      [{ type: 'document.purge', by }, 'document.deleted', 'a'],
    ]
    for (const [request, result, name] of requests) {
      const answers = new Set<string>()
      for (let write = 0; write < mostWrites; write++) {
        const house = await DocumentHouse.open(options)
        await one(house)
        await house.refuseAt(write)
        const first = await codeOf(house.life('a', request))
        const isDone = first.startsWith('no error')
        answers.add(isDone ? 'done' : first)
        const at = `${request.type}, write ${write}`
        if (!isDone) {
          const left = [await found(house, 'a'), await found(house, name)]
          const isUnknown = first === 'document.outcome_unknown'
          if (isUnknown) expect(left.includes('hello') || left.includes(result), `${at}: ${left}`).toBe(true)
          else expect(left, at).toEqual(['hello', name === 'a' ? 'hello' : expect.stringMatching('document.unknown|^$')])
          expect(await codeOf(house.life('a', request)), at).toMatch(isUnknown ? /^no error|^document\.exists/ : /^no error/)
        }
        expect(await found(house, name), at).toBe(result)
        if (request.type === 'document.rename') expect(await past(house, name), at).toBe('h, he, hel, hell, hello, half 2')
      }
      const expected = request.type === 'document.rename' ? ['document.outcome_unknown', 'done', 'storage.full'] : ['done', 'storage.full']
      expect([...answers].sort(), request.type).toEqual(expected)
    }
  })

  it('from any one of the writes on, what was answered as done is there when the disk has space again, and the rest is not', async () => {
    const requests: readonly [DocumentLifeRequest, result: string, name: string][] = [
      [{ type: 'document.create', by, update: updateOf('new') }, 'new', 'c'],
      [{ type: 'document.copy', by, to: 'b' }, 'hello', 'b'],
      [{ type: 'document.rename', by, to: 'b' }, 'hello', 'b'],
      [{ type: 'document.reset', by, update: updateOf('new') }, 'new', 'a'],
      [{ type: 'document.purge', by }, 'document.deleted', 'a'],
    ]
    for (const [request, result, name] of requests)
      for (let write = 0; ; write++) {
        expect(write).toBeLessThan(mostWrites)
        const at = `${request.type}, full from write ${write}`
        const house = await DocumentHouse.open(options)
        await one(house)
        const disk = await house.fullFrom(write)
        const asked = request.type === 'document.create' ? 'c' : 'a'
        const answer = await codeOf(house.life(asked, request))
        await quiet()
        if (!disk.isFull) break
        for (const reader of ['a', name]) await found(house, reader) // whoever looks meanwhile must not keep it from healing
        await house.world.clock.advance(10_000)
        house.disk.refuse(undefined)
        await house.world.clock.advance(10_000)
        const texts = { here: await found(house, asked), there: await found(house, name) }
        if (answer.startsWith('no error')) expect(texts.there, at).toBe(result)
        else if (answer !== 'document.outcome_unknown')
          expect([answer, texts.there], at).toEqual(['storage.full', name === 'a' ? 'hello' : expect.stringMatching(/^$|unknown/)])
        else expect([texts.here, texts.there], at).toContain('hello')
        expect(await codeOf(house.life(asked, request)), at).toMatch(/^no error|^document\.exists/)
        expect(await found(house, name), at).toBe(result)
        if (request.type === 'document.rename') expect(await past(house, name), at).toBe('h, he, hel, hell, hello, half 2')
      }
  })

  it('a history is forgotten, or not, or it is said that nobody knows; and it can be forgotten again', async () => {
    const answers = new Set<string>()
    for (let write = 0; write < mostWrites; write++) {
      const house = await DocumentHouse.open(options)
      for (const text of ['a', 'b', 'c', 'd']) await house.append('a', updateOf(text))
      await house.world.clock.advance(10_000)
      await house.refuseAt(write)
      const ask = (message: object) => house.system.ask('document/a', message as never, { timeoutMs: 1e9 })
      const isSeen = async () =>
        (await codeOf(ask({ type: 'document.view', at: { offset: 1 }, withContent: false }))).startsWith('no error')
      const prune = async () => (await codeOf(ask({ type: 'document.prune', before: { offset: 2 } }))).replace(/^no error.*/, 'done')
      const first = await prune()
      answers.add(first)
      if (first === 'done') expect(await isSeen(), `write ${write}`).toBe(false)
      else if (first === 'storage.full') expect(await isSeen(), `write ${write}`).toBe(true)
      await house.world.clock.advance(60_000)
      expect([write, await prune(), await isSeen()]).toEqual([write, 'done', false])
    }
    expect([...answers].sort()).toEqual(['document.outcome_unknown', 'done', 'storage.full'])
  })

  it('nothing has changed, or it is finished when the disk is in order, and the document works', async () => {
    for (const request of [
      { type: 'document.rename', by, to: 'b' },
      { type: 'document.reset', by, update: updateOf('new') },
      { type: 'document.remove', by },
    ] as const) {
      const house = await DocumentHouse.open(options)
      await one(house)
      const client = await house.connect('a')
      house.disk.refuse('storage.full')
      expect(await codeOf(house.life('a', request))).toBe('storage.full')
      house.disk.refuse(undefined)
      await client.write('!')
      expect(client.refused).toBeUndefined()
      expect(await house.text('a')).toBe('hello!')
    }
  })
})
