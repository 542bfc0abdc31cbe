/**
 * Applies operations (operations.ts) to a document and returns the change as one update. Runs in the worker.
 *
 * Promises: all operations or none; what other programs do meanwhile merges with the update as with any other. Nothing that was
 * not touched is written anew: a shared type that gets a value of its kind stays the same type, of a text that is replaced what is the
 * same at both ends stays, and of a list, too.
 * What a request may make or look at is bounded: forty bytes that copy an array into itself, thirty times, would be a billion values.
 */
import { decodeUtf8 } from 'lib0/string'
import * as Y from 'yjs'
import { materialize } from './compact.ts'
import { elementIndex, insertionIndex, Misfit, type PlainChange, plainAt, pointerTokens, withChange } from './jsonPointer.ts'
import { isEqual, isJsonObject, type Json, type JsonObject, Unreadable, Walk } from './jsonValue.ts'
import { documentJson, jsonOf } from './jsonView.ts'
import { isTextOperation, type Keeping, type Operation, type TextOperation } from './operations.ts'
import { nodesOf, xmlChildren } from './prosemirror.ts'
import { openRoot, type Root, type RootKind, rootKind } from './roots.ts'

export interface EditLimits {
  /** Deepest nesting of what is in the document afterwards. */
  readonly depth: number
  /** Values, and eighths of characters, that may be looked at or made. */
  readonly values: number
}

export type JsonEdit =
  /** Empty when nothing has changed. */
  | { readonly ok: true; readonly update: Uint8Array }
  /** `test`: the document is not as a `test` expects; `misfit`: an operation does not fit what is there. */
  | { readonly ok: false; readonly code: 'test' | 'misfit'; readonly index: number; readonly detail: string }

class TestFailed extends Error {}

type Element = Y.XmlElement | Y.XmlText
type Container = Y.Map<unknown> | Y.Array<unknown> | Y.Text | Y.XmlFragment

/** Where a path leads. */
type Place =
  | { readonly kind: 'root'; readonly name: string }
  | { readonly kind: 'key'; readonly map: Y.Map<unknown>; readonly key: string }
  | { readonly kind: 'element'; readonly array: Y.Array<unknown>; readonly token: string }
  | { readonly kind: 'child'; readonly parent: Y.XmlFragment; readonly token: string }
  | { readonly kind: 'attribute'; readonly element: Element; readonly name: string }
  /** Inside a plain value that lies at another place. */
  | { readonly kind: 'plain'; readonly holder: Exclude<Place, { readonly kind: 'plain' }>; readonly rest: readonly string[] }

const isContainer = (value: unknown): value is Container => value instanceof Y.AbstractType

/** That of XML is read as nodes. */
const isText = (value: unknown): value is Y.Text => value instanceof Y.Text && !(value instanceof Y.XmlText)

/** XML as a whole; an element is a subclass of it. */
const isFragment = (value: unknown): value is Y.XmlFragment => value instanceof Y.XmlFragment && !(value instanceof Y.XmlElement)

/** As such a fragment is read. */
const isPage = (value: Json): boolean => isJsonObject(value) && value.type === 'doc'

const show = (text: string): string => JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text)

/** `__proto__` set on an object of a stock client changes that object instead; half a surrogate pair cannot be stored. */
const checkText = (text: string, isKey = false): void => {
  if (isKey && text === '__proto__') throw new Misfit('__proto__ is no name')
  if (!text.isWellFormed()) throw new Misfit('a text has half of a surrogate pair')
}

const checkValue = (value: Json, walk: Walk, depth: number): void => {
  walk.step(depth, typeof value === 'string' ? value.length : 0)
  if (typeof value === 'string') checkText(value)
  else if (Array.isArray(value)) for (const inner of value) checkValue(inner, walk, depth + 1)
  else if (isJsonObject(value))
    for (const [key, inner] of Object.entries(value)) {
      checkText(key, true)
      walk.step(depth, key.length)
      checkValue(inner, walk, depth + 1)
    }
}

/** A value as it is put into a map or an array. */
const kept = (value: Json, as: Keeping | undefined, walk: Walk, depth = 0): unknown => {
  if (as === 'plain') return value
  if (as === 'text') {
    if (typeof value !== 'string') throw new Misfit('only a text can be kept as a text')
    return new Y.Text(value)
  }
  if (as === 'xml') {
    const fragment = new Y.XmlFragment()
    fragment.insert(0, xmlChildren(nodesOf(value), walk, depth))
    return fragment
  }
  if (Array.isArray(value)) {
    const array = new Y.Array<unknown>()
    array.push(value.map((inner) => kept(inner, undefined, walk, depth + 1)))
    return array
  }
  if (isJsonObject(value)) return new Y.Map(Object.entries(value).map(([key, inner]) => [key, kept(inner, undefined, walk, depth + 1)]))
  return value
}

