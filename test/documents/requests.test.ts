/** Changes that programs ask for: done once, and answered truly, whatever ends in the middle. */
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import type { DocumentBytes, DocumentLifeRequest } from '../../actors/documentMessages.ts'
import { isTroupeError, TroupeError } from '../../actors/errors.ts'
import { materialize } from '../../crdt/compact.ts'
import { askDocument } from '../../src/documents/ask.ts'
import { type ChangeRequest, DocumentEdits, type Made } from '../../src/documents/edits.ts'
import { requestKey } from '../../src/documents/requestKey.ts'
import { DocumentHouse, updateOf } from '../actors/documentHouse.ts'
import { quiet } from '../support/world.ts'

const work = { run: () => Promise.reject(new Error('nothing here needs the worker')) }

const editsOf = ({ system, world }: DocumentHouse): DocumentEdits =>
  new DocumentEdits({ asker: system, random: world.random, work: work as never })

const keyOf = (key: string, what = 'the same', user = 'ada', document = 'document/a') =>
  requestKey({ door: 'http', document, user }, key, [what])

/** Puts a word into the document, each time anew: a program that repeats this blindly has it twice. */
const word = (text: string, more: Partial<ChangeRequest> = {}): ChangeRequest => ({
  address: 'document/a',
  author: { user: 'ada', via: 'http' },
  make: () => updateOf(text),
  ...more,
})

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error) => (isTroupeError(error) ? error.code : String(error)),
  )

const times = async (house: DocumentHouse, text: string): Promise<number> => (await house.text('a')).split(text).length - 1

/** Readers make a document wait for company: time passes until the answer is there. */
const answered = async <T>({ world }: DocumentHouse, promise: Promise<T>): Promise<T> => {
  let isSettled = false
  const settle = () => {
    isSettled = true
  }
  promise.then(settle, settle)
  while (!isSettled) await world.clock.advance(1)
  return promise
}

describe('a change with a key', () => {
  it('[DRQ1] is made once, and answered as the first time, after a crash, in an idle document, after a compaction', async () => {
    const house = await DocumentHouse.open()
    const request = word('once ', { request: keyOf('1') })
    const first = await editsOf(house).change(request)
    const same = async (where: string) => {
      expect(await editsOf(house).change(request), where).toEqual(first)
      expect(await times(house, 'once'), where).toBe(1)
    }
    await same('at once')
    await house.crash()
    await same('after a crash')
    await answered(house, Promise.all(Array.from({ length: 600 }, () => house.append('a', updateOf('.')))))
    await house.world.clock.advance(10_000)
    expect((await house.journals.snapshot('document/a'))?.offset).toBeGreaterThan(first.offset)
    await same('after a compaction')
    await house.crash()
    await same('after a compaction and a crash')
    await house.reboot()
    await same('after a restart')
  })

  it('[DRQ1] is made once when it is asked for twice at the same time, and when what it expects is no longer so', async () => {
    const house = await DocumentHouse.open()
    const { epoch, offset } = await editsOf(house).change(word('begin '))
    const request = word('once ', { request: keyOf('1'), expected: [{ epoch, offset }] })
    const edits = editsOf(house)
    const [one, two] = await Promise.all([edits.change(request), edits.change(request)])
    expect(two).toEqual(one)
    await edits.change(word('other '))
    expect(await edits.change(request)).toEqual(one)
    expect(await times(house, 'once')).toBe(1)
  })

  it('[DRQ1] is remembered by so many requests, for so long, and not by a document that began anew', async () => {
    const house = await DocumentHouse.open({ repeatRequests: 3, repeatMs: 60_000 })
    const edits = editsOf(house)
    const ask = (key: string): Promise<Made> => answered(house, edits.change(word(`${key} `, { request: keyOf(key) })))
    for (const key of ['one', 'two', 'three', 'four']) await ask(key)
    for (const key of ['two', 'one']) await ask(key)
    expect([await times(house, 'two'), await times(house, 'one')]).toEqual([1, 2])
    await house.world.clock.advance(60_000)
    await ask('four')
    expect(await times(house, 'four')).toBe(2)
    await ask('five')
    await house.life('a', { type: 'document.reset', by: '' })
    await ask('five')
    expect(await times(house, 'five')).toBe(1)
  })

  it('[DRQ1] is another one when the user or the document is; so are those of the program; another request with it is refused', async () => {
    const house = await DocumentHouse.open()
    const edits = editsOf(house)
    for (const request of [keyOf('1'), keyOf('1', 'the same', 'bob'), keyOf('1', 'the same', 'ada', 'document/b')])
      await edits.change(word('x', { request }))
    expect(await codeOf(edits.change(word('y', { request: keyOf('1', 'something else') })))).toBe('document.key_reused')
    const ofProgram = requestKey({ door: 'program', document: 'document/a', user: 'ada' }, '1', ['something else'])
    await edits.change(word('y', { request: ofProgram }))
    expect([await times(house, 'x'), await times(house, 'y')]).toEqual([3, 1])
  })

  it('[DRQ1] is not the answer to one that goes back', async () => {
    const asIs = async (bytes: Uint8Array) => bytes
    const house = await DocumentHouse.open({ history: { compression: { compress: asIs, decompress: asIs } } })
    const request = keyOf('1')
    await editsOf(house).change(word('x', { request }))
    for (const message of [
      { type: 'document.restore', to: { offset: 0 }, user: 'ada', request },
      { type: 'document.rollback', of: { user: 'ada' }, user: 'ada', request },
    ])
      expect(await codeOf(house.system.ask('document/a', message as never))).toBe('document.key_reused')
  })

  it('[DRQ1] a copy does not know the keys of its original', async () => {
    const house = await DocumentHouse.open()
    const edits = editsOf(house)
    await edits.change(word('x', { request: keyOf('1') }))
    await house.life('a', { type: 'document.copy', by: '', to: 'b' })
    await edits.change({ ...word('x', { request: keyOf('1', 'the same', 'ada', 'document/b') }), address: 'document/b' })
    expect(await house.text('b')).toBe('xx')
  })

  it.each([
    ['', 1],
    [', however much of it is compacted', 600],
  ])('[DRQ1] a document that got another name, and its own again, does not know the keys from before%s', async (_, changes) => {
    const house = await DocumentHouse.open()
    const request = word('once ', { request: keyOf('1') })
    await editsOf(house).change(request)
    await answered(house, Promise.all(Array.from({ length: changes }, () => house.append('a', updateOf('.')))))
    await house.world.clock.advance(10_000)
    expect((await house.journals.snapshot('document/a')) !== undefined).toBe(changes > 1)
    await house.life('a', { type: 'document.rename', by: '', to: 'b' })
    await house.life('b', { type: 'document.rename', by: '', to: 'a' })
    await answered(house, editsOf(house).change(request))
    expect(await times(house, 'once')).toBe(2)
  })
})

