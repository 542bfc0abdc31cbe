/** Documents that nest without end: a client may make one, and nobody may be stopped by it. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { compact } from '../../crdt/compact.ts'
import { installFlatDeletion } from '../../crdt/flatDeletion.ts'
import { packChanges } from '../../crdt/history.ts'
import { documentWork } from '../../crdt/work.ts'

describe('deleting one level after the other', () => {
  it('[BIG22] leaves what Yjs leaves', () => {
    /** Each step makes a type in one of those before, or deletes what one of them holds. */
    const step = fc.tuple(fc.nat(), fc.constantFrom('map', 'list', 'text', 'delete'), fc.constantFrom('a', 'b'))
    const after = (steps: readonly [number, string, string][]): readonly unknown[] => {
      const doc = new Y.Doc()
      doc.clientID = 1
      const seen: unknown[] = []
      doc.on('afterTransaction', ({ changed, deleteSet }) => seen.push([changed.size, deleteSet.clients.get(1)]))
      doc.on('update', (update) => seen.push(update))
      const types: (Y.Map<unknown> | Y.Array<unknown>)[] = [doc.getMap('root')]
      for (let at = 0; at < steps.length; at += 4)
        doc.transact(() => {
          for (const [nth, kind, key] of steps.slice(at, at + 4)) {
            const type = types[nth % types.length] as Y.Map<unknown> | Y.Array<unknown>
            const inner = kind === 'map' ? new Y.Map<unknown>() : kind === 'list' ? new Y.Array<unknown>() : new Y.Text('text')
            if (kind === 'delete') type instanceof Y.Map ? type.delete(key) : type.length > 0 && type.delete(0, 1)
            else if (type instanceof Y.Map) type.set(key, inner)
            else type.insert(0, [inner])
            if (kind === 'map' || kind === 'list') types.push(inner as Y.Map<unknown>)
          }
        })
      return [...seen, Y.encodeStateAsUpdate(doc)]
    }
    const runs = fc.sample(fc.array(step, { minLength: 5, maxLength: 40 }), { numRuns: 100, seed: 7 })
    const { delete: stockDelete } = Y.ContentType.prototype
    expect(String(stockDelete)).toContain('_start') // nobody has installed it yet
    const stock = runs.map(after)
    installFlatDeletion()
    expect(Y.ContentType.prototype.delete).not.toBe(stockDelete)
    expect(runs.map(after)).toEqual(stock)
  })
})

const levels = 10_000

/** A type in a type in a type, in XML and in maps, as one update; and the deletion of the outermost. */
const chain = (kind: 'xml' | 'map'): { readonly made: Uint8Array; readonly deleted: Uint8Array } => {
  const doc = new Y.Doc()
  doc.clientID = 1
  doc.transact(() => {
    let type = (kind === 'xml' ? doc.getXmlFragment('deep') : doc.getMap('deep')) as Y.XmlFragment | Y.Map<unknown>
    for (let at = 0; at < levels; at++) {
      const inner = kind === 'xml' ? new Y.XmlElement('p') : new Y.Map<unknown>()
      if (type instanceof Y.Map) type.set('in', inner)
      else type.insert(0, [inner as Y.XmlElement])
      type = inner
    }
  })
  return { made: Y.encodeStateAsUpdate(doc), deleted: new Uint8Array([0, 1, 1, 1, 0, 1]) } // client 1, one range: clock 0, length 1
}

const none = new Uint8Array(0)
const ann = { user: 'ann', via: '' }
const bytesOf = (operations: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(operations))

describe.each(['xml', 'map'] as const)('10 000 levels of %s', (kind) => {
  const { made, deleted } = chain(kind)
  const material = { base: none, baseAt: 0, blocks: [packChanges([{ offset: 1, time: 1, author: ann, update: made }])] }
  const live = { at: 1, snapshot: made, tail: [] }

  it('[BIG22] can be deleted, by an editor and over HTTP', () => {
    expect(compact(made, [deleted])).toMatchObject({ ok: true, quarantined: [] })
    expect(documentWork.readContent(made, [deleted], { format: 'json' })).toEqual({ ok: true, text: '{"deep":null}' })
    const removed = documentWork.editJson(made, [], bytesOf([{ op: 'remove', path: '/deep' }]), 2, { depth: 200, values: 1_000 })
    expect(removed.ok && documentWork.readContent(made, [removed.update], { format: 'json' })).toEqual({ ok: true, text: '{"deep":null}' })
  })

  it('are shown in no form, and that is said', () => {
    const detail = 'nested deeper than 256 levels'
    for (const format of ['json', ...(kind === 'xml' ? (['text', 'html', 'prosemirror'] as const) : [])] as const)
      expect(documentWork.readContent(made, [], { format })).toEqual({ ok: false, code: 'unreadable', detail })
    expect(documentWork.historyView(material, 1, true)).toEqual({ ok: false, detail })
    expect(documentWork.historyView(material, 1, false)).toMatchObject({ ok: true, value: { roots: {} } })
    expect(documentWork.historyDiff(material, { after: 0, upTo: 1 }, 0)).toEqual({ ok: false, detail })
  })

  it('[HIS3] [HIS4] can be gone back from', () => {
    const author = { user: 'ann' }
    const reverted = [
      documentWork.historyRestore(material, 0, live),
      documentWork.historyRollback(material, { after: 0, upTo: 1, author }, live),
    ]
    for (const done of reverted) {
      if (!done.ok || done.value.update === undefined) throw new Error('not done')
      expect(documentWork.readContent(made, [done.value.update], { format: 'json' })).toEqual({ ok: true, text: '{"deep":null}' })
    }
  })
})
