import { describe, expect, it, vi } from 'vitest'
import * as Y from 'yjs'
import type { DocumentBytes } from '../../actors/documentMessages.ts'
import { readRecord } from '../../actors/documentRecord.ts'
import type { Usage } from '../../actors/documentUsage.ts'
import type { DocumentEvent } from '../../actors/webhook.ts'
import { documentWork } from '../../crdt/work.ts'
import { listDocuments } from '../../src/documents/catalog.ts'
import { quiet } from '../support/world.ts'
import { DocumentHouse, reopened, updateOf } from './documentHouse.ts'
import { codeOf } from './house.ts'

const by = 'ada'
const dayMs = 24 * 3_600_000

describe('the record of a document', () => {
  it('is made when the document gets its first change, with who made it, and not before', async () => {
    const house = await DocumentHouse.open()
    const client = await house.connect('notes')
    expect(await readRecord(house.journals, 'notes')).toEqual({ offset: 0 })
    await client.write('hello')
    const { record } = await readRecord(house.journals, 'notes')
    expect(record).toMatchObject({ createdBy: 'ada', createdAt: 1_000_000, offset: 1 })
  })

  it('says size and time of the last change when the document has left memory, and is one entry however often it is written', async () => {
    const house = await DocumentHouse.open({ idleMs: 1_000 })
    for (const word of ['one', 'two', 'three']) {
      await house.append('notes', updateOf(word))
      await house.world.clock.advance(5_000)
    }
    const { record } = await readRecord(house.journals, 'notes')
    expect(record).toMatchObject({ offset: 3, updatedAt: 1_010_000 })
    expect(record?.bytes).toBeGreaterThan(40)
    expect(await house.journals.read('record/notes')).toHaveLength(1)
  })

  it('is found out from the journal where a crash came before it', async () => {
    const house = await DocumentHouse.open()
    await house.append('notes', updateOf('hello'))
    await quiet()
    await house.journals.remove('record/notes')
    await house.crash()
    expect(await house.life('notes', { type: 'document.describe' })).toMatchObject({ name: 'notes', createdAt: 1_000_000, offset: 1 })
  })
})

describe('creating', () => {
  it('makes an empty document, or one with content, and refuses a name that is taken', async () => {
    const house = await DocumentHouse.open()
    expect(await house.life('a', { type: 'document.create', by })).toMatchObject({ createdBy: by, epoch: '', offset: 0 })
    expect(await house.life('b', { type: 'document.create', by, update: updateOf('seed') })).toMatchObject({ offset: 1 })
    expect(await house.text('b')).toBe('seed')
    for (const name of ['a', 'b']) expect(await codeOf(house.life(name, { type: 'document.create', by }))).toBe('document.exists')
    await house.append('c', updateOf('by a client'))
    expect(await codeOf(house.life('c', { type: 'document.create', by }))).toBe('document.exists')
  })

  it('is refused with content that is no update or builds on something else, and leaves nothing behind', async () => {
    const house = await DocumentHouse.open()
    const doc = new Y.Doc()
    doc.getText('text').insert(0, 'first')
    const vector = Y.encodeStateVector(doc)
    doc.getText('text').insert(0, 'second')
    for (const update of [Uint8Array.of(1, 2, 3), Y.encodeStateAsUpdate(doc, vector)])
      expect(await codeOf(house.life('x', { type: 'document.create', by, update }))).toBe('document.invalid')
    expect(await house.journals.list('')).toEqual([])
    expect(await codeOf(house.life('x', { type: 'document.describe' }))).toBe('document.unknown')
  })

  it('is needed first where documents do not come into being by themselves', async () => {
    const house = await DocumentHouse.open({ autoCreate: false })
    expect(await codeOf(house.connect('x'))).toBe('document.unknown')
    expect(await codeOf(house.append('x', updateOf('no')))).toBe('document.unknown')
    await house.life('x', { type: 'document.create', by })
    const client = await house.connect('x')
    await client.write('yes')
    expect(await house.text('x')).toBe('yes')
  })

  it('gives those who have opened a name with nothing under it the content when they come again', async () => {
    const house = await DocumentHouse.open()
    const early = await house.connect('x')
    await house.life('x', { type: 'document.create', by, update: updateOf('seed') })
    expect(early.refused).toMatch(/^document\.busy/)
    expect(await house.text('x')).toBe('seed')
  })
})

