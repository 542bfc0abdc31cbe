/** The forms in which a document is read: those that editors make of it themselves, and nothing that a browser would run. */
import { getSchema } from '@tiptap/core'
import { TaskItem, TaskList } from '@tiptap/extension-list'
import type { DOMOutputSpec, Mark, Node } from '@tiptap/pm/model'
import StarterKit from '@tiptap/starter-kit'
import * as fc from 'fast-check'
import { schema as basicSchema } from 'prosemirror-schema-basic'
import { describe, expect, it } from 'vitest'
import { prosemirrorJSONToYXmlFragment, yXmlFragmentToProsemirrorJSON } from 'y-prosemirror'
import * as Y from 'yjs'
import { deltaHtml } from '../../crdt/deltaHtml.ts'
import { nodesHtml } from '../../crdt/html.ts'
import { escapeHtml } from '../../crdt/htmlAttributes.ts'
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

// ── pages of Tiptap ────────────────────────────────────────────────────────────────────────────────────────────────

const tiptap = getSchema([StarterKit, TaskList, TaskItem])
const words = fc.constantFrom('words', '<b> & "quotes"').map((text) => ({ type: 'text', text }))
const mark = fc.constantFrom(...['bold', 'italic', 'strike', 'underline', 'code'].map((type) => ({ type })), {
  type: 'link',
  attrs: { href: 'https://a.b/?c&d', title: 'T', target: '_self' },
})
const inline = fc.oneof(
  words,
  fc.constant({ type: 'hardBreak' }),
  fc.tuple(words, mark).map(([text, one]) => ({ ...text, marks: [one] })),
)
const holding = (type: string, content: fc.Arbitrary<unknown>, attrs: Record<string, unknown> = {}) =>
  fc.array(content, { minLength: 1, maxLength: 2 }).map((inner) => ({ type, attrs, content: inner }))
const paragraph = holding('paragraph', inline)
const inner = fc.oneof(
  paragraph,
  fc.constantFrom(...[1, 2, 6].map((level) => ({ type: 'heading', attrs: { level }, content: [text('Title')] }))),
  fc.constantFrom(...[null, 'js', 'c++'].map((language) => ({ type: 'codeBlock', attrs: { language }, content: [text('a < b')] }))),
  fc.constant({ type: 'horizontalRule' }),
)
const items = (type: string, attrs = {}) => fc.tuple(paragraph, inner).map((content) => ({ type, attrs, content }))
const block = fc.oneof(
  inner,
  holding('blockquote', inner),
  holding('bulletList', items('listItem')),
  ...[{ start: 5 }, { start: 1 }, { start: 2, type: 'a' }, { type: 'I' }].map((attrs) => holding('orderedList', items('listItem'), attrs)),
  ...[true, false].map((checked) => holding('taskList', items('taskItem', { checked }))),
)
const tiptapPage = fc.array(block, { minLength: 1, maxLength: 3 }).map((content) => tiptap.nodeFromJSON({ type: 'doc', content }))

const docOf = (page: Node): Y.Doc => made((doc) => void prosemirrorJSONToYXmlFragment(tiptap, page.toJSON(), doc.getXmlFragment('prose')))

