/** The forms in which a document is read: those that editors make of it themselves, and nothing that a browser would run. */
import * as fc from 'fast-check'
import { schema as basicSchema } from 'prosemirror-schema-basic'
import { describe, expect, it } from 'vitest'
import { prosemirrorJSONToYXmlFragment, yXmlFragmentToProsemirrorJSON } from 'y-prosemirror'
import * as Y from 'yjs'
import { escapeHtml, nodesHtml } from '../../crdt/html.ts'
import { editJson } from '../../crdt/jsonEdit.ts'
import type { Json } from '../../crdt/jsonValue.ts'
import { type ContentFormat, encodeContent, readContent } from '../../crdt/read.ts'

const limits = { depth: 200, values: 1_000_000 }
const none = new Uint8Array(0)

const made = (make: (doc: Y.Doc) => void): Y.Doc => {
  const doc = new Y.Doc()
  make(doc)
  return doc
}

const read = (doc: Y.Doc, format: ContentFormat, root?: string): string => {
  const result = readContent(Y.encodeStateAsUpdate(doc), [], { format, ...(root === undefined ? {} : { root }) })
  if (!result.ok) throw new Error(result.detail)
  return result.text
}

const readJson = (doc: Y.Doc, format: ContentFormat = 'json', root?: string): Json => JSON.parse(read(doc, format, root)) as Json

/** A document as an editor has it, in words of prosemirror-schema-basic. */
const text = (words: string, ...marks: readonly string[]) => ({
  type: 'text',
  text: words,
  ...(marks.length > 0 && {
    marks: marks.map((type) => ({ type, ...(type === 'link' && { attrs: { href: 'https://a.b', title: null } }) })),
  }),
})
const page = {
  type: 'doc',
  content: [
    { type: 'heading', attrs: { level: 2 }, content: [text('Title')] },
    { type: 'paragraph', content: [text('plain '), text('both', 'em', 'strong'), text(' and '), text('a link', 'link')] },
    { type: 'blockquote', content: [{ type: 'paragraph', content: [text('quoted')] }, { type: 'paragraph' }] },
    { type: 'horizontal_rule' },
    { type: 'paragraph', content: [text('two'), { type: 'hard_break' }, text('lines')] },
  ],
}

describe('a document of ProseMirror', () => {
  const editorDoc = made((doc) => void prosemirrorJSONToYXmlFragment(basicSchema, page, doc.getXmlFragment('prosemirror')))

  it('is read as y-prosemirror reads it', () => {
    const theirs = yXmlFragmentToProsemirrorJSON(editorDoc.getXmlFragment('prosemirror'))
    const flat = { ...theirs, content: (theirs.content as Json[]).flat() }
    expect(readJson(editorDoc, 'prosemirror')).toEqual(JSON.parse(JSON.stringify(flat)))
  })

  it('that is made of JSON is what y-prosemirror makes of it', () => {
    const operations = new TextEncoder().encode(JSON.stringify([{ op: 'add', path: '/prosemirror', value: page, as: 'xml' }]))
    const result = editJson(none, [], operations, 1, limits)
    if (!result.ok) throw new Error(result.detail)
    const doc = made((one) => Y.applyUpdate(one, result.update))
    expect(doc.getXmlFragment('prosemirror').toString()).toBe(editorDoc.getXmlFragment('prosemirror').toString())
    expect(readJson(doc, 'prosemirror')).toEqual(readJson(editorDoc, 'prosemirror'))
  })

  it('as HTML and as text', () => {
    expect(read(editorDoc, 'html')).toBe(
      '<h2>Title</h2><p>plain <em><strong>both</strong></em> and ' +
        '<a href="https://a.b" rel="noopener noreferrer nofollow">a link</a></p>' +
        '<blockquote><p>quoted</p><p></p></blockquote><hr><p>two<br>lines</p>',
    )
    expect(read(editorDoc, 'text')).toBe('Title\nplain both and a link\nquoted\n\n\ntwo\nlines')
  })
})

describe('a text with formats', () => {
  it('is a delta, and HTML as Quill means it', () => {
    const doc = made((one) =>
      one
        .getText('quill')
        .applyDelta([
          { insert: 'Head' },
          { insert: '\n', attributes: { header: 1 } },
          { insert: 'bold', attributes: { bold: true } },
          { insert: ' & <plain>\nitem' },
          { insert: '\n', attributes: { list: 'bullet' } },
          { insert: 'code()' },
          { insert: '\n', attributes: { 'code-block': true } },
          { insert: { image: 'https://a.b/c.png' } },
          { insert: 'x', attributes: { link: 'javascript:alert(1)' } },
        ]),
    )
    expect(readJson(doc, 'delta')).toEqual({ ops: doc.getText('quill').toDelta() })
    expect(read(doc, 'html')).toBe(
      '<h1>Head</h1><p><strong>bold</strong> &amp; &lt;plain&gt;</p><ul><li>item</li></ul><pre>code()\n</pre><p><img src="https://a.b/c.png">x</p>',
    )
  })
})