describe('deleting', () => {
  it('closes the document for everybody, and nothing brings it back: no join, no edit, no change that is under way', async () => {
    const house = await DocumentHouse.open()
    const client = await house.connect('x')
    await client.write('hello')
    const now = house.world.clock.now()
    const removed = house.life('x', { type: 'document.remove', by })
    client.doc.getText('text').insert(0, 'too late ')
    expect(await removed).toMatchObject({ connections: 0, deleted: { at: now, by, purgeAt: now + 30 * dayMs } })
    await quiet()
    expect(client.refused).toBe('document.deleted')
    client.synchronise()
    await client.write('!')
    expect(await codeOf(house.connect('x'))).toBe('document.deleted')
    expect(await codeOf(house.append('x', updateOf('no')))).toBe('document.deleted')
    await house.crash()
    expect(await codeOf(house.connect('x'))).toBe('document.deleted')
    await house.life('x', { type: 'document.undelete', by })
    expect(await house.text('x')).toBe('hello')
  })

  it('may be said twice, and to nobody who is not there', async () => {
    const house = await DocumentHouse.open()
    expect(await codeOf(house.life('x', { type: 'document.remove', by }))).toBe('document.unknown')
    await house.life('x', { type: 'document.create', by })
    await house.life('x', { type: 'document.remove', by })
    await house.world.clock.advance(1_000)
    expect(await house.life('x', { type: 'document.remove', by: 'eve' })).toMatchObject({ deleted: { at: 1_000_000, by } })
  })

  it('is undone for those who were there, with what they wrote meanwhile', async () => {
    const house = await DocumentHouse.open()
    const client = await house.connect('x')
    await client.write('hello')
    await house.life('x', { type: 'document.remove', by })
    client.doc.getText('text').insert(5, ', offline')
    await house.life('x', { type: 'document.undelete', by })
    const again = await house.connect('x', { doc: client.doc })
    await quiet()
    expect(again.refused).toBeUndefined()
    expect(await house.text('x')).toBe('hello, offline')
  })

  it('ends with the content gone for good, a day after its time at most, and with the name still refused', async () => {
    const house = await DocumentHouse.open({ deletedMs: 3 * dayMs, idleMs: 1_000 })
    await house.append('x', updateOf('hello'))
    await house.append('y', updateOf('stays'))
    await house.life('x', { type: 'document.remove', by })
    await house.journals.append('history/x', [Uint8Array.of(1)])
    house.sweep()
    await quiet()
    house.world.clock.pass(2.9 * dayMs)
    await house.world.clock.advance(10_000)
    expect(await house.journals.list('document/')).toEqual(['document/x', 'document/y'])
    await house.reboot()
    house.sweep()
    house.world.clock.pass(dayMs)
    await house.world.clock.advance(10_000)
    expect(await house.journals.list('document/')).toEqual(['document/y'])
    expect(await house.journals.list('history/')).toEqual([])
    expect(await codeOf(house.connect('x'))).toBe('document.deleted')
    expect(await codeOf(house.life('x', { type: 'document.undelete', by }))).toBe('document.deleted')
    expect((await house.life('x', { type: 'document.describe' })).deleted).not.toHaveProperty('purgeAt')
  })
})

