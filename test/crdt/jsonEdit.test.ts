/** Operations on documents: they do to a document what JSON Patch does to plain JSON, and nothing else. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { editJson, type JsonEdit } from '../../crdt/jsonEdit.ts'
import { Misfit, plainAt, pointerTokens, withChange } from '../../crdt/jsonPointer.ts'
import { isEqual, isJsonObject, type Json, type JsonObject, Walk } from '../../crdt/jsonValue.ts'
import { documentJson } from '../../crdt/jsonView.ts'
import type { Operation } from '../../crdt/operations.ts'
import { readContent } from '../../crdt/read.ts'
import { inspectUpdate } from '../../crdt/update.ts'

const limits = { depth: 200, values: 1_000_000 }
const none = new Uint8Array(0)

const bytesOf = (operations: readonly Operation[]): Uint8Array => new TextEncoder().encode(JSON.stringify(operations))

const edit = (doc: Y.Doc, ...operations: readonly Operation[]): JsonEdit =>
  editJson(Y.encodeStateAsUpdate(doc), [], bytesOf(operations), 7, limits)

/** Applies them for good. */
const apply = (doc: Y.Doc, ...operations: readonly Operation[]): void => {
  const result = edit(doc, ...operations)
  if (!result.ok) throw new Error(`operation ${result.index}: ${result.detail}`)
  if (result.update.length > 0) Y.applyUpdate(doc, result.update)
}

const made = (make: (doc: Y.Doc) => void): Y.Doc => {
  const doc = new Y.Doc()
  make(doc)
  return doc
}

/** As another program reads it that has the bytes alone. */
const json = (doc: Y.Doc): JsonObject => {
  const copy = new Y.Doc()
  Y.applyUpdate(copy, Y.encodeStateAsUpdate(doc))
  return documentJson(copy, new Walk())
}

// ── against plain JSON ─────────────────────────────────────────────────────────────────────────────────────────────

const key = fc.constantFrom('a', 'b', '0', '1', '', 'x/y', '~1')
const value: fc.Arbitrary<Json> = fc.letrec<{ json: Json }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    fc.constantFrom<Json>(null, true, 0, 1.5, -3, 'text', 'with 😀'),
    fc.array(tie('json'), { maxLength: 3 }),
    fc.dictionary(key, tie('json'), { maxKeys: 3, noNullPrototype: true }),
  ),
})).json

const root = fc.constantFrom('map', 'list')
const escaped = (token: string): string => token.replaceAll('~', '~0').replaceAll('/', '~1')
const path = fc
  .tuple(root, fc.array(fc.oneof(key, fc.constantFrom('-', '0', '1', '2')), { minLength: 1, maxLength: 3 }))
  .map(([name, rest]) => `/${[name, ...rest].map(escaped).join('/')}`)
const keeping = fc.constantFrom(undefined, 'plain' as const)

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constant('add' as const), path, value, as: keeping }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('replace' as const), path, value, as: keeping }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('remove' as const), path }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('test' as const), path, value }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('move' as const, 'copy' as const), from: path, path }) },
)

/** The same on plain JSON; throws a Misfit where it does not fit. */
const onPlain = (state: Json, change: Operation): Json => {
  const tokens = pointerTokens(change.path)
  switch (change.op) {
    case 'add':
    case 'replace':
      return withChange(state, tokens, { kind: change.op, value: (change as { value: Json }).value })
    case 'remove':
      return withChange(state, tokens, { kind: 'remove' })
    case 'test':
      if (!isEqual(plainAt(state, tokens), change.value)) throw new Misfit('test')
      return state
    case 'copy':
    case 'move': {
      const from = pointerTokens(change.from)
      const moved = plainAt(state, from)
      if (change.op === 'copy') return withChange(state, tokens, { kind: 'add', value: moved })
      if (change.from === change.path) return state
      if (change.path.startsWith(`${change.from}/`)) throw new Misfit('into itself')
      return withChange(withChange(state, from, { kind: 'remove' }), tokens, { kind: 'add', value: moved })
    }
    default:
      throw new Error('not of JSON Patch')
  }
}