describe('the life of a document with a key', () => {
  const requests: readonly [what: string, request: (house: DocumentHouse) => Promise<DocumentLifeRequest>][] = [
    ['create', async () => ({ type: 'document.create', by: 'ada', update: updateOf('new'), request: keyOf('1') })],
    [
      'reset',
      async (house) => {
        await house.append('a', updateOf('old'))
        return { type: 'document.reset', by: 'ada', update: updateOf('new'), request: keyOf('1') }
      },
    ],
    [
      'copy',
      async (house) => {
        await house.append('a', updateOf('old'))
        return { type: 'document.copy', by: 'ada', to: 'b', request: keyOf('1') }
      },
    ],
  ]
  it.each(requests)('[DRQ1] %s is done once, and what was written since stays', async (what, prepare) => {
    const house = await DocumentHouse.open()
    const request = await prepare(house)
    const first = await house.life('a', request)
    const name = what === 'copy' ? 'b' : 'a'
    const client = await house.connect(name)
    await client.write('!')
    for (const again of [() => house.crash(), () => house.reboot(), async () => {}]) {
      await again()
      expect((await house.life('a', request)).epoch).toBe(first.epoch)
      expect(await house.text(name)).toBe(what === 'copy' ? 'old!' : 'new!')
    }
    const other = { ...request, request: keyOf('1', 'other') } as DocumentLifeRequest
    expect(await codeOf(house.life('a', other))).toBe('document.key_reused')
    await house.world.clock.advance(24 * 3_600_000)
    if (what !== 'reset') expect(await codeOf(house.life('a', request))).toBe('document.exists')
  })
})

