/**
 * What lies in a document, as JSON for programs that know no Yjs. (Its history has a form of its own, content.ts, in which nothing is
 * left out.)
 *
 *   Y.Map, Y.Array          object, array
 *   Y.Text                  text without formats; embedded objects are left out
 *   Y.XmlFragment           {"type": "doc", "content": [nodes]}, ProseMirror JSON without a schema
 *   Uint8Array              text in base64
 *   Y.Doc                   {"subdocument": guid}
 *   undefined, NaN, ±∞      null
 *   bigint                  text of its digits
 *
 * y-prosemirror and Tiptap lay a document out like this, and prosemirror.ts makes it of JSON:
 *
 *   node     = XmlElement: its name is the type, its attributes are the attrs, its children the content
 *   texts    = one XmlText for each run of text nodes; formats are marks, a format's value the attrs of the mark
 *   overlapping marks of one type are formats named `type--hash`
 *
 * Promises: what comes out can be spelled by `JSON.stringify`; depth and size of what is walked are bounded.
 */
import * as Y from 'yjs'
import { base64 } from './base64.ts'
import { type Json, type JsonObject, objectOf, scalarJson, type Walk } from './jsonValue.ts'
import { knownRoot } from './roots.ts'

export const jsonOf = (value: unknown, walk: Walk, depth = 0): Json => {
  walk.step(depth, typeof value === 'string' ? value.length : 0)
  return typeof value === 'object' && value !== null ? jsonOfObject(value, walk, depth) : scalarJson(value)
}

const jsonOfObject = (value: object, walk: Walk, depth: number): Json => {
  const within = (inner: unknown): Json => jsonOf(inner, walk, depth + 1)
  if (value instanceof Y.XmlElement || value instanceof Y.XmlHook) return elementNode(value, walk, depth)
  if (value instanceof Y.XmlFragment) return fragmentNode(value, walk, depth)
  if (value instanceof Y.XmlText) return textNodes(value, walk, depth)
  if (value instanceof Y.Text) return textOf(value, walk, depth)
  if (value instanceof Y.Map)
    return objectOf(Array.from(value.entries() as Iterable<[string, unknown]>, ([key, inner]) => [key, within(inner)]))
  if (value instanceof Y.Array) return value.toArray().map(within)
  if (value instanceof Uint8Array) return base64.encode(value)
  if (value instanceof Y.Doc) return { subdocument: value.guid }
  if (Array.isArray(value)) return value.map(within)
  return objectOf(Object.entries(value).map(([key, inner]) => [key, within(inner)]))
}

const textOf = (text: Y.Text, walk: Walk, depth: number): string => {
  const characters = text.toString()
  walk.step(depth, characters.length)
  return characters
}

/** All roots by their names; one that has no content is null, for nothing tells what it is. */
export const documentJson = (doc: Y.Doc, walk: Walk): JsonObject =>
  objectOf([...doc.share.keys()].sort().map((name) => [name, jsonOf(knownRoot(doc, name) ?? null, walk, 1)]))

// ── XML ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const overlapping = /^(.*)--[A-Za-z0-9+/=]{8}$/s

const markName = (format: string): string => overlapping.exec(format)?.[1] ?? format

const entriesOf = (attributes: object, walk: Walk, depth: number): JsonObject =>
  objectOf(Object.entries(attributes).map(([name, value]) => [name, jsonOf(value, walk, depth + 1)]))

export const fragmentNode = (fragment: Y.XmlFragment, walk: Walk, depth: number): JsonObject => ({
  type: 'doc',
  content: contentOf(fragment, walk, depth),
})

const contentOf = (parent: Y.XmlFragment, walk: Walk, depth: number): readonly Json[] =>
  parent.toArray().flatMap((child) => {
    if (child instanceof Y.XmlText) return textNodes(child, walk, depth + 1)
    return [elementNode(child, walk, depth + 1)]
  })

export const elementNode = (element: Y.XmlElement | Y.XmlHook | Y.XmlFragment, walk: Walk, depth: number): JsonObject => {
  walk.step(depth)
  if (element instanceof Y.XmlHook) return { type: element.hookName, attrs: entriesOf(Object.fromEntries(element.entries()), walk, depth) }
  if (!(element instanceof Y.XmlElement)) return fragmentNode(element, walk, depth)
  const attributes = element.getAttributes()
  const attrs = Object.keys(attributes).length === 0 ? {} : { attrs: entriesOf(attributes, walk, depth) }
  const content = element.length === 0 ? {} : { content: contentOf(element, walk, depth) }
  return { type: element.nodeName, ...attrs, ...content }
}

interface DeltaPart {
  readonly insert: unknown
  readonly attributes?: Readonly<Record<string, unknown>>
}

export const textNodes = (text: Y.XmlText, walk: Walk, depth: number): readonly Json[] =>
  (text.toDelta() as DeltaPart[]).map(({ insert, attributes = {} }): JsonObject => {
    walk.step(depth, typeof insert === 'string' ? insert.length : 0)
    const marks = Object.entries(attributes).map(([format, attrs]) => ({ type: markName(format), attrs: jsonOf(attrs, walk, depth + 2) }))
    const node =
      typeof insert === 'string' ? { type: 'text', text: insert } : { type: 'embed', attrs: { value: jsonOf(insert, walk, depth + 1) } }
    return marks.length === 0 ? node : { ...node, marks }
  })