describe('a document of ProseMirror', () => {
  const editorDoc = made((doc) => void prosemirrorJSONToYXmlFragment(basicSchema, page, doc.getXmlFragment('prosemirror')))

  it('is read as y-prosemirror reads it', () => {
    const theirs = yXmlFragmentToProsemirrorJSON(editorDoc.getXmlFragment('prosemirror'))
    const flat = { ...theirs, content: (theirs.content as Json[]).flat() }
    expect(readJson(editorDoc, 'prosemirror')).toEqual(JSON.parse(JSON.stringify(flat)))
  })

  it('of Tiptap is read as y-prosemirror reads it, and made of that again', () => {
    const flat = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.flat().map(flat)
      if (typeof value !== 'object' || value === null) return value
      return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, flat(inner)]))
    }
    fc.assert(
      fc.property(tiptapPage, (page) => {
        const doc = docOf(page)
        const found = readJson(doc, 'prosemirror')
        expect(found).toEqual(JSON.parse(JSON.stringify(flat(yXmlFragmentToProsemirrorJSON(doc.getXmlFragment('prose'))))))
        expect(tiptap.nodeFromJSON(found).eq(page)).toBe(true)
        const operations = new TextEncoder().encode(JSON.stringify([{ op: 'add', path: '/prose', value: found, as: 'xml' }]))
        const again = editJson(none, [], operations, 1, limits)
        if (!again.ok) throw new Error(again.detail)
        expect(
          readJson(
            made((one) => Y.applyUpdate(one, again.update)),
            'prosemirror',
          ),
        ).toEqual(found)
      }),
      { numRuns: 100 },
    )
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
    '\u0001javascript:alert(1)',
    'JaVaScRiPt&colon;alert(1)',
    'data:text/html,<script>',
    'data:image/svg+xml,<svg onload=alert(1)>',
    'vbscript:x',
    'url(javascript:alert(1))',
    'red; background: url(https://a.b)',
    'red\\;x',
    'expression(alert(1))',
    'rgb(1,2,3);x',
    '</p><img src=x onerror=1>',
    '--><svg/onload=1>',
    'constructor',
    '__proto__',
    'red',
    'center',
  )
  const names = fc.constantFrom(
    ...'paragraph heading blockquote bulletList orderedList ordered_list listItem taskList taskItem codeBlock table tableRow'.split(' '),
    ...'tableCell tableHeader hardBreak horizontalRule image mention text doc constructor __proto__ <b> details'.split(' '),
  )
  const marks = fc.constantFrom('link', 'highlight', 'textStyle', 'bold', 'code', 'comment', 'constructor', '__proto__', '<b>')
  const values = fc.oneof(nasty, fc.integer(), fc.boolean(), fc.constantFrom(null, [1, 2], ['1'], {}), fc.double())
  const attrs = fc.dictionary(
    fc.constantFrom(
      ...'href src alt title level colspan rowspan colwidth onclick style class target rel start order type language checked'.split(' '),
      ...'color backgroundColor fontFamily fontSize lineHeight textAlign align id label mentionSuggestionChar width height'.split(' '),
    ),
    values as fc.Arbitrary<Json>,
    { maxKeys: 8 },
  )
  const node = fc.letrec<{ node: Json }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 3 },
      fc.record({ type: fc.constant('text'), text: nasty, marks: fc.array(fc.record({ type: marks, attrs }), { maxLength: 3 }) }),
      fc.record({ type: names, attrs, content: fc.array(tie('node'), { maxLength: 3 }) }),
    ) as fc.Arbitrary<Json>,
  })).node
  const formatNames = fc.oneof(
    fc.constantFrom(...'link script color background size font header list align code-block blockquote bold highlight'.split(' ')),
    nasty,
  )
  const part = fc.record({
    insert: fc.oneof(nasty, fc.constant('\n'), fc.dictionary(fc.oneof(nasty, fc.constant('image')), values)) as fc.Arbitrary<Json>,
    attributes: fc.dictionary(formatNames, values, { maxKeys: 4 }) as fc.Arbitrary<{ [name: string]: Json }>,
  })

  const tag = /<(\/?)([a-z0-9]+)((?: [a-z-]+="[^"<>]*")*)>/g
  const tags = /^(p|h[1-6]|a|img|strong|em|u|s|code|mark|sub|sup|span|div|pre|br|hr|blockquote|ul|ol|li|label|input|table|tbody|tr|td|th)$/
  const kinds =
    /^(href|src|alt|title|rel|target|width|height|colspan|rowspan|colwidth|start|type|class|checked|style|data-(type|checked|color|id|label|list|language|mention-suggestion-char))$/
  const styles =
    /^((text-align|color|background-color|font-family|font-size|line-height): [^;:()\\<>]*(\((?<!url\()[\w\s.,%/+-]*\))?(; |$))*$/
  const isHarmless = (html: string): void => {
    expect(html.replace(tag, '')).not.toMatch(/[<>"']/)
    for (const [, , name, attributes = ''] of html.matchAll(tag)) {
      expect(name).toMatch(tags)
      const found = [...attributes.matchAll(/ ([a-z-]+)="([^"]*)"/g)]
      expect(new Set(found.map(([, key]) => key)).size).toBe(found.length)
      for (const [, key, value = ''] of found) {
        expect(key).toMatch(kinds)
        if (key === 'href' || key === 'src')
          expect(value.replaceAll('\u0001', '').replace(/\s/g, '')).not.toMatch(/^(javascript|data|vbscript|url):/i)
        if (key === 'style') expect(value.replaceAll(/&(quot|#39);/g, '')).toMatch(styles)
        if (key === 'class') expect(value).toMatch(/^language-[\w+#.-]+$/)
        if (key === 'type') expect(value).toMatch(/^([aAiI]|checkbox)$/)
      }
    }
  }

  it('has no tag, attribute, scheme or style beyond those that are meant, whatever is in the document', () => {
    fc.assert(
      fc.property(fc.array(node, { maxLength: 4 }), (nodes) => isHarmless(nodesHtml(nodes))),
      { numRuns: 500 },
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 4 }), (delta) => isHarmless(deltaHtml(delta))),
      { numRuns: 300 },
    )
    expect(escapeHtml(`<&>"'`)).toBe('&lt;&amp;&gt;&quot;&#39;')
  })

  it('of the nodes and marks of Tiptap is what Tiptap makes of them', () => {
    fc.assert(
      fc.property(tiptapPage, (page) => {
        expect(inOrder(read(docOf(page), 'html'))).toBe(inOrder(tiptapHtml(page)))
      }),
      { numRuns: 100 },
    )
  })

  it('says what is meant by extensions that are common: alignment, colours, tables, pictures, mentions', () => {
    const html = (type: string, attrs: Record<string, Json>, ...content: Json[]) => nodesHtml([{ type, attrs, content }])
    const marked = (type: string, attrs: Record<string, Json>) => nodesHtml([{ type: 'text', text: 'x', marks: [{ type, attrs }] }])
    const one = text('x')
    expect(html('paragraph', { textAlign: 'center' }, one)).toBe('<p style="text-align: center">x</p>')
    expect(html('heading', { level: 2, textAlign: 'right' }, one)).toBe('<h2 style="text-align: right">x</h2>')
    expect(html('paragraph', { textAlign: 'middle' }, one)).toBe('<p>x</p>')
    expect(html('codeBlock', { language: 'js" onclick="x' }, one)).toBe('<pre><code>x</code></pre>')
    expect(marked('highlight', { color: '#ffcc00' })).toBe(
      '<mark data-color="#ffcc00" style="background-color: #ffcc00; color: inherit">x</mark>',
    )
    expect(marked('highlight', { color: 'red;x' })).toBe('<mark>x</mark>')
    expect(marked('textStyle', { color: 'rgb(1, 2, 3)', fontFamily: 'Comic Sans MS, "x"', fontSize: '12px', lineHeight: 1.5 })).toBe(
      '<span style="color: rgb(1, 2, 3); font-family: Comic Sans MS, &quot;x&quot;; font-size: 12px; line-height: 1.5">x</span>',
    )
    expect(marked('textStyle', { color: 'url(//a.b)', backgroundColor: 'var(--x)' })).toBe(
      '<span style="background-color: var(--x)">x</span>',
    )
    expect(marked('superscript', {}) + marked('subscript', {})).toBe('<sup>x</sup><sub>x</sub>')
    expect(marked('link', { href: 'sms:+123', target: '_blank', class: 'x', rel: 'x' })).toBe(
      '<a href="sms:+123" target="_blank" rel="noopener noreferrer nofollow">x</a>',
    )
    expect(html('image', { src: 'a.png', alt: 'A', width: 120, height: '50%', title: null, onload: 'x' })).toBe(
      '<img src="a.png" alt="A" width="120" height="50%">',
    )
    const cells: Json[] = [
      { type: 'tableHeader', attrs: { colspan: 2, rowspan: 1, colwidth: [100, 200] }, content: [one] },
      { type: 'tableCell', attrs: { colspan: '2"', colwidth: ['1'], align: 'right' }, content: [one] },
    ]
    expect(html('table', {}, { type: 'tableRow', content: cells })).toBe(
      '<table><tbody><tr><th colspan="2" rowspan="1" colwidth="100,200">x</th><td style="text-align: right">x</td></tr></tbody></table>',
    )
    expect(html('mention', { id: 7, label: '<Ann>', mentionSuggestionChar: '@' })).toBe(
      '<span data-type="mention" data-id="7" data-label="&lt;Ann&gt;" data-mention-suggestion-char="@">@&lt;Ann&gt;</span>',
    )
    expect(html('text', { x: 1 })).toBe('<span data-type="text"></span>') // an element of this name is no text
  })

  it('of a text says what the formats of Quill mean', () => {
    const lines = (...parts: [string, Record<string, Json>?][]) =>
      deltaHtml(parts.map(([insert, attributes]) => ({ insert, ...(attributes && { attributes }) })))
    expect(lines(['x', { color: 'red', size: '12px' }], ['\n', { align: 'center' }])).toBe(
      '<p style="text-align: center"><span style="font-size: 12px"><span style="color: red">x</span></span></p>',
    )
    expect(lines(['a'], ['\n', { list: 'checked' }], ['b'], ['\n', { list: 'unchecked' }])).toBe(
      '<ul><li data-list="checked">a</li><li data-list="unchecked">b</li></ul>',
    )
    expect(lines(['a'], ['\n', { 'code-block': 'js' }], ['b'], ['\n', { 'code-block': true }])).toBe(
      '<pre data-language="js">a\n</pre><pre>b\n</pre>',
    )
    expect(lines(['a'], ['\n', { header: 2, align: 'right' }])).toBe('<h2 style="text-align: right">a</h2>')
  })
})

/** What Tiptap writes: the specification of an element that each of its nodes and marks makes of itself. */
const tiptapHtml = (page: Node): string => {
  const spelled = (spec: DOMOutputSpec, content: string): string => {
    const [name, ...rest] = spec as unknown as [string, ...unknown[]]
    const [first] = rest
    const hasAttributes = typeof first === 'object' && first !== null && !Array.isArray(first)
    const given = Object.entries(hasAttributes ? first : {}).filter(([, value]) => value !== null && value !== undefined)
    const attributes = given.map(([key, value]) => ` ${key}="${escapeHtml(String(value))}"`).join('')
    const inner = (hasAttributes ? rest.slice(1) : rest).map((one) => (one === 0 ? content : spelled(one as DOMOutputSpec, content)))
    return `<${name}${attributes}>${['br', 'hr', 'input'].includes(name) ? '' : `${inner.join('')}</${name}>`}`
  }
  const nodeHtml = (node: Node): string => {
    if (node.isText)
      return node.marks.reduceRight(
        (inner, mark) => spelled((mark.type.spec.toDOM as (mark: Mark, inline: boolean) => DOMOutputSpec)(mark, true), inner),
        escapeHtml(node.text ?? ''),
      )
    return spelled((node.type.spec.toDOM as (node: Node) => DOMOutputSpec)(node), node.children.map(nodeHtml).join(''))
  }
  return page.children.map(nodeHtml).join('')
}

/** With the attributes of each tag in the order of the alphabet. */
const inOrder = (html: string): string =>
  html.replace(
    /<([a-z0-9]+)((?: [a-z-]+="[^"]*")+)>/g,
    (_, name: string, all: string) =>
      `<${name}${all
        .match(/ [a-z-]+="[^"]*"/g)
        ?.sort()
        .join('')}>`,
  )

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