describe('JSON', () => {
  it('has every root as what it is, and what JSON has no word for in words', () => {
    const doc = made((one) => {
      one.getMap('map').set('bytes', new Uint8Array([1, 2, 3]))
      one.getMap('map').set('big', 1234567890123456789n)
      one.getMap('map').set('missing', undefined)
      one.getMap('map').set('infinite', Number.POSITIVE_INFINITY)
      one.getMap('map').set('sub', new Y.Doc({ guid: 'inner' }))
      one.getMap('map').set('text', new Y.Text('nested'))
      one.getArray('array').push([1, [2], new Y.Map([['a', 1]])])
      one.getText('gone').insert(0, 'x')
      one.getText('gone').delete(0, 1)
    })
    expect(readJson(doc)).toEqual({
      map: { bytes: 'AQID', big: '1234567890123456789', missing: null, infinite: null, sub: { subdocument: 'inner' }, text: 'nested' },
      array: [1, [2], { a: 1 }],
      gone: null,
    })
    expect(readJson(doc, 'roots')).toEqual({ roots: { array: 'array', gone: 'unknown', map: 'map' } })
    expect(readJson(doc, 'json', 'array')).toEqual([1, [2], { a: 1 }])
    expect(readJson(doc, 'json', 'nothing')).toBe(null)
  })

  it('is refused where it would be nested without end', () => {
    const doc = made((one) => {
      let map = one.getMap<unknown>('map')
      for (let depth = 0; depth < 2_000; depth++) {
        const inner = new Y.Map<unknown>()
        map.set('in', inner)
        map = inner
      }
    })
    const state = Y.encodeStateAsUpdate(doc)
    expect(readContent(state, [], { format: 'json' })).toMatchObject({ ok: false, code: 'unreadable' })
    expect(readContent(state, [], { format: 'html', root: 'map' })).toMatchObject({ ok: false, code: 'root' })
  })
})

describe('HTML', () => {
  const nasty = fc.constantFrom(
    '<script>alert(1)</script>',
    '" onerror="alert(1)',
    "' onload='x",
    'javascript:alert(1)',
    ' java\tscript:alert(1)',
    'data:text/html,<script>',
    'vbscript:x',
    '</p><img src=x onerror=1>',
    '--><svg/onload=1>',
    'paragraph',
    'link',
    'image',
    'constructor',
    '__proto__',
  )
  const attrs = fc.dictionary(
    fc.constantFrom('href', 'src', 'alt', 'title', 'level', 'colspan', 'onclick', 'style'),
    fc.oneof(nasty, fc.integer()),
  )
  const node = fc.letrec<{ node: Json }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 3 },
      fc.record({ type: fc.constant('text'), text: nasty, marks: fc.array(fc.record({ type: nasty, attrs }), { maxLength: 3 }) }),
      fc.record({ type: nasty, attrs, content: fc.array(tie('node'), { maxLength: 3 }) }),
    ) as fc.Arbitrary<Json>,
  })).node

  it('has no tag, attribute or scheme beyond those that are meant, whatever is in the document', () => {
    const tag = /<(\/?)([a-z0-9]+)((?: [a-z-]+="[^"<>]*")*)>/g
    fc.assert(
      fc.property(fc.array(node, { maxLength: 4 }), (nodes) => {
        const html = nodesHtml(nodes)
        expect(html.replace(tag, '')).not.toMatch(/[<>"']/)
        for (const [, , name, attributes = ''] of html.matchAll(tag)) {
          expect(name).toMatch(/^(p|h[1-6]|a|img|strong|em|u|s|code|mark|sub|sup|span|div|pre|br|hr)$/)
          for (const [, key, value = ''] of attributes.matchAll(/ ([a-z-]+)="([^"]*)"/g)) {
            expect(key).toMatch(/^(href|src|alt|title|rel|data-type|colspan|rowspan)$/)
            if (key === 'href' || key === 'src') expect(value.replace(/\s/g, '')).not.toMatch(/^(javascript|data|vbscript):/i)
          }
        }
      }),
      { numRuns: 500 },
    )
    expect(escapeHtml(`<&>"'`)).toBe('&lt;&amp;&gt;&quot;&#39;')
  })
})

describe('an update of the whole', () => {
  it('is one, and has what somebody lacks', () => {
    const updates: Uint8Array[] = []
    const doc = new Y.Doc()
    doc.on('update', (update: Uint8Array) => updates.push(update))
    for (let at = 0; at < 100; at++) doc.getText('t').insert(at, String(at % 10))
    const [first = none, ...tail] = updates
    const all = encodeContent(first, tail, undefined)
    if (!all.ok) throw new Error(all.detail)
    expect(
      made((one) => Y.applyUpdate(one, all.bytes))
        .getText('t')
        .toString(),
    ).toBe(doc.getText('t').toString())
    const half = made((one) => {
      for (const update of updates.slice(0, 50)) Y.applyUpdate(one, update)
    })
    const rest = encodeContent(first, tail, Y.encodeStateVector(half))
    if (!rest.ok) throw new Error(rest.detail)
    Y.applyUpdate(half, rest.bytes)
    expect(half.getText('t').toString()).toBe(doc.getText('t').toString())
    expect(encodeContent(first, tail, new Uint8Array([1]))).toMatchObject({ ok: false })
  })
})