describe('a history that is gone', () => {
  const endings: Record<string, (house: DocumentHouse) => Promise<unknown>> = {
    'after a reset': (house) => house.life('x', { type: 'document.reset', by }),
    'after a reset to other content': (house) => house.life('x', { type: 'document.reset', by, update: updateOf('new') }),
    'after delete and create': async (house) => {
      await house.life('x', { type: 'document.remove', by })
      await house.life('x', { type: 'document.create', by })
    },
    'after delete, purge and create': async (house) => {
      await house.life('x', { type: 'document.remove', by })
      await house.life('x', { type: 'document.purge', by })
      await house.crash()
      await house.life('x', { type: 'document.create', by, update: updateOf('new') })
    },
    'after two resets and a crash': async (house) => {
      await house.life('x', { type: 'document.reset', by, update: updateOf('between') })
      await house.life('x', { type: 'document.reset', by })
      await house.crash()
    },
  }

  for (const [when, end] of Object.entries(endings)) {
    it(`does not come back ${when}: who has it is refused, by what it has or by what it says, and new clients work`, async () => {
      const house = await DocumentHouse.open()
      const old = await house.connect('x')
      await old.write('old')
      const { epoch } = await house.life('x', { type: 'document.describe' })
      const offline = reopened(old.doc)
      await end(house)
      const fresh = await house.connect('x')
      await fresh.write('+')
      const expected = fresh.text
      expect(expected).not.toContain('old')

      offline.getText('text').insert(0, 'written offline ')
      for (const doc of [old.doc, offline, reopened(offline)]) {
        const back = await house.connect('x', { doc })
        await quiet()
        expect(back.refused).toMatch(/^document\.epoch/)
      }
      expect(await codeOf(house.connect('x', { epoch }))).toBe('document.epoch')
      expect(await house.text('x')).toBe(expected)
      const { epoch: next } = await house.life('x', { type: 'document.describe' })
      expect(next).not.toBe(epoch)
      const knowing = await house.connect('x', { epoch: next })
      await knowing.write('!')
      expect(await house.text('x')).toBe(`${expected}!`)
    })
  }

  it('is refused in a reader, too, which would show both', async () => {
    const house = await DocumentHouse.open()
    const old = await house.connect('x')
    await old.write('old')
    await house.life('x', { type: 'document.reset', by, update: updateOf('new') })
    const reader = await house.connect('x', { doc: old.doc, access: 'read' })
    expect(reader.refused).toMatch(/^document\.epoch/)
    expect(reader.text).toBe('old')
  })

  it('does not hinder somebody whose document is a part of the new one', async () => {
    const house = await DocumentHouse.open()
    const old = await house.connect('x')
    await old.write('old')
    const export_ = Y.encodeStateAsUpdate(old.doc)
    await old.write(' and more')
    await house.life('x', { type: 'document.reset', by, update: export_ })
    const part = new Y.Doc()
    Y.applyUpdate(part, export_)
    const client = await house.connect('x', { doc: part })
    await client.write('!')
    expect(client.refused).toBeUndefined()
    expect(await house.text('x')).toBe('old!')
    expect((await house.connect('x', { doc: old.doc })).refused).toMatch(/^document\.epoch/)
  })

  it('is told from the one that a restored backup goes on with by the epoch', async () => {
    const house = await DocumentHouse.open()
    await house.append('x', updateOf('hello'))
    const { epoch } = await house.life('x', { type: 'document.describe' })
    const restored = await DocumentHouse.open({ generation: 'g1' })
    await restored.append('x', updateOf('hello'))
    const { epoch: next } = await restored.life('x', { type: 'document.describe' })
    expect(next).toBe(`${epoch}.g1`)
    expect(await codeOf(restored.connect('x', { epoch }))).toBe('document.epoch')
    await restored.connect('x', { epoch: next })
  })
})