describe('the answer to a change', () => {
  it.each([
    ['actor.ask_timeout', 'document.outcome_unknown', 'document.unavailable'],
    ['actor.failed', 'document.outcome_unknown', 'document.unavailable'],
    ['system.closed', 'document.outcome_unknown', 'system.closed'],
    ['actor.stopped', 'document.unavailable', 'document.unavailable'],
    ['actor.mailbox_full', 'document.busy', 'document.busy'],
    ['document.epoch', 'document.epoch', 'document.epoch'],
  ] as const)('[DRQ2] that says %s is %s, to one who only looks %s', async (code, ofChange, ofLook) => {
    const asker = { ask: () => Promise.reject(new TroupeError(code)) }
    expect(await codeOf(askDocument(asker, 'document/a', { type: 'document.reset' }))).toBe(ofChange)
    expect(await codeOf(askDocument(asker, 'document/a', { type: 'document.state' }))).toBe(ofLook)
  })

  it('[DRQ2] of a document that is loaded anew under it comes all the same, unless it was made for what is gone', async () => {
    const asked = async (type: string): Promise<string> => {
      let left = 1
      const asker = { ask: async () => (left-- > 0 ? Promise.reject(new TroupeError('document.unavailable')) : 'answer') }
      return codeOf(askDocument(asker, 'document/a', { type }))
    }
    for (const type of ['document.state', 'document.remove', 'document.copy']) expect([type, await asked(type)]).toEqual([type, 'done'])
    for (const type of ['document.edit', 'document.restore']) expect([type, await asked(type)]).toEqual([type, 'document.unavailable'])
  })

  it('[DRQ2] of a document that ends while it is written is that it is done, when it is', async () => {
    const house = await DocumentHouse.open()
    await house.append('a', updateOf('begin '))
    house.disk.hold()
    const made = editsOf(house).change(word('kept '))
    await quiet()
    house.system.stop('document/a')
    await quiet()
    house.disk.release()
    expect(await made).toMatchObject({ offset: 2, isChanged: true })
    expect(await times(house, 'kept')).toBe(1)
  })

  it('[DRQ2] of a document that ends before is not given: it is made again, once', async () => {
    const house = await DocumentHouse.open({ windowMs: 50 })
    await house.append('a', updateOf('begin '))
    const made = editsOf(house).change(word('kept '))
    await quiet()
    house.system.stop('document/a')
    await house.world.clock.advance(1_000)
    expect(await made).toMatchObject({ isChanged: true })
    expect(await times(house, 'kept')).toBe(1)
  })

  it.each([
    ['is made anew from what is there', [], false],
    ['is refused, if it was to be made from the old content alone', [], true],
    ['is made anew, if there was nothing before', ['absent'], false],
    ['is refused, if there was to be nothing', ['absent'], true],
  ] as const)('[DRQ2] of a document that gets other content of the same length meanwhile %s', async (_, [absent], isConditional) => {
    const house = await DocumentHouse.open()
    if (absent === undefined) await house.append('a', updateOf('old'))
    const state = async () => (await house.system.ask('document/a', { type: 'document.state' })) as DocumentBytes
    const seen: string[] = []
    const make = async ({ snapshot, tail }: DocumentBytes, client: number) => {
      const doc = materialize(snapshot, tail)
      const before = Y.encodeStateVector(doc)
      seen.push(doc.getText('text').toString())
      const type = absent === undefined ? 'document.reset' : 'document.create'
      if (seen.length === 1) await house.life('a', { type, by: '', update: updateOf('new') })
      doc.clientID = client
      doc.getMap('map').set('made of', doc.getText('text').toString())
      return Y.encodeStateAsUpdate(doc, before)
    }
    const answer = editsOf(house).change(word('', { make, ...(isConditional && { expected: [await state()] }) }))
    if (isConditional) expect(await codeOf(answer)).toBe('document.changed')
    else expect(await answer).toMatchObject({ epoch: (await state()).epoch, offset: 2, isChanged: true })
    const { snapshot, tail } = await state()
    const doc = materialize(snapshot, tail)
    expect([doc.getText('text').toString(), doc.getMap('map').toJSON()]).toEqual(['new', isConditional ? {} : { 'made of': 'new' }])
    expect(seen).toEqual([absent === undefined ? 'old' : '', ...(isConditional ? [] : ['new'])])
  })

  it('[DRQ2] on a disk that refuses is first that nobody knows, then that nothing was done; a key tells later', async () => {
    const house = await DocumentHouse.open()
    await house.append('a', updateOf('begin '))
    house.disk.refuse('storage.full')
    const edits = editsOf(house)
    const request = word('once ', { request: keyOf('1') })
    const first = codeOf(edits.change(request))
    await house.world.clock.advance(2_000)
    expect(await first).toBe('document.outcome_unknown')
    expect(await codeOf(edits.change(request))).toBe('document.outcome_unknown')
    expect(await codeOf(edits.change(word('never ')))).toBe('storage.full')
    expect(await codeOf(house.life('a', { type: 'document.remove', by: '' }))).toBe('storage.full')
    house.disk.refuse(undefined)
    await house.world.clock.advance(2_000)
    expect(await edits.change(request)).toMatchObject({ offset: 2, isChanged: true })
    expect(await house.text('a')).toMatch(/^(begin once |once begin )$/)
  })

  it('[DRQ2] has the place of the change itself, also when others are stored with it', async () => {
    const house = await DocumentHouse.open()
    const edits = editsOf(house)
    const { epoch, offset } = await edits.change(word('begin '))
    house.disk.hold()
    const mine = edits.change(word('mine ', { expected: [{ epoch, offset }] }))
    await quiet()
    const other = house.append('a', updateOf('other '))
    await quiet()
    house.disk.release()
    await other
    expect((await mine).offset).toBe(offset + 1)
    expect(await codeOf(edits.change(word('late ', { expected: [await mine] })))).toBe('document.changed')
  })
})
