/** JSON values: what they are, when two are equal, and how much of them one request may look at. */

export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export type JsonObject = { readonly [key: string]: Json }

/** A value that is no object, in JSON's words: it has neither undefined nor NaN, nor numbers of any length. */
export const scalarJson = (value: unknown): Json => {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      return Number.isFinite(value) ? value : null
    case 'bigint':
      return value.toString()
    default:
      return null
  }
}

/** Why something cannot be read or done, with a text for people. */
export class Unreadable extends Error {}

/** There is more of it than one answer may have. */
export class TooLarge extends Unreadable {}

/**
 * How much one request may look at. `JSON.stringify` overflows the stack at some thousand levels; a document of 10 MB has a million
 * values.
 */
export class Walk {
  readonly #depth: number
  #left: number

  constructor({ depth = 256, values = 10_000_000 }: { readonly depth?: number; readonly values?: number } = {}) {
    this.#depth = depth
    this.#left = values
  }

  /** Counts one value with so many characters. Throws `Unreadable`. */
  step(depth: number, characters = 0): void {
    if (depth > this.#depth) throw new Unreadable(`nested deeper than ${this.#depth} levels`)
    this.#left -= 1 + characters / 8
    if (this.#left < 0) throw new Unreadable('there is more to look at than one request may')
  }
}

/** Own properties only, whatever they are called: `__proto__` set with `=` would change the object instead. */
export const objectOf = (entries: Iterable<readonly [string, Json]>): JsonObject => Object.fromEntries(entries)

export const isJsonObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** RFC 6902 §4.6: objects without regard to order. */
export const isEqual = (one: Json, other: Json): boolean => {
  if (one === other) return true
  if (Array.isArray(one) && Array.isArray(other))
    return one.length === other.length && one.every((value, at) => isEqual(value, other[at] as Json))
  if (!isJsonObject(one) || !isJsonObject(other) || Array.isArray(one) || Array.isArray(other)) return false
  const keys = Object.keys(one)
  if (keys.length !== Object.keys(other).length) return false
  return keys.every((key) => Object.hasOwn(other, key) && isEqual(one[key] as Json, other[key] as Json))
}