describe('copies and new names', () => {
  it('take along what was acknowledged, and the copy goes its own way', async () => {
    const house = await DocumentHouse.open()
    const client = await house.connect('a')
    await client.write('hello')
    expect(await house.life('a', { type: 'document.copy', by: 'eve', to: 'b' })).toMatchObject({ name: 'b', createdBy: 'eve' })
    await client.write(' a')
    expect([await house.text('a'), await house.text('b')]).toEqual(['hello a', 'hello'])
    const epochs = await Promise.all(['a', 'b'].map((name) => house.life(name, { type: 'document.describe' })))
    expect(epochs[0]?.epoch).not.toBe(epochs[1]?.epoch)
  })

  it('lead those who have it open to the new name, where their work goes on', async () => {
    const house = await DocumentHouse.open()
    const client = await house.connect('a')
    await client.write('hello')
    await house.world.clock.advance(5_000)
    const renamed = house.life('a', { type: 'document.rename', by, to: 'b' })
    client.doc.getText('text').insert(5, ', typed meanwhile')
    expect(await renamed).toMatchObject({ name: 'b', renamedFrom: 'a', createdAt: 1_000_000, createdBy: 'ada' })
    await quiet()
    expect(client.refused).toBe('document.renamed: b')
    expect(await codeOf(house.connect('a'))).toBe('document.renamed')
    const moved = await house.connect('b', { doc: client.doc })
    await quiet()
    expect(moved.refused).toBeUndefined()
    expect(await house.text('b')).toBe('hello, typed meanwhile')
    expect(await house.journals.list('document/')).toEqual(['document/b'])
  })

  it('may be taken back, and taken by another document', async () => {
    const house = await DocumentHouse.open()
    await house.append('a', updateOf('hello'))
    await house.life('a', { type: 'document.rename', by, to: 'b' })
    await house.life('b', { type: 'document.rename', by, to: 'a' })
    expect(await house.text('a')).toBe('hello')
    expect(await codeOf(house.connect('b'))).toBe('document.renamed')
    await house.life('b', { type: 'document.create', by, update: updateOf('another') })
    expect(await house.text('b')).toBe('another')
  })

  it('are refused where there is a document already, and both stay as they were', async () => {
    const house = await DocumentHouse.open()
    await house.append('a', updateOf('A'))
    await house.append('b', updateOf('B'))
    for (const type of ['document.copy', 'document.rename'] as const)
      for (const to of ['a', 'b']) expect(await codeOf(house.life('a', { type, by, to }))).toBe('document.exists')
    expect(await codeOf(house.life('a', { type: 'document.rename', by, to: '~x/y' }))).toBe('connection.bad_name')
    expect([await house.text('a'), await house.text('b')]).toEqual(['A', 'B'])
  })

  it('are decided one after the other when two want the same, each other, or the end of it', async () => {
    const house = await DocumentHouse.open()
    for (const name of ['a', 'b', 'c']) await house.append(name, updateOf(name))
    const rename = (name: string, to: string) => codeOf(house.life(name, { type: 'document.rename', by, to }))
    const [one, two] = await Promise.all([rename('a', 'x'), rename('b', 'x')])
    expect([one, two].filter((code) => code === 'document.exists')).toHaveLength(1)
    const loser = one === 'document.exists' ? 'a' : 'b'
    expect(await Promise.all([rename(loser, 'c'), rename('c', loser)])).toEqual(['document.exists', 'document.exists'])
    expect([await house.text(loser), await house.text('c')]).toEqual([loser, 'c'])
    const [renamed, removed] = await Promise.all([rename('c', 'y'), codeOf(house.life('c', { type: 'document.remove', by }))])
    expect([renamed.startsWith('no error'), removed]).toEqual([true, 'document.unavailable'])
    expect(await house.text('y')).toBe('c')
  })

  it('go within a tenant', async () => {
    const house = await DocumentHouse.open()
    await house.append('~acme/a', updateOf('A'))
    await house.life('~acme/a', { type: 'document.rename', by, to: 'b' })
    expect(await house.journals.list('document/')).toEqual(['document/~acme/b'])
  })
})

