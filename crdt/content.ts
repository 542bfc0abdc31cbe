/**
 * The content of a document as its history shows it, compares it and puts it back: all of it, as JSON, without knowing what a type is
 * for. A root that comes out of an update has no kind, and an application may use one as text here and as list there. So each type
 * is its sequence and its keys, whatever it has of both.
 *
 *   Content = { type?, name?, content?: Run[], keys?: { key: Value } }
 *   Run     = { insert: text | Content, attributes? } | { insert: { embed }, attributes? } | { values: Value[] }
 *   Value   = JSON | Content (with `type`) | { binary: base64 } | { document: guid }
 *
 * A look says which part of an item is there; by default all that is not deleted. So the past can be read from a document that was
 * not garbage-collected; the methods of Yjs types know only the present.
 *
 * What programs read is another form (jsonView.ts), plain and with less in it: no formats of a text, no keys of a list. Were moments
 * compared in that one, bold that became italic would be no difference, and would not be restored.
 */
import * as Y from 'yjs'
import { base64 } from './base64.ts'
import { scalarJson, Unreadable } from './jsonValue.ts'

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

/** What is there, and what stands for a type that lies in another one. */
export interface Look {
  readonly sees: Sees
  readonly nested: (type: AnyType) => Value
}

const nothing: readonly (readonly [number, number])[] = []
const seesPresent: Sees = (item) => (item.deleted ? nothing : [[0, item.length]])

export type AnyType = Y.AbstractType<unknown>

/** Each level is four of JSON, and `JSON.stringify` overflows the stack at some thousand. */
const deepest = 256

/** Throws `Unreadable`. */
export const checkDepth = (depth: number): void => {
  if (depth > deepest) throw new Unreadable(`nested deeper than ${deepest} levels`)
}

/** A nested type is its content. What it reads throws `Unreadable` where that nests too deep. */
export const whole = (sees: Sees = seesPresent, depth = 0): Look => ({
  sees,
  nested: (type) => {
    checkDepth(depth + 1)
    return contentOf(type, whole(sees, depth + 1))
  },
})

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

const toJson = (value: unknown, depth = 0): Value => {
  checkDepth(depth)
  if (value instanceof Uint8Array) return { binary: base64.encode(value) }
  if (Array.isArray(value)) return value.map((inner) => toJson(inner, depth + 1))
  if (typeof value !== 'object' || value === null) return scalarJson(value)
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, toJson(inner, depth + 1)]))
}

/** The values of one item, a stretch of it. */
export const valuesOf = (item: Y.Item, from: number, to: number, { nested }: Look): readonly Value[] => {
  const { content } = item
  if (content instanceof Y.ContentType) return [nested(content.type as AnyType)]
  if (content instanceof Y.ContentDoc) return [{ document: content.doc.guid }]
  return content
    .getContent()
    .slice(from, to)
    .map((value) => toJson(value))
}

/** As one run of a sequence. */
export const runOf = (item: Y.Item, from: number, to: number, look: Look): Run => {
  const { content } = item
  if (content instanceof Y.ContentString) return { insert: content.str.slice(from, to) }
  if (content instanceof Y.ContentEmbed) return { insert: { embed: toJson(content.embed) } }
  if (content instanceof Y.ContentType) return { insert: look.nested(content.type as AnyType) as Content }
  return { values: valuesOf(item, from, to, look) }
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
    for (const value of run.values) (last.values as Value[]).push(value) // made here, by `runOf`; as arguments, 200 000 overflow the stack
  else runs.push(run)
}

const sequenceOf = (type: AnyType, look: Look): Run[] => {
  const runs: Run[] = []
  const attributes = new Map<string, Value>()
  for (let item = type._start; item !== null; item = item.right) {
    for (const [from, to] of look.sees(item)) {
      if (item.content instanceof Y.ContentFormat) applyMark(attributes, item.content)
      else if (item.countable) join(runs, withAttributes(runOf(item, from, to, look), attributes))
    }
  }
  return runs
}

/** The item of a key that is there: the newest, as a rule; in the past, one of those that it replaced. */
const seenAt = (newest: Y.Item, sees: Sees): Y.Item | undefined => {
  for (let item: Y.Item | null = newest; item !== null; item = item.left) if (sees(item).length > 0) return item
  return undefined
}

const keysOf = (type: AnyType, look: Look): Readonly<Record<string, Value>> => {
  const seen: [string, Y.Item][] = []
  for (const [key, newest] of type._map) {
    const item = seenAt(newest, look.sees)
    if (item !== undefined) seen.push([key, item])
  }
  const inOrder = Object.entries(byName(seen))
  return Object.fromEntries(inOrder.map(([key, item]) => [key, valuesOf(item, 0, item.length, look).at(-1)]))
}

/** What a type holds. */
const partsOf = (type: AnyType, look: Look): Pick<Content, 'content' | 'keys'> => {
  const content = sequenceOf(type, look)
  const keys = keysOf(type, look)
  return { ...(content.length > 0 ? { content } : {}), ...(Object.keys(keys).length > 0 ? { keys } : {}) }
}

export const contentOf = (type: AnyType, look: Look = whole()): Content => ({ ...headOf(type), ...partsOf(type, look) })

/** Those without content are left out, for nobody can tell whether they are there. */
const rootsBy = <Read>(doc: Y.Doc, read: (type: AnyType) => Read): Readonly<Record<string, Read>> => {
  const roots: [string, Read][] = []
  for (const [name, type] of doc.share) if (!isEmpty(type as AnyType)) roots.push([name, read(type as AnyType)])
  return byName(roots)
}

const isEmpty = (type: AnyType): boolean => {
  for (let item = type._start; item !== null; item = item.right) if (item.countable && !item.deleted) return false
  return [...type._map.values()].every(({ deleted }) => deleted)
}

/** Root types by name. */
export const rootsOf = (doc: Y.Doc): Readonly<Record<string, Content>> => rootsBy(doc, (type) => partsOf(type, whole()))

/** A type to be compared, however deep it nests: all that lie in it one after the other, each where it lies as its number. */
const levelled = (root: AnyType): readonly Content[] => {
  const types: AnyType[] = [root]
  const look: Look = { sees: seesPresent, nested: (type) => ({ nested: types.push(type) }) }
  const all: Content[] = [partsOf(root, look)]
  for (let at = 1; at < types.length; at++) all.push(contentOf(types[at] as AnyType, look)) // it grows meanwhile
  return all
}

/** What root types hold, by name, so that those that hold the same are spelled alike. Not to be read. */
export const spelledRootsOf = (doc: Y.Doc): Readonly<Record<string, string>> => rootsBy(doc, (type) => JSON.stringify(levelled(type)))
