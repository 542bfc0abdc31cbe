/**
 * Text of a client to a JSON object, within limits.
 *
 * Depth is counted in the text, before anything is built of it: whatever walks a value later (JSON.stringify, schemas, hooks)
 * is recursive, and 100 000 nested brackets in 200 KB would end it.
 */
import { type ErrorCode, errorTable } from '../../actors/errors.ts'
import type { Json, JsonObject, Refusal } from '../../actors/output.ts'

export interface JsonLimits {
  /** Largest text. Bytes of UTF-8. */
  readonly bytes: number
  /** Deepest nesting; an object without objects has depth 1. */
  readonly depth: number
  /** Names of the options that these are from, for the refusal. Default of the second: `bus.depth`. */
  readonly bytesOption: string
  readonly depthOption?: string
}

export type ParsedJson = { readonly value: Json; readonly refusal?: undefined } | { readonly value?: undefined; readonly refusal: Refusal }

export type Parsed =
  | { readonly object: JsonObject; readonly refusal?: undefined }
  | { readonly object?: undefined; readonly refusal: Refusal }

/** A refusal with the text of the table, as a TroupeError of the code would have it. */
export const refusalOf = (code: ErrorCode, detail: string, rule?: string): Refusal => ({
  code,
  message: `${errorTable[code].text}: ${detail}`,
  ...(rule !== undefined && { rule }),
})

const quote = 0x22
const backslash = 0x5c

/** True when brackets nest deeper than `most`. Brackets in strings do not count. */
export const isDeeperThan = (text: string, most: number): boolean => {
  if (text.length <= most) return false
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === quote) {
      // To the end of the string; what is not closed is no JSON, and the parser says so.
      for (at++; at < text.length && text.charCodeAt(at) !== quote; at++) if (text.charCodeAt(at) === backslash) at++
    } else if ((code | 0x20) === 0x7b) {
      if (++depth > most) return true
    } else if ((code | 0x20) === 0x7d) depth--
  }
  return false
}

export const isJsonObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A number that may be beyond ±1.8e308: three digits of exponent, or as many digits as two of them need to get there. In strings, too. */
const mayOverflow = /[eE]\+?\d{3}|(?<!\d)\d{200}/

/** JSON has no infinity: what `1e999` is parsed to would be spelled `null` by whoever passes it on. */
const hasInfinity = (value: Json): boolean =>
  typeof value === 'object' && value !== null ? Object.values(value).some(hasInfinity) : value === Infinity || value === -Infinity

/** Never throws. Refusals: `message.too_large`, `message.malformed`. */
export const parseJson = (text: string, { bytes, depth, bytesOption, depthOption = 'bus.depth' }: JsonLimits): ParsedJson => {
  // A UTF-16 unit is one byte at least and three at most, so most texts need no counting.
  if (text.length > bytes || (text.length * 3 > bytes && Buffer.byteLength(text) > bytes))
    return { refusal: refusalOf('message.too_large', `at most ${bytes} bytes`, `${bytesOption} ${bytes}`) }
  if (isDeeperThan(text, depth))
    return { refusal: refusalOf('message.malformed', `nested deeper than ${depth} levels`, `${depthOption} ${depth}`) }
  let value: Json
  try {
    value = JSON.parse(text) as Json // what JSON.parse makes
  } catch {
    return { refusal: refusalOf('message.malformed', 'not JSON') }
  }
  if (mayOverflow.test(text) && hasInfinity(value))
    return { refusal: refusalOf('message.malformed', 'a number is beyond what can be kept, ±1.8e308') }
  return { value }
}

/** Never throws. Refusals: `message.too_large`, `message.malformed`. */
export const parseObject = (text: string, limits: JsonLimits): Parsed => {
  const { value, refusal } = parseJson(text, limits)
  if (refusal !== undefined) return { refusal }
  return isJsonObject(value) ? { object: value } : { refusal: refusalOf('message.malformed', 'not a JSON object') }
}