/** How much of two lists is the same at the beginning, and at the end of the rest. */
const commonEnds = (before: number, after: number, isSame: (one: number, other: number) => boolean): readonly [number, number] => {
  const most = Math.min(before, after)
  let start = 0
  while (start < most && isSame(start, start)) start++
  let end = 0
  while (end < most - start && isSame(before - 1 - end, after - 1 - end)) end++
  return [start, end]
}

const isLow = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff
const isHigh = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff

const replaceText = (text: Y.Text, value: string): void => {
  const before = text.toString()
  // Embedded objects have a place in the text, and none in its characters.
  if (before.length !== text.length) {
    text.delete(0, text.length)
    text.insert(0, value)
    return
  }
  let [start, end] = commonEnds(before.length, value.length, (one, other) => before.charCodeAt(one) === value.charCodeAt(other))
  if (start > 0 && isHigh(before.charCodeAt(start - 1))) start--
  if (end > 0 && isLow(before.charCodeAt(before.length - end))) end--
  if (before.length - start - end > 0) text.delete(start, before.length - start - end)
  if (value.length - start - end > 0) text.insert(start, value.slice(start, value.length - end))
}

/** Whether a position lies inside a character of two units; Yjs would make two replacement characters of it. */
const splitsPair = (text: Y.Text, index: number): boolean => {
  let at = 0
  for (let item = text._start; item !== null && at < index; item = item.right) {
    if (item.deleted || !item.countable) continue
    const within = index - at
    if (within < item.length) return item.content instanceof Y.ContentString && isLow(item.content.str.charCodeAt(within))
    at += item.length
  }
  return false
}

class Editing {
  readonly #doc: Y.Doc
  readonly #walk: Walk

  constructor(doc: Y.Doc, walk: Walk) {
    this.#doc = doc
    this.#walk = walk
  }