describe('limits of size', () => {
  it('let a full document be read and shrunk, and take content again when there is room', async () => {
    const house = await DocumentHouse.open({ maxBytes: 4_000 })
    const client = await house.connect('x')
    await client.write('a'.repeat(3_900))
    const other = await house.connect('x')
    await other.write('b'.repeat(1_000))
    expect(other.refused).toBe('document.full: documents.maxBytes 4000')
    expect(await codeOf(house.append('x', updateOf('c'.repeat(1_000))))).toBe('document.full')
    await client.erase(2_000)
    expect(client.refused).toBeUndefined()
    const third = await house.connect('x')
    await third.write('d')
    await quiet()
    await third.write('e'.repeat(1_000))
    expect(third.refused).toBeUndefined()
    expect(await house.text('x')).toBe(`${'a'.repeat(1_900)}d${'e'.repeat(1_000)}`)
  })

  it('judge a tail by what it is worth: single keystrokes do not fill a document', async () => {
    const house = await DocumentHouse.open({ maxBytes: 4_000 })
    const client = await house.connect('x')
    for (let i = 0; i < 600; i++) await client.write('k') // 18 bytes each on the wire, 10 KB together, 600 bytes of text
    expect(client.refused).toBeUndefined()
    expect(await house.text('x')).toBe('k'.repeat(600))
  })

  it('are told of once for each crossing', async () => {
    const grown: string[] = []
    const grew = (document: string, _bytes: number, step: string) => grown.push(`${document} ${step}`)
    const house = await DocumentHouse.open({ warnBytes: 1_000, maxBytes: 2_000, quota: { grew, tenantGrew: () => {} } })
    const client = await house.connect('x')
    for (let i = 0; i < 30; i++) await client.write('w'.repeat(60))
    expect(grown).toEqual(['x warn', 'x full'])
  })

  it('are told of when the first content is refused, for a size just below stays there', async () => {
    const grown: string[] = []
    const grew = (document: string, _bytes: number, step: string) => grown.push(`${document} ${step}`)
    const house = await DocumentHouse.open({ maxBytes: 2_000, quota: { grew, tenantGrew: () => {} } })
    await house.append('x', updateOf('w'.repeat(1_950)))
    for (let tries = 0; tries < 3; tries++) expect(await codeOf(house.append('x', updateOf('v'.repeat(500))))).toBe('document.full')
    expect(grown).toEqual(['x full'])
    await house.append('y', updateOf('w'.repeat(100)))
    expect(grown).toEqual(['x full'])
  })

  it('keep a document that is far too large from being opened, while the server still gets at it', async () => {
    const roomy = await DocumentHouse.open({ maxBytes: 0, refuseBytes: 0 })
    await roomy.append('x', updateOf('z'.repeat(9_000)))
    const house = new DocumentHouse({ maxBytes: 1_000, refuseBytes: 5_000 })
    const [entry] = await roomy.journals.read('document/x')
    await house.boot()
    await house.journals.append('document/x', [entry?.data as Uint8Array])
    expect(await codeOf(house.connect('x'))).toBe('document.full')
    const { snapshot } = (await house.system.ask('document/x', { type: 'document.state' })) as DocumentBytes
    expect(snapshot.length).toBeGreaterThan(9_000)
  })

  it('do not keep out a document that a compaction makes small', async () => {
    const house = await DocumentHouse.open({ maxBytes: 0, refuseBytes: 5_000 })
    const client = await house.connect('x')
    await client.write('z'.repeat(9_000))
    await client.erase(8_990)
    expect(await house.text('x')).toBe('z'.repeat(10))
  })

  it('[TQ1] hold for all documents of a tenant together, and what is deleted no longer counts', async () => {
    const house = await DocumentHouse.open({ tenantBytes: 10_000, idleMs: 1_000 })
    await house.append('a', updateOf('a'.repeat(6_000)))
    await house.world.clock.advance(5_000)
    await house.append('b', updateOf('b'.repeat(3_000)))
    await house.world.clock.advance(5_000)
    expect(((await house.system.ask('usage/default', { type: 'usage.sum' })) as Usage).bytes).toBeGreaterThan(9_000)
    const late = await house.connect('c')
    await late.write('c'.repeat(2_000))
    expect(late.refused).toBe('document.full: documents.tenantBytes 10000')
    await house.life('a', { type: 'document.remove', by })
    await house.world.clock.advance(5_000)
    const next = await house.connect('c')
    await next.write('c'.repeat(2_000))
    expect(next.refused).toBeUndefined()
    await house.append('~acme/a', updateOf('another tenant'.repeat(100)))
  })

  it.each([
    ['by itself', 1_000_000, 3],
    ['to make room', 100_000, 500],
  ])('[TQ1] do not hold for a document that is deleted while it is compacted %s', async (_why, tenantBytes, updates) => {
    const house = await DocumentHouse.open({ tenantBytes, compaction: { updates, share: 0, bytes: 1_000_000 } })
    const client = await house.connect('a')
    const { compact } = documentWork
    let goOn = (): void => {}
    const isTime = new Promise<void>((resolve) => {
      goOn = resolve
    })
    const late = vi.spyOn(documentWork, 'compact').mockImplementation((...given) => isTime.then(() => compact(...given)) as never) // it is waited for
    await client.write('a'.repeat(90_000))
    const other = await house.connect('b')
    if (updates > 3) await other.write('b'.repeat(20_000)) // too much: whoever deletes makes room for it
    for (let n = 0; n < 3; n++) await client.erase(10)
    await house.world.clock.advance(10)
    expect(late).toHaveBeenCalledOnce()
    await house.life('a', { type: 'document.remove', by })
    goOn()
    await house.world.clock.advance(1_000)
    expect(((await house.system.ask('usage/default', { type: 'usage.sum' })) as Usage).bytes).toBe(0)
    late.mockRestore()
  })

  it('[TQ1] refuse who has deleted something beside it after a few questions', async () => {
    const house = await DocumentHouse.open({ tenantBytes: 10_000 })
    await house.append('a', updateOf('a'.repeat(9_000)))
    const client = await house.connect('a')
    client.doc.transact(() => {
      client.doc.getText('text').delete(0, 10)
      client.doc.getText('text').insert(0, 'b'.repeat(5_000))
    })
    for (let ms = 0; ms < 50; ms++) await house.world.clock.advance(1)
    expect(client.refused).toBe('document.full: documents.tenantBytes 10000')
    expect(await house.text('a')).toBe('a'.repeat(8_990))
  })

  it('[TQ1] hold for the first change of each of many new documents, too', async () => {
    const house = await DocumentHouse.open({ tenantBytes: 10_000, idleMs: 1_000 })
    const codes: string[] = []
    for (let i = 0; i < 4; i++) {
      codes.push(await codeOf(house.append(`new-${i}`, updateOf('n'.repeat(4_000)))))
      await house.world.clock.advance(100)
    }
    codes.push(await codeOf(house.life('made', { type: 'document.create', by, update: updateOf('n'.repeat(4_000)) })))
    expect(codes.map((code) => code.startsWith('no error'))).toEqual([true, true, false, false, false])
    expect(codes.slice(2)).toEqual(['document.full', 'document.full', 'document.full'])
  })

  it('[TQ2] beyond the last of a tenant nothing is opened, made, copied or restored; programs get at it, and deleting makes room', async () => {
    const house = await DocumentHouse.open({ tenantRefuseBytes: 10_000, idleMs: 1_000 })
    const inside = await house.connect('a')
    await house.life('gone', { type: 'document.create', by, update: updateOf('gone') })
    await house.life('gone', { type: 'document.remove', by })
    await house.append('a', updateOf('a'.repeat(6_000)))
    await house.append('b', updateOf('b'.repeat(5_000)))
    await house.world.clock.advance(5_000)
    expect(await codeOf(house.connect('b'))).toBe('document.full')
    expect(await codeOf(house.connect('new'))).toBe('document.full')
    expect(await codeOf(house.append('new', updateOf('new')))).toBe('document.full')
    expect(await codeOf(house.life('new', { type: 'document.create', by }))).toBe('document.full')
    expect(await codeOf(house.life('b', { type: 'document.copy', by, to: 'copy' }))).toBe('document.full')
    expect(await codeOf(house.life('gone', { type: 'document.undelete', by }))).toBe('document.full')
    await house.connect('~acme/a')
    await inside.erase(10)
    expect([inside.refused, inside.text.length]).toEqual([undefined, 5_990])
    await house.life('b', { type: 'document.rename', by, to: 'c' })
    const { snapshot, tail } = (await house.system.ask('document/c', { type: 'document.state' })) as DocumentBytes
    expect(snapshot.length + tail.reduce((sum, { length }) => sum + length, 0)).toBeGreaterThan(5_000)
    await house.life('c', { type: 'document.remove', by })
    expect(await house.text('a')).toBe('a'.repeat(5_990))
    await house.life('gone', { type: 'document.undelete', by })
    expect(await house.text('gone')).toBe('gone')
  })

  it('a document that is larger than new ones may be can be renamed', async () => {
    const house = await DocumentHouse.open()
    await house.append('a', updateOf('a'.repeat(6_000)))
    await house.reboot({ maxBytes: 5_000 })
    await house.life('a', { type: 'document.rename', by, to: 'b' })
    expect(await house.text('b')).toBe('a'.repeat(6_000))
    expect(await codeOf(house.life('b', { type: 'document.copy', by, to: 'c' }))).toBe('document.full')
  })

  it('[TQ2] everybody who comes while the sum is asked for gets the same answer', async () => {
    const house = await DocumentHouse.open({ tenantRefuseBytes: 10_000 })
    await house.append('a', updateOf('a'.repeat(11_000)))
    await house.world.clock.advance(1_000)
    await house.crash()
    const codes = await Promise.all(Array.from({ length: 20 }, () => codeOf(house.connect('new'))))
    expect(new Set(codes)).toEqual(new Set(['document.full']))
  })

  it('[TQ3] of a tenant are told of once for each crossing, each tenant for itself', async () => {
    const told: string[] = []
    const quota = { grew: () => {}, tenantGrew: (tenant: string, _bytes: number, step: string) => told.push(`${tenant} ${step}`) }
    const events: string[] = []
    const happened = ({ type, tenant }: DocumentEvent) => type === 'tenant.full' && events.push(tenant)
    const limits = { tenantWarnBytes: 2_000, tenantBytes: 4_000, tenantRefuseBytes: 6_000 }
    const house = await DocumentHouse.open({ ...limits, idleMs: 1_000, quota, happened })
    const grow = async (name: string, bytes: number) => {
      await house.append(name, updateOf('x'.repeat(bytes)))
      await house.world.clock.advance(5_000)
    }
    for (const name of ['~acme/a', '~acme/b', '~acme/c']) await grow(name, 900)
    expect(told).toEqual(['acme warn'])
    await grow('d', 2_500)
    await grow('~acme/e', 1_200)
    expect(told).toEqual(['acme warn', ' warn'])
    await house.crash()
    await grow('d', 100)
    for (let tries = 0; tries < 3; tries++) expect(await codeOf(grow('d', 1_500))).toBe('document.full')
    expect(told).toEqual(['acme warn', ' warn', ' full'])
    await house.life('d', { type: 'document.remove', by })
    await house.world.clock.advance(5_000)
    expect(await codeOf(house.life('f', { type: 'document.create', by, update: updateOf('f'.repeat(5_000)) }))).toBe('document.full')
    await house.world.clock.advance(5_000)
    expect(told.slice(3)).toEqual([' full'])
    expect(events).toEqual(['', ''])
  })

  it('[TQ1] hold for what was there before they were set', async () => {
    const house = await DocumentHouse.open({ idleMs: 1_000 })
    house.sweep()
    for (const name of ['a', 'b']) await house.append(name, updateOf(name.repeat(6_000)))
    await house.world.clock.advance(5_000)
    await house.reboot({ tenantBytes: 10_000 })
    house.sweep()
    await house.world.clock.advance(5_000)
    expect(await codeOf(house.append('c', updateOf('c')))).toBe('document.full')
  })

  it('are right again after a crash, when the sweep has come by', async () => {
    const house = await DocumentHouse.open({ tenantBytes: 100_000, idleMs: 1_000 })
    await house.append('a', updateOf('a'.repeat(6_000)))
    await quiet()
    await house.append('a', updateOf('b'.repeat(3_000)))
    await house.crash()
    house.sweep()
    await house.world.clock.advance(10_000)
    expect(((await house.system.ask('usage/default', { type: 'usage.sum' })) as Usage).bytes).toBeGreaterThan(9_000)
  })
})

