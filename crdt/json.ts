/**
 * JSON texts from outside. The depth is counted before anybody parses: `JSON.parse` takes 200 000 nested brackets, and
 * the `JSON.stringify` that follows somewhere else overflows the stack there.
 */
import { decodeUtf8 } from 'lib0/string'
import { Refusal } from './rejection.ts'

const json = new Refusal('json', 'a JSON text does not parse')
const depth = new Refusal('depth', 'a JSON text is nested too deep')

/** Throws a `Refusal` unless these UTF-8 bytes are one JSON text, nested at most `maxDepth` deep. Returns the text. */
export const checkJson = (bytes: Uint8Array, start: number, stop: number, maxDepth: number): string => {
  checkDepth(bytes, start, stop, maxDepth)
  const text = decodeUtf8(bytes.subarray(start, stop))
  try {
    JSON.parse(text)
  } catch {
    throw json
  }
  return text
}

const checkDepth = (bytes: Uint8Array, start: number, stop: number, maxDepth: number): void => {
  let open = 0
  let isInString = false
  for (let i = start; i < stop; i++) {
    const byte = bytes[i]
    if (isInString) {
      if (byte === 0x5c) i++
      else if (byte === 0x22) isInString = false
    } else if (byte === 0x22) isInString = true
    else if (byte === 0x5b || byte === 0x7b) {
      if (++open > maxDepth) throw depth
    } else if (byte === 0x5d || byte === 0x7d) open--
  }
}