const attempt = <Value>(run: () => Value): Value | undefined => {
  try {
    return run()
  } catch (reason) {
    if (reason instanceof Misfit) return undefined
    throw reason
  }
}

/** What lies in a document: shared types and plain values in each other. */
type Tree =
  | { readonly text: string }
  | { readonly list: readonly Tree[] }
  | { readonly map: Readonly<Record<string, Tree>> }
  | { readonly plain: Json }

const tree: fc.Arbitrary<Tree> = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    fc.record({ plain: value }),
    fc.record({ text: fc.constantFrom('', 'text', 'a text 😀') }),
    fc.record({ list: fc.array(tie('tree'), { maxLength: 3 }) }),
    fc.record({ map: fc.dictionary(key, tie('tree'), { maxKeys: 3 }) }),
  ),
})).tree

const grown = (branch: Tree): unknown => {
  if ('text' in branch) return new Y.Text(branch.text)
  if ('list' in branch) return Y.Array.from(branch.list.map(grown) as string[]) // of anything
  if ('map' in branch) return new Y.Map(Object.entries(branch.map).map(([name, inner]) => [name, grown(inner)]))
  return branch.plain
}

/** The shared types, by their paths, that a value agrees with in kind, and of lists in length. */
const sharedIn = (present: unknown, put: Json | undefined, path = ''): [path: string, type: unknown][] => {
  if (present instanceof Y.Text) return typeof put === 'string' ? [[path, present]] : []
  if (present instanceof Y.Array) {
    if (!Array.isArray(put)) return []
    const inner = put.length === present.length ? put : []
    return [[path, present], ...inner.flatMap((one, at) => sharedIn(present.get(at), one as Json, `${path}/${at}`))]
  }
  if (!(present instanceof Y.Map) || !isJsonObject(put)) return []
  return [[path, present], ...Object.entries(put).flatMap(([name, one]) => sharedIn(present.get(name), one, `${path}/${name}`))]
}

