/** What stands between the text of a client and everything that trusts it to be a small, flat JSON object. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hexOf, uuidOf } from '../../src/doors/ids.ts'
import { isDeeperThan, parseObject } from '../../src/doors/json.ts'

const limits = { bytes: 1_000, depth: 4, bytesOption: 'bus.messageBytes' }
const codeOf = (text: string) => parseObject(text, limits).refusal?.code

const depthOf = (value: unknown): number =>
  typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0

describe('a text of a client', () => {
  it('is an object, or is refused', () => {
    expect(parseObject('{"a":[1]}', limits)).toEqual({ object: { a: [1] } })
    for (const text of ['', '{', '[]', 'null', '1', '"{}"', 'undefined', '{}{}', "{'a':1}"])
      expect([text, codeOf(text)]).toEqual([text, 'message.malformed'])
  })

  it('is measured in bytes of UTF-8, at the limit', () => {
    const sized = (bytes: number, letter: string) => {
      const object = `{"a":"${letter.repeat(100)}"}`
      return object + ' '.repeat(bytes - Buffer.byteLength(object))
    }
    for (const letter of ['x', 'ä', '😀']) {
      expect([letter, Buffer.byteLength(sized(1_000, letter)), codeOf(sized(1_000, letter))]).toEqual([letter, 1_000, undefined])
      expect([letter, codeOf(`${sized(1_000, letter)} `)]).toEqual([letter, 'message.too_large'])
    }
  })

  it('says which limit it broke', () => {
    expect(parseObject('x'.repeat(1_001), limits).refusal?.rule).toBe('bus.messageBytes 1000')
    expect(parseObject('{"a":{"a":{"a":{"a":{}}}}}', limits).refusal?.rule).toBe('bus.depth 4')
  })

  it('may be as deep as the limit and no deeper', () => {
    expect(codeOf('{"a":[[[]]]}')).toBeUndefined()
    expect(codeOf('{"a":[[[[]]]]}')).toBe('message.malformed')
    expect(codeOf('{"a":"[[[[[[[[\\"[[[[\\\\"}')).toBeUndefined()
  })

  it('is as deep as what it means, whatever stands in its strings', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const depth = depthOf(value)
        const text = JSON.stringify(value)
        expect(isDeeperThan(text, depth)).toBe(false)
        if (depth > 0) expect(isDeeperThan(text, depth - 1)).toBe(true)
      }),
    )
  })

  it('has no number that would be infinite, and as large ones as can be kept', () => {
    const largest = ['1.7976931348623157e308', `${'1'.repeat(309)}`, `-${'1'.repeat(250)}e58`, '1E+308', '0e999', '1e-999']
    for (const number of largest) expect([number, codeOf(`{"a":${number}}`)]).toEqual([number, undefined])
    const infinite = ['1e999', '-1e999', '1E+309', '0.1e0310', '1'.repeat(310), `${'1'.repeat(250)}e60`, '[[1e400]]', '{"b":1e309}']
    for (const number of infinite) expect([number, codeOf(`{"a":${number}}`)]).toEqual([number, 'message.malformed'])
    expect(codeOf('{"a":"1e999"}')).toBeUndefined()
  })

  it('loses no number on the way', () => {
    const digits = fc.array(fc.nat(9), { minLength: 1, maxLength: 320 }).map((all) => all.join(''))
    const numbers = fc.tuple(digits, fc.constantFrom('', '.5'), fc.constantFrom('', 'e', 'E+', 'e-'), fc.nat(400))
    fc.assert(
      fc.property(numbers, ([whole, part, mark, exponent]) => {
        const number = `1${whole}${part}${mark === '' ? '' : `${mark}${exponent}`}`
        expect([number, codeOf(`{"a":${number}}`) !== undefined]).toEqual([number, !Number.isFinite(Number(number))])
      }),
      { numRuns: 300 },
    )
  })

  it('may be anything at all without an error', () => {
    const brackets = fc.array(fc.constantFrom('{', '}', '[', ']', '"', '\\', ':', ',', '1', 'a')).map((parts) => parts.join(''))
    fc.assert(fc.property(fc.oneof(brackets, fc.string()), (text) => void parseObject(text, limits)))
    expect(codeOf('{"a":'.repeat(190))).toBe('message.malformed')
    expect(parseObject(`{"a":${'['.repeat(2_000_000)}`, { ...limits, bytes: 4_000_000 }).refusal?.code).toBe('message.malformed')
  })

  it('cannot set the prototype of what is made of it', () => {
    const { object } = parseObject('{"__proto__":{"admin":true}}', limits)
    expect([(object as { admin?: unknown }).admin, ({ ...object } as { admin?: unknown }).admin]).toEqual([undefined, undefined])
  })
})

describe('ids in other protocols', () => {
  it('are the 16 bytes of our own, and hashes of any other, never two the same', () => {
    const own = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex').toString('base64url')
    expect(hexOf(own)).toBe('000102030405060708090a0b0c0d0e0f')
    expect(uuidOf(own)).toBe('00010203-0405-4607-8809-0a0b0c0d0e0f')
    // The last character carries two bits: these four would be the same bytes.
    const alike = ['w', 'x', 'y', 'z'].map((last) => own.slice(0, -1) + last)
    expect(new Set(alike.map(hexOf)).size).toBe(4)
    fc.assert(fc.property(fc.string(), (id) => /^[0-9a-f]{32}$/.test(hexOf(id))))
  })
})
