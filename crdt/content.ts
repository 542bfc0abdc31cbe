/**
 * The content of a document as its history shows it, compares it and puts it back: all of it, as JSON, without knowing what a type is
 * for. A root that comes out of an update has no kind, and an application may use one as text here and as list there. So each type
 * is its sequence and its keys, whatever it has of both.
 *
 *   Content = { type?, name?, content?: Run[], keys?: { key: Value } }
 *   Run     = { insert: text | Content, attributes? } | { insert: { embed }, attributes? } | { values: Value[] }
 *   Value   = JSON | Content (with `type`) | { binary: base64 } | { document: guid }
 *
 * `sees` says which part of an item is there; by default all that is not deleted. So the past can be read from a document that was
 * not garbage-collected; the methods of Yjs types know only the present.
 *
 * What programs read is another form (jsonView.ts), plain and with less in it: no formats of a text, no keys of a list. Were moments
 * compared in that one, bold that became italic would be no difference, and would not be restored.
 */
import * as Y from 'yjs'
import { base64 } from './base64.ts'
import { scalarJson } from './jsonValue.ts'

export type Value = unknown // JSON: it goes through `toJson` below

export interface Run {
  readonly insert?: string | Content | { readonly embed: Value }
  readonly values?: readonly Value[]
  readonly attributes?: Readonly<Record<string, Value>>
}

export interface Content {
  readonly type?: TypeName
  /** Of an XML element or hook. */
  readonly name?: string
  readonly content?: readonly Run[]
  readonly keys?: Readonly<Record<string, Value>>
}

export type TypeName = 'text' | 'list' | 'map' | 'element' | 'fragment' | 'xml_text' | 'hook'

/** The stretches of an item that are there, as places in it: [from, to)[]. */
export type Sees = (item: Y.Item) => readonly (readonly [from: number, to: number])[]

const nothing: readonly (readonly [number, number])[] = []
const seesPresent: Sees = (item) => (item.deleted ? nothing : [[0, item.length]])

export type AnyType = Y.AbstractType<unknown>

/** A subclass comes before its parent. */
const typeName = (type: AnyType): TypeName | undefined => {
  if (type instanceof Y.XmlText) return 'xml_text'
  if (type instanceof Y.XmlElement) return 'element'
  if (type instanceof Y.XmlFragment) return 'fragment'
  if (type instanceof Y.XmlHook) return 'hook'
  if (type instanceof Y.Text) return 'text'
  if (type instanceof Y.Array) return 'list'
  return type instanceof Y.Map ? 'map' : undefined
}

/** What a type is, without what it holds. */
export const headOf = (type: AnyType): Pick<Content, 'type' | 'name'> => {
  const kind = typeName(type)
  const name = type instanceof Y.XmlElement ? type.nodeName : type instanceof Y.XmlHook ? type.hookName : undefined
  return { ...(kind === undefined ? {} : { type: kind }), ...(name === undefined ? {} : { name }) }
}

const toJson = (value: unknown): Value => {
  if (value instanceof Uint8Array) return { binary: base64.encode(value) }
  if (Array.isArray(value)) return value.map(toJson)
  if (typeof value !== 'object' || value === null) return scalarJson(value)
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, toJson(inner)]))
}

/** The values of one item, a stretch of it. */
export const valuesOf = (item: Y.Item, from: number, to: number, sees: Sees): readonly Value[] => {
  const { content } = item
  if (content instanceof Y.ContentType) return [contentOf(content.type as AnyType, sees)]
  if (content instanceof Y.ContentDoc) return [{ document: content.doc.guid }]
  return content.getContent().slice(from, to).map(toJson)
}

/** As one run of a sequence. */
export const runOf = (item: Y.Item, from: number, to: number, sees: Sees): Run => {
  const { content } = item
  if (content instanceof Y.ContentString) return { insert: content.str.slice(from, to) }
  if (content instanceof Y.ContentEmbed) return { insert: { embed: toJson(content.embed) } }
  if (content instanceof Y.ContentType) return { insert: contentOf(content.type as AnyType, sees) }
  return { values: valuesOf(item, from, to, sees) }
}

/** As an object whose names are in order, so that equal contents are spelled alike. */
export const byName = <Given>(entries: Iterable<readonly [name: string, Given]>): Readonly<Record<string, Given>> =>
  Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)))

export const withAttributes = <Given extends object>(run: Given, attributes: ReadonlyMap<string, Value>): Given =>
  attributes.size === 0 ? run : { ...run, attributes: byName(attributes) }

/** A formatting mark changes what holds from here on; null ends it. */
export const applyMark = (attributes: Map<string, Value>, { key, value }: Y.ContentFormat): void => {
  if (value === null) attributes.delete(key)
  else attributes.set(key, toJson(value))
}

const sameAttributes = (a: Run, b: Run): boolean => JSON.stringify(a.attributes) === JSON.stringify(b.attributes)

/** Adds a run to those before it; neighbours that are alike become one. */
const join = (runs: Run[], run: Run): void => {
  const last = runs.at(-1)
  if (last === undefined || !sameAttributes(last, run)) runs.push(run)
  else if (typeof last.insert === 'string' && typeof run.insert === 'string')
    runs[runs.length - 1] = { ...last, insert: last.insert + run.insert }
  else if (last.values !== undefined && run.values !== undefined)
    (last.values as Value[]).push(...run.values) // made here, by `runOf`
  else runs.push(run)
}

const sequenceOf = (type: AnyType, sees: Sees): Run[] => {
  const runs: Run[] = []
  const attributes = new Map<string, Value>()
  for (let item = type._start; item !== null; item = item.right) {
    for (const [from, to] of sees(item)) {
      if (item.content instanceof Y.ContentFormat) applyMark(attributes, item.content)
      else if (item.countable) join(runs, withAttributes(runOf(item, from, to, sees), attributes))
    }
  }
  return runs
}

/** The item of a key that is there: the newest, as a rule; in the past, one of those that it replaced. */
const seenAt = (newest: Y.Item, sees: Sees): Y.Item | undefined => {
  for (let item: Y.Item | null = newest; item !== null; item = item.left) if (sees(item).length > 0) return item
  return undefined
}

const keysOf = (type: AnyType, sees: Sees): Readonly<Record<string, Value>> => {
  const keys: [string, Value][] = []
  for (const [key, newest] of type._map) {
    const item = seenAt(newest, sees)
    if (item !== undefined) keys.push([key, valuesOf(item, 0, item.length, sees).at(-1)])
  }
  return byName(keys)
}

export const contentOf = (type: AnyType, sees: Sees = seesPresent): Content => {
  const content = sequenceOf(type, sees)
  const keys = keysOf(type, sees)
  return { ...headOf(type), ...(content.length > 0 ? { content } : {}), ...(Object.keys(keys).length > 0 ? { keys } : {}) }
}

/** Root types by name; those without content are left out, for nobody can tell whether they are there. */
export const rootsOf = (doc: Y.Doc, sees: Sees = seesPresent): Readonly<Record<string, Content>> => {
  const roots: [string, Content][] = []
  for (const [name, type] of doc.share) {
    const { content, keys } = contentOf(type as AnyType, sees)
    if (content !== undefined || keys !== undefined) roots.push([name, { ...(content && { content }), ...(keys && { keys }) }])
  }
  return byName(roots)
}