describe('operations on a document', () => {
  it('do what JSON Patch does to plain JSON: all of them, or none', () => {
    const start = { map: { a: { b: [1, 'two'] }, b: 'x' }, list: [{ a: 1 }, [2], 'three'] } as const
    fc.assert(
      fc.property(fc.array(operation, { minLength: 1, maxLength: 6 }), fc.boolean(), (operations, isPlain) => {
        const doc = new Y.Doc()
        apply(doc, { op: 'add', path: '/map', value: start.map }, { op: 'add', path: '/list', value: start.list })
        if (isPlain) apply(doc, { op: 'add', path: '/map/a', value: start.map.a, as: 'plain' })
        const expected = attempt(() => operations.reduce(onPlain, start as Json)) as JsonObject | undefined
        const result = edit(doc, ...operations)
        expect(result.ok).toBe(expected !== undefined)
        if (result.ok && result.update.length > 0) Y.applyUpdate(doc, result.update)
        const isEmpty = (inner: Json | undefined): boolean => isEqual(inner ?? null, {}) || isEqual(inner ?? null, [])
        for (const name of ['map', 'list']) {
          const wanted = (expected ?? (start as JsonObject))[name] as Json
          // A root without content is whatever is put into it next.
          if (isEmpty(wanted)) expect(json(doc)[name]).toBe(null)
          else expect(json(doc)[name]).toEqual(wanted)
        }
      }),
      { numRuns: 300 },
    )
  })

  it('are made or refused, whatever they are and wherever they go; what comes out can be read in every form', () => {
    const name = fc.constantFrom('map', 'list', 'text', 'xml', 'new')
    const part = fc.constantFrom('0', '1', '2', '-', 'a', 'plain', 'text', '@level', '@', '')
    const anywhere = fc.tuple(name, fc.array(part, { maxLength: 4 })).map(([root, rest]) => `/${[root, ...rest].join('/')}`)
    const number = fc.integer({ min: 0, max: 12 })
    const node = fc.constantFrom<Json>(
      { type: 'text', text: 'words' },
      {
        type: 'paragraph',
        attrs: { level: 1 },
        content: [
          { type: 'text', text: 'b😀', marks: [{ type: 'bold' }] },
          { type: 'text', text: 'c' },
        ],
      },
      [
        { type: 'hr' },
        {
          type: 'text',
          text: 'x',
          marks: [
            { type: 'link', attrs: { href: 'a' } },
            { type: 'link', attrs: { href: 'b' } },
          ],
        },
      ],
    )
    const formats = fc.constantFrom<JsonObject>({}, { bold: true }, { bold: null }, { header: 1 })
    const any: fc.Arbitrary<Operation> = fc.oneof(
      fc.record({
        op: fc.constantFrom('add' as const, 'replace' as const),
        path: anywhere,
        value: fc.oneof(value, node),
        as: fc.constantFrom(undefined, 'text', 'plain', 'xml'),
      }),
      fc.record({ op: fc.constant('remove' as const), path: anywhere }),
      fc.record({ op: fc.constantFrom('move' as const, 'copy' as const), from: anywhere, path: anywhere }),
      fc.record({
        op: fc.constant('insert' as const),
        path: anywhere,
        index: number,
        text: fc.constantFrom('x', 'line\n', '😀'),
        attributes: formats,
      }),
      fc.record({ op: fc.constant('delete' as const), path: anywhere, index: number, length: number }),
      fc.record({ op: fc.constant('format' as const), path: anywhere, index: number, length: number, attributes: formats }),
    )
    const start = made((doc) => {
      doc.getMap('map').set('text', new Y.Text('a😀b'))
      doc.getMap('map').set('plain', { a: [1, { b: 2 }] })
      doc.getMap('map').set('bytes', new Uint8Array([1, 2]))
      doc.getArray('list').push([1, new Y.Map([['a', new Y.Array()]]), new Y.Text('t')])
      doc.getText('text').insert(0, 'a😀b')
      doc.getText('text').insertEmbed(1, { image: 'a' })
      doc.getXmlFragment('xml').insert(0, [new Y.XmlElement('p'), new Y.XmlText('words')])
    })
    const state = Y.encodeStateAsUpdate(start)
    fc.assert(
      fc.property(fc.array(any, { minLength: 1, maxLength: 2 }), (operations) => {
        const result = editJson(state, [], bytesOf(operations), 7, limits)
        if (!result.ok) return
        const tail = result.update.length === 0 ? [] : [result.update]
        for (const update of tail) expect(inspectUpdate(update)).toMatchObject({ ok: true })
        for (const format of ['json', 'roots'] as const) expect(readContent(state, tail, { format })).toMatchObject({ ok: true })
        for (const format of ['text', 'html', 'prosemirror', 'delta'] as const)
          for (const root of ['map', 'text', 'xml', 'new']) {
            const read = readContent(state, tail, { format, root })
            if (!read.ok) expect(read.code).toBe('root')
          }
      }),
      { numRuns: 400 },
    )
  })

  it('merge with what others do meanwhile, as any other change does', () => {
    const doc = made((one) => {
      one.getText('text').insert(0, 'Hello world')
      one.getMap('settings').set('theme', 'dark')
    })
    const state = Y.encodeStateAsUpdate(doc)
    const run = (client: number, ...operations: Operation[]) => {
      const result = editJson(state, [], bytesOf(operations), client, limits)
      return result.ok ? result.update : none
    }
    const one = run(1, { op: 'insert', path: '/text', index: 5, text: ',' }, { op: 'add', path: '/settings/size', value: 12 })
    const two = run(2, { op: 'replace', path: '/text', value: 'Hello, big world' }, { op: 'add', path: '/settings/lang', value: 'en' })
    doc.getText('text').insert(11, '!')
    for (const update of [two, one]) Y.applyUpdate(doc, update)
    expect(doc.getMap('settings').toJSON()).toEqual({ theme: 'dark', size: 12, lang: 'en' })
    expect(doc.getText('text').toString()).toMatch(/^Hello,.* big world!$/)
  })

  it('make the root that they need', () => {
    const doc = new Y.Doc()
    apply(
      doc,
      { op: 'add', path: '/settings/theme', value: 'dark' },
      { op: 'add', path: '/items/-', value: 'first' },
      { op: 'insert', path: '/body', index: 0, text: 'hi' },
      { op: 'add', path: '/page/-', value: { type: 'paragraph', content: [{ type: 'text', text: 'one' }] }, as: 'xml' },
    )
    expect(doc.getMap('settings').toJSON()).toEqual({ theme: 'dark' })
    expect(doc.getArray('items').toJSON()).toEqual(['first'])
    expect(doc.getText('body').toString()).toBe('hi')
    expect(doc.getXmlFragment('page').toString()).toBe('<paragraph>one</paragraph>')
  })

  it('keep values shared, as one, or as a text, as they are told', () => {
    const doc = new Y.Doc()
    apply(
      doc,
      { op: 'add', path: '/m/shared', value: { a: [1] } },
      { op: 'add', path: '/m/plain', value: { a: [1] }, as: 'plain' },
      { op: 'add', path: '/m/text', value: 'long', as: 'text' },
      { op: 'add', path: '/m/plain/a/-', value: 2 },
    )
    const map = doc.getMap('m')
    expect(map.get('shared')).toBeInstanceOf(Y.Map)
    expect((map.get('shared') as Y.Map<unknown>).get('a')).toBeInstanceOf(Y.Array)
    expect(map.get('plain')).toEqual({ a: [1, 2] })
    expect(map.get('text')).toBeInstanceOf(Y.Text)
    apply(doc, { op: 'replace', path: '/m/text', value: 'longer' })
    expect((map.get('text') as Y.Text).toString()).toBe('longer')
  })

  it('leave of a text, and of a list, what is the same', () => {
    const doc = made((one) => {
      one.getText('t').insert(0, 'abc 😀 def')
      one.getArray('l').push([1, 2, 3, 4])
    })
    const before = Y.encodeStateVector(doc)
    apply(doc, { op: 'replace', path: '/t', value: 'abc 😁 def' }, { op: 'replace', path: '/l', value: [1, 2, 9, 4] })
    expect(doc.getText('t').toString()).toBe('abc 😁 def')
    const structs = Y.decodeUpdate(Y.encodeStateAsUpdate(doc, before)).structs
    expect(structs.reduce((sum, { length }) => sum + length, 0)).toBe(3) // two units and one element
  })

  it('keep every shared type whose new value is of its kind, with all that others do to it meanwhile', () => {
    fc.assert(
      fc.property(
        fc.dictionary(key, tree, { maxKeys: 3 }),
        fc.dictionary(key, value, { maxKeys: 3, noNullPrototype: true }),
        (old, put) => {
          const doc = new Y.Doc()
          for (const [name, branch] of Object.entries(old)) doc.getMap('m').set(name, grown(branch))
          const wasThere = sharedIn(doc.getMap('m'), put)
          apply(doc, { op: 'add', path: '/m', value: put })
          if (!isEqual(put, {})) expect(json(doc).m).toEqual(put)
          const isThere = new Map(sharedIn(doc.getMap('m'), put))
          for (const [path, type] of wasThere) expect(isThere.get(path) === type).toBe(true)
          expect(edit(doc, { op: 'replace', path: '/m', value: put })).toEqual({ ok: true, update: none })
        },
      ),
      { numRuns: 150 },
    )
  })

  it('give a shared type at any place a value of its kind', () => {
    const doc = made((one) => {
      const page = new Y.XmlFragment()
      page.insert(0, [new Y.XmlElement('paragraph'), new Y.XmlElement('rule')])
      one.getMap('m').set(
        'card',
        new Y.Map<unknown>([
          ['title', new Y.Text('Hello')],
          ['page', page],
          ['tags', new Y.Array()],
        ]),
      )
      one.getArray('l').push([new Y.Text('one'), 1, new Y.Map([['a', 1]])])
    })
    const card = doc.getMap('m').get('card') as Y.Map<Y.AbstractType<unknown>>
    const shared = [card, card.get('title'), card.get('page'), card.get('tags'), doc.getArray('l').get(0), doc.getArray('l').get(2)]
    const [page, list] = [{ type: 'doc', content: [{ type: 'rule' }] }, ['two', 2, 3, { a: 2 }]]
    apply(
      doc,
      { op: 'add', path: '/m/card', value: { title: 'Hello!', page, tags: ['x'] } },
      { op: 'replace', path: '/l/2', value: { a: 2 } },
      { op: 'add', path: '/l', value: list },
    )
    expect(json(doc)).toEqual({ m: { card: { title: 'Hello!', page, tags: ['x'] } }, l: list })
    const stayed = [doc.getMap('m').get('card'), card.get('title'), card.get('page'), card.get('tags'), doc.getArray('l').get(0)]
    expect([...stayed, doc.getArray('l').get(3)].map((type, at) => type === shared[at])).toEqual(Array(6).fill(true))
    apply(doc, { op: 'add', path: '/m/card', value: { title: 'as one' }, as: 'plain' })
    expect(doc.getMap('m').get('card')).toEqual({ title: 'as one' })
  })

  it('write, take away and format in texts, in XML, too', () => {
    const doc = made((one) => one.getText('t').insert(0, 'bold plain', undefined))
    apply(
      doc,
      { op: 'format', path: '/t', index: 0, length: 4, attributes: { bold: true } },
      { op: 'replace', path: '/t', index: 5, length: 5, text: 'text' },
      { op: 'insert', path: '/t', index: 0, embed: { image: 'a.png' } },
      { op: 'delete', path: '/t', index: 5, length: 1 },
    )
    expect(doc.getText('t').toDelta()).toEqual([
      { insert: { image: 'a.png' } },
      { insert: 'bold', attributes: { bold: true } },
      { insert: 'text' },
    ])
    apply(doc, { op: 'format', path: '/t', index: 1, length: 4, attributes: { bold: null } })
    expect(doc.getText('t').toDelta()).toEqual([{ insert: { image: 'a.png' } }, { insert: 'boldtext' }])
    apply(
      doc,
      { op: 'add', path: '/x/-', value: { type: 'heading', attrs: { level: 1 }, content: [{ type: 'text', text: 'Top' }] }, as: 'xml' },
      { op: 'insert', path: '/x/0/0', index: 3, text: '!' },
      { op: 'replace', path: '/x/0/@level', value: 2 },
      { op: 'copy', from: '/x/0', path: '/x/-' },
      { op: 'remove', path: '/x/0/@level' },
    )
    expect(json(doc).x).toEqual({
      type: 'doc',
      content: [
        { type: 'heading', content: [{ type: 'text', text: 'Top!' }] },
        { type: 'heading', attrs: { level: 2 }, content: [{ type: 'text', text: 'Top!' }] },
      ],
    })
  })

  it('that only look, or change nothing, make no update', () => {
    const doc = made((one) => one.getMap('m').set('a', 1))
    expect(edit(doc, { op: 'test', path: '/m/a', value: 1 })).toEqual({ ok: true, update: none })
    expect(edit(doc, { op: 'replace', path: '/m', value: { a: 1 } })).toEqual({ ok: true, update: none })
    expect(edit(doc, { op: 'test', path: '', value: { m: { a: 1 } } })).toMatchObject({ ok: true })
    expect(edit(doc, { op: 'test', path: '/m/a', value: 2 })).toMatchObject({ ok: false, code: 'test', index: 0 })
    expect(edit(doc, { op: 'test', path: '/m/b', value: 2 })).toMatchObject({ ok: false, code: 'test' })
  })

  it('that do not fit are refused by their place, and the document is untouched', () => {
    const doc = made((one) => {
      one.getText('t').insert(0, 'a😀b')
      one.getMap('m').set('plain', 'text')
      one.getArray('l').push([1])
      one.getXmlFragment('x').push([new Y.XmlElement('p')])
    })
    const refused: readonly Operation[] = [
      { op: 'insert', path: '/t', index: 5, text: 'x' },
      { op: 'insert', path: '/t', index: 2 ** 53 - 1, text: 'x' },
      { op: 'delete', path: '/t', index: 1, length: 2 ** 53 - 1 },
      { op: 'insert', path: '/t', index: 2, text: 'x' }, // inside the pair
      { op: 'delete', path: '/t', index: 1, length: 1 },
      { op: 'insert', path: '/t', index: 0, text: '\ud83d' },
      { op: 'insert', path: '/m/plain', index: 0, text: 'x' },
      { op: 'insert', path: '', index: 0, text: 'x' },
      { op: 'add', path: '/m/__proto__', value: 1 },
      { op: 'add', path: '/__proto__/x', value: 1 },
      { op: 'add', path: '/m/x', value: JSON.parse('{"__proto__":{"admin":true}}') },
      { op: 'add', path: '/m/\ud83d', value: 1 },
      { op: 'add', path: '', value: {} },
      { op: 'add', path: 'm', value: 1 },
      { op: 'add', path: '/m/~2', value: 1 },
      { op: 'add', path: '/m/no/where', value: 1 },
      { op: 'add', path: '/l/3', value: 1 },
      { op: 'add', path: '/l/01', value: 1 },
      { op: 'add', path: '/l/99999999999999999999', value: 1 },
      { op: 'replace', path: '/l/1', value: 1 },
      { op: 'replace', path: '/t', value: [1] },
      { op: 'replace', path: '/m', value: 1, as: 'plain' },
      { op: 'add', path: '/t/0', value: 'x' },
      { op: 'remove', path: '/nothing' },
      { op: 'add', path: '/x/-', value: { text: 'no type' }, as: 'xml' },
      { op: 'move', from: '/m', path: '/m/m' },
      { op: 'add', path: '/x/0/@__proto__', value: 1 },
      { op: 'add', path: '/x/-', value: { type: 'text', text: 'x', marks: [{ type: '__proto__', attrs: {} }] }, as: 'xml' },
      { op: 'add', path: '/m/~0~', value: 1 },
      { op: 'add', path: '/l/-1', value: 1 },
      { op: 'add', path: '/l/1e0', value: 1 },
      { op: 'add', path: '/l/4294967296', value: 1 },
      { op: 'remove', path: '/l/-' },
      { op: 'add', path: '/t/constructor', value: 1 },
      { op: 'remove', path: '/constructor' },
      { op: 'remove', path: '/m/constructor' },
    ]
    for (const one of refused) {
      const result = edit(doc, { op: 'add', path: '/m/before', value: 1 }, one)
      expect([one, result]).toEqual([one, { ok: false, code: 'misfit', index: 1, detail: expect.any(String) }])
    }
    expect(json(doc)).toEqual({ t: 'a😀b', m: { plain: 'text' }, l: [1], x: { type: 'doc', content: [{ type: 'p' }] } })
    expect(({} as { admin?: boolean }).admin).toBe(undefined)
  })

  it('cannot make more than a request may: not by copying, and not by nesting', () => {
    const doc = made((one) => one.getArray('l').push([1, 2, 3, 4]))
    const doubling = Array.from({ length: 60 }, (): Operation => ({ op: 'copy', from: '/l', path: '/l/-' }))
    expect(edit(doc, ...doubling)).toMatchObject({ ok: false, code: 'misfit' })
    const map = made((one) => one.getMap('m').set('a', 1))
    const nesting = Array.from({ length: 400 }, (_, at): Operation => ({ op: 'add', path: `/m${'/n'.repeat(at + 1)}`, value: {} }))
    expect(edit(map, ...nesting)).toMatchObject({ ok: false, code: 'misfit', detail: expect.stringContaining('nested deeper') })
  })
})