  apply(operation: Operation): void {
    if (isTextOperation(operation)) return this.#applyToText(operation)
    switch (operation.op) {
      case 'add':
      case 'replace': {
        const { op, path, value, as } = operation
        const tokens = pointerTokens(path)
        checkValue(value, this.#walk, tokens.length)
        return this.#put(this.#place(tokens, as), value, as, op)
      }
      case 'remove':
        return this.#remove(this.#place(pointerTokens(operation.path)))
      case 'test':
        return this.#test(pointerTokens(operation.path), operation.value)
      case 'move':
      case 'copy':
        return this.#transfer(operation.op === 'move', operation.from, operation.path)
    }
  }

  #test(tokens: readonly string[], expected: Json): void {
    let found: Json
    try {
      found = tokens.length === 0 ? documentJson(this.#doc, this.#walk) : this.#json(this.#find(tokens))
    } catch (reason) {
      throw reason instanceof Misfit ? new TestFailed(reason.message) : reason
    }
    if (!isEqual(found, expected)) throw new TestFailed('there is another value')
  }

  #json(value: unknown): Json {
    return jsonOf(value, this.#walk)
  }

  // ── where ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A root as what it is, or, without content, as what is needed. */
  #root(name: string, needed: Exclude<RootKind, 'unknown'>): Root {
    const kind = rootKind(this.#doc, name)
    return openRoot(this.#doc, name, kind === 'unknown' ? needed : kind)
  }

  #place(tokens: readonly string[], as?: Keeping): Place {
    for (const token of tokens) checkText(token, true)
    const [name, second] = tokens
    if (name === undefined) throw new Misfit('the path names no root')
    if (second === undefined) return { kind: 'root', name }
    const needed = as === 'xml' && tokens.length === 2 ? 'xml' : /^(?:-|0|[1-9]\d*)$/.test(second) ? 'array' : 'map'
    let container: Container = this.#root(name, needed)
    for (let at = 1; at < tokens.length - 1; at++) {
      const holder = placeIn(container, tokens[at] as string) // below the length
      const value = this.#at(holder)
      if (!isContainer(value)) return { kind: 'plain', holder, rest: tokens.slice(at + 1) }
      container = value
    }
    return placeIn(container, tokens.at(-1) as string) // at least two
  }

  /** What is there. Throws `Misfit` when nothing is. */
  #at(place: Place): unknown {
    switch (place.kind) {
      case 'root': {
        const kind = rootKind(this.#doc, place.name)
        if (kind === 'unknown') throw new Misfit(`the root ${show(place.name)} has no content`)
        return openRoot(this.#doc, place.name, kind)
      }
      case 'key':
        if (!place.map.has(place.key)) throw new Misfit(`there is nothing at ${show(place.key)}`)
        return place.map.get(place.key)
      case 'element':
        return place.array.get(elementIndex(place.token, place.array.length))
      case 'child':
        return place.parent.get(elementIndex(place.token, place.parent.length))
      case 'attribute': {
        const value: unknown = place.element.getAttribute(place.name)
        if (value === undefined) throw new Misfit(`there is no attribute ${show(place.name)}`)
        return value
      }
      case 'plain':
        return plainAt(this.#json(this.#at(place.holder)), place.rest)
    }
  }

  #find(tokens: readonly string[]): unknown {
    return this.#at(this.#place(tokens))
  }

  // ── values ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #put(place: Place, value: Json, as: Keeping | undefined, op: 'add' | 'replace'): void {
    if (place.kind === 'root') return this.#fill(place.name, value, as)
    if (place.kind === 'plain') return this.#changePlain(place, { kind: op, value })
    if (op === 'replace' || (place.kind === 'key' && place.map.has(place.key))) {
      const present = this.#at(place)
      if (present instanceof Y.XmlText && typeof value === 'string' && as !== 'plain') return replaceText(present, value)
      if (place.kind !== 'child' && this.#become(present, value, as)) return
    }
    if (place.kind === 'child') {
      const nodes = xmlChildren(nodesOf(value), this.#walk)
      const at = op === 'add' ? insertionIndex(place.token, place.parent.length) : elementIndex(place.token, place.parent.length)
      if (op === 'replace') place.parent.delete(at, 1)
      place.parent.insert(at, nodes)
      return
    }
    this.#set(place, place.kind === 'attribute' ? value : kept(value, as, this.#walk), op === 'add')
  }

  /** Puts what Yjs takes where it belongs. */
  #set(place: Exclude<Place, { kind: 'root' | 'plain' }>, content: unknown, isAdded: boolean): void {
    switch (place.kind) {
      case 'key':
        place.map.set(place.key, content)
        return
      case 'element': {
        const { array, token } = place
        const at = isAdded ? insertionIndex(token, array.length) : elementIndex(token, array.length)
        if (!isAdded) array.delete(at, 1)
        array.insert(at, [content])
        return
      }
      case 'child': {
        const { parent, token } = place
        const at = isAdded ? insertionIndex(token, parent.length) : elementIndex(token, parent.length)
        if (!isAdded) parent.delete(at, 1)
        parent.insert(at, [content as Y.XmlElement]) // the callers put in nothing else
        return
      }
      case 'attribute':
        place.element.setAttribute(place.name, content as string) // takes any JSON
    }
  }

  #changePlain({ holder, rest }: Extract<Place, { kind: 'plain' }>, change: PlainChange): void {
    const changed = withChange(this.#json(this.#at(holder)), rest, change)
    if (holder.kind === 'root') throw new Misfit('a root is never a plain value')
    this.#set(holder, changed, holder.kind === 'key')
  }

  /** All that a root holds, replaced; what is the same stays. */
  #fill(name: string, value: Json, as: Keeping | undefined): void {
    if (as === 'plain') throw new Misfit('a root is never a plain value')
    const needed = as ?? (typeof value === 'string' ? 'text' : Array.isArray(value) ? 'array' : 'map')
    const root = this.#root(name, needed)
    if (!this.#become(root, value, root instanceof Y.XmlFragment ? 'xml' : as))
      throw new Misfit(`the root ${show(name)} is of type ${rootKind(this.#doc, name)}; the value is none of that`)
  }

  /**
   * Gives a shared type the content of a value of its kind; false for a value of another kind. Were a new type put in its place, editors
   * would stay with the old one, and what others do to it at the same time would be lost.
   */
  #become(present: unknown, value: Json, as: Keeping | undefined): boolean {
    if (as === 'plain') return false
    if (isText(present) && typeof value === 'string' && as !== 'xml') replaceText(present, value)
    else if (isFragment(present) && (as === 'xml' || (as === undefined && isPage(value)))) this.#fillFragment(present, value)
    else if (as !== undefined) return false
    else if (present instanceof Y.Map && !(present instanceof Y.XmlHook) && isJsonObject(value)) this.#fillMap(present, value)
    else if (present instanceof Y.Array && Array.isArray(value)) this.#fillArray(present, value)
    else return false
    return true
  }

  #fillMap(map: Y.Map<unknown>, value: JsonObject): void {
    for (const key of [...map.keys()]) if (!Object.hasOwn(value, key)) map.delete(key)
    for (const [key, inner] of Object.entries(value)) {
      const present = map.get(key)
      if (this.#become(present, inner, undefined)) continue
      if (!map.has(key) || !isEqual(this.#json(present), inner)) map.set(key, kept(inner, undefined, this.#walk))
    }
  }

  /** What is the same at both ends stays; between them each element is compared with the one at its place. */
  #fillArray(array: Y.Array<unknown>, value: readonly Json[]): void {
    const present = array.toArray()
    const before = present.map((inner) => this.#json(inner))
    const isSame = (one: number, other: number): boolean => isEqual(before[one] as Json, value[other] as Json)
    const [start, end] = commonEnds(before.length, value.length, isSame)
    const [oldEnd, newEnd] = [before.length - end, value.length - end]
    let from = start
    for (let at = start; at < Math.min(oldEnd, newEnd); at++) {
      if (!isSame(at, at) && !this.#become(present[at], value[at] as Json, undefined)) continue
      this.#splice(array, from, at - from, value.slice(from, at))
      from = at + 1
    }
    this.#splice(array, from, oldEnd - from, value.slice(from, newEnd))
  }

  #splice(array: Y.Array<unknown>, at: number, removed: number, added: readonly Json[]): void {
    if (removed > 0) array.delete(at, removed)
    if (added.length > 0)
      array.insert(
        at,
        added.map((inner) => kept(inner, undefined, this.#walk)),
      )
  }

  #fillFragment(fragment: Y.XmlFragment, value: Json): void {
    const nodes = nodesOf(value) as readonly Json[]
    const children = xmlChildren(nodes, this.#walk)
    const before = fragment.toArray().map((child) => this.#json(child))
    // Where a run of text nodes is one child, children and nodes cannot be compared one by one.
    const isAligned = children.length === nodes.length
    const [start, end] = commonEnds(before.length, isAligned ? nodes.length : 0, (one, other) =>
      isEqual(before[one] as Json, nodes[other] as Json),
    )
    if (before.length - start - end > 0) fragment.delete(start, before.length - start - end)
    const fresh = children.slice(start, children.length - end)
    if (fresh.length > 0) fragment.insert(start, fresh)
  }

  #remove(place: Place): void {
    if (place.kind === 'root') return this.#clear(place.name)
    if (place.kind === 'plain') return this.#changePlain(place, { kind: 'remove' })
    this.#at(place) // is it there?
    if (place.kind === 'key') place.map.delete(place.key)
    else if (place.kind === 'element') place.array.delete(elementIndex(place.token, place.array.length), 1)
    else if (place.kind === 'child') place.parent.delete(elementIndex(place.token, place.parent.length), 1)
    else place.element.removeAttribute(place.name)
  }

  /** A root can be emptied; that it was there stays in the document for ever. */
  #clear(name: string): void {
    const root = this.#at({ kind: 'root', name })
    if (root instanceof Y.Map) for (const key of [...root.keys()]) root.delete(key)
    else (root as Exclude<Root, Y.Map<unknown>>).delete(0, (root as Exclude<Root, Y.Map<unknown>>).length)
  }

  #transfer(isMove: boolean, from: string, path: string): void {
    const source = pointerTokens(from)
    const target = pointerTokens(path)
    if (isMove && path === from) {
      this.#find(source)
      return
    }
    if (isMove && source.length < target.length && source.every((token, at) => token === target[at]))
      throw new Misfit('what is moved cannot be moved into itself')
    const found = this.#find(source)
    const value = this.#json(found)
    checkValue(value, this.#walk, target.length)
    if (source.length === 1 && isContainer(found) && target.length > 1) {
      const copy = found.clone()
      if (isMove) this.#clear(source[0] as string)
      return this.#drop(target, copy, value)
    }
    const copy = isContainer(found) ? found.clone() : structuredCopy(found)
    if (isMove) this.#remove(this.#place(source))
    this.#drop(target, copy, value)
  }

  /** Puts a copy where it is to be: as the type that it is where that is possible, else as its value. */
  #drop(tokens: readonly string[], copy: unknown, value: Json): void {
    const isXml = copy instanceof Y.XmlElement || copy instanceof Y.XmlText
    const place = this.#place(tokens, isXml ? 'xml' : undefined)
    if (place.kind === 'root') return this.#fill(place.name, value, isXml || copy instanceof Y.XmlFragment ? 'xml' : undefined)
    if (place.kind === 'plain' || place.kind === 'attribute') return this.#put(place, value, undefined, 'add')
    if ((place.kind === 'child') !== isXml) throw new Misfit('XML nodes go into XML, and nothing else does')
    this.#set(place, copy, true)
  }

  // ── texts ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #text(path: string): Y.Text {
    const tokens = pointerTokens(path)
    for (const token of tokens) checkText(token, true)
    const [name] = tokens
    const found = tokens.length === 1 ? this.#root(name as string, 'text') : this.#find(tokens)
    if (found instanceof Y.Text) return found
    throw new Misfit(
      typeof found === 'string' ? `${show(path)} is a plain text, which is replaced as a whole` : `there is no text at ${show(path)}`,
    )
  }

  #applyToText(operation: TextOperation): void {
    const { op, path, index } = operation
    const text = this.#text(path)
    const length = op === 'insert' ? 0 : operation.length
    if (index > text.length || length > text.length - index)
      throw new Misfit(`the text has ${text.length} units; ${index}${length === 0 ? '' : ` to ${index + length}`} is beyond its end`)
    if (splitsPair(text, index) || splitsPair(text, index + length)) throw new Misfit('a position lies inside a character')
    this.#walk.step(0)
    if (op === 'delete') return text.delete(index, length)
    if (operation.attributes !== undefined) checkValue(operation.attributes, this.#walk, 0)
    if (op === 'format') return text.format(index, length, operation.attributes)
    if (op === 'insert' && operation.embed !== undefined) {
      checkValue(operation.embed, this.#walk, 0)
      text.insertEmbed(index, operation.embed, operation.attributes)
      return
    }
    const characters = operation.text ?? ''
    checkText(characters)
    this.#walk.step(0, characters.length)
    // First in, then out: what is written in the middle of a bold word is bold.
    if (characters !== '') text.insert(index, characters, operation.attributes)
    if (length > 0) text.delete(index + characters.length, length)
  }
}

const placeIn = (container: Container, token: string): Exclude<Place, { kind: 'plain' }> => {
  if (container instanceof Y.Map) return { kind: 'key', map: container, key: token }
  if (container instanceof Y.Array) return { kind: 'element', array: container, token }
  const isAttribute = token.startsWith('@')
  if (isAttribute && (container instanceof Y.XmlElement || container instanceof Y.XmlText)) {
    checkText(token.slice(1), true)
    return { kind: 'attribute', element: container, name: token.slice(1) }
  }
  if (container instanceof Y.XmlFragment && !isAttribute) return { kind: 'child', parent: container, token }
  throw new Misfit(`there is nothing at ${show(token)}: a text has no parts`)
}

/** Bytes stay bytes. */
const structuredCopy = (value: unknown): unknown =>
  value instanceof Uint8Array || typeof value !== 'object' || value === null ? value : JSON.parse(JSON.stringify(value))

/**
 * `operations`: a JSON array in UTF-8, checked against the schema of operations. `client`: the client id of the change; one that nobody
 * else uses at the same time.
 */
export const editJson = (
  snapshot: Uint8Array,
  tail: readonly Uint8Array[],
  operations: Uint8Array,
  client: number | undefined,
  limits: EditLimits,
): JsonEdit => {
  const doc = materialize(snapshot, tail)
  const updates: Uint8Array[] = []
  let index = 0
  try {
    const all = JSON.parse(decodeUtf8(operations)) as readonly Operation[] // the caller has checked them
    if (client !== undefined) doc.clientID = client
    doc.on('update', (update: Uint8Array) => updates.push(update))
    const editing = new Editing(doc, new Walk(limits))
    doc.transact(() => {
      for (const operation of all) {
        editing.apply(operation)
        index++
      }
    })
    return { ok: true, update: updates.length === 0 ? new Uint8Array(0) : Y.mergeUpdates(updates) }
  } catch (reason) {
    if (reason instanceof TestFailed) return { ok: false, code: 'test', index, detail: reason.message }
    if (reason instanceof Misfit || reason instanceof Unreadable) return { ok: false, code: 'misfit', index, detail: reason.message }
    throw reason
  } finally {
    doc.destroy()
  }
}