describe('the catalog', () => {
  it('lists what is there, by prefix and in pages, each tenant its own, created or written, and what was deleted apart', async () => {
    const house = await DocumentHouse.open({ idleMs: 1_000 })
    const names = ['a/1', 'a/2', 'a/𝄞', 'a/￼', 'b', 'é']
    for (const name of names) await house.append(name, updateOf(name))
    await house.life('a/empty', { type: 'document.create', by })
    await house.append('~acme/a/1', updateOf('other'))
    for (const name of ['a/2', 'b']) await house.life(name, { type: 'document.remove', by })
    await house.world.clock.advance(5_000)
    const list = async (request: object) => {
      const found: string[] = []
      for (let after: string | undefined, more = true; more; ) {
        const defaults = { tenant: '', prefix: '', limit: 2, isDeleted: false, maySee: () => true }
        const page = await listDocuments(house.journals, { ...defaults, ...request, after })
        found.push(...page.documents.map(({ name }) => name))
        after = page.next
        more = after !== undefined
      }
      return found
    }
    expect(await list({})).toEqual(['a/1', 'a/empty', 'a/￼', 'a/𝄞', 'é'])
    expect(await list({ prefix: 'a/' })).toEqual(['a/1', 'a/empty', 'a/￼', 'a/𝄞'])
    expect(await list({ isDeleted: true })).toEqual(['a/2', 'b'])
    expect(await list({ tenant: 'acme' })).toEqual(['a/1'])
    expect(await list({ prefix: '~acme' })).toEqual([])
    expect(house.system.counts().get('document') ?? 0).toBe(0)
  })
})
