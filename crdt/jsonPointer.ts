/** JSON Pointers (RFC 6901), and changes of a plain JSON value at one (RFC 6902 §4.1–4.3). */
import { isJsonObject, type Json, objectOf } from './jsonValue.ts'

/** An operation that does not fit what is there, with a text for people. */
export class Misfit extends Error {}

/** `/a~1b/0` → `a/b`, `0`. Throws `Misfit`. */
export const pointerTokens = (pointer: string): readonly string[] => {
  if (pointer === '') return []
  if (!pointer.startsWith('/')) throw new Misfit(`${JSON.stringify(pointer)} is no JSON Pointer: it begins with /`)
  if (/~(?![01])/.test(pointer)) throw new Misfit(`${JSON.stringify(pointer)} is no JSON Pointer: ~ is followed by 0 or 1`)
  return pointer
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'))
}

const index = /^(?:0|[1-9]\d{0,15})$/

/** A token as the index of an element that is there. Throws `Misfit`. */
export const elementIndex = (token: string, length: number): number => {
  const at = index.test(token) ? Number(token) : Number.NaN
  if (!(at < length)) throw new Misfit(`there is no element ${JSON.stringify(token)}; there are ${length}`)
  return at
}

/** Where an element can be inserted: before one that is there, or at the end, which `-` means, too. Throws `Misfit`. */
export const insertionIndex = (token: string, length: number): number => (token === '-' ? length : elementIndex(token, length + 1))

export type PlainChange = { readonly kind: 'add' | 'replace'; readonly value: Json } | { readonly kind: 'remove' }

/** What is there. Throws `Misfit`. */
export const plainAt = (value: Json, [token, ...rest]: readonly string[]): Json => {
  if (token === undefined) return value
  if (Array.isArray(value)) return plainAt(value[elementIndex(token, value.length)] as Json, rest)
  if (isJsonObject(value) && Object.hasOwn(value, token)) return plainAt(value[token] as Json, rest)
  throw new Misfit(`there is nothing at ${JSON.stringify(token)}`)
}

/** A copy of the value with the change. Throws `Misfit`. */
export const withChange = (value: Json, [token, ...rest]: readonly string[], change: PlainChange): Json => {
  if (token === undefined) throw new Misfit('the path ends too early')
  const isHere = rest.length === 0
  if (Array.isArray(value)) {
    if (isHere && change.kind === 'add') return value.toSpliced(insertionIndex(token, value.length), 0, change.value)
    const at = elementIndex(token, value.length)
    if (isHere && change.kind === 'remove') return value.toSpliced(at, 1)
    return value.with(at, isHere && change.kind === 'replace' ? change.value : withChange(value[at] as Json, rest, change))
  }
  if (!isJsonObject(value)) throw new Misfit(`${JSON.stringify(token)} is looked for in something that is no object and no array`)
  if (!Object.hasOwn(value, token) && !(isHere && change.kind === 'add')) throw new Misfit(`there is nothing at ${JSON.stringify(token)}`)
  const entries = new Map(Object.entries(value))
  if (!isHere) entries.set(token, withChange(value[token] as Json, rest, change))
  else if (change.kind === 'remove') entries.delete(token)
  else entries.set(token, change.value)
  return objectOf(entries)
}
