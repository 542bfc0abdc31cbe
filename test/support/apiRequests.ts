/**
 * Requests of chance to the API, made of its description: most of them nearly right, all of them with something that no client of good
 * will would send. Only bytes that a proxy would let through: what is no HTTP at all is a matter of its own.
 */
import fc from 'fast-check'
import type { ApiDescription } from './description.ts'

// biome-ignore lint/suspicious/noExplicitAny: a JSON schema
type Schema = any

export interface ChanceRequest {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array | undefined
}

const long = 'x'.repeat(5_000)
const usual = ['one', 'two', 'three']
const oddNames =
  'a%00b %2F a%2Fb . .. %2e%2e ..%2f.. %ED%A0%80 %FF %zz % %25 %20 %0d%0aX %7Et ~t __proto__ constructor %E2%80%8B %5C a;b a* %3F %C2%85 e%CC%81 0 -1'
    .split(' ')
    .concat('x'.repeat(255), 'x'.repeat(256), long, '%C3%A9'.repeat(127))
const texts = [
  '',
  ' ',
  '\u0000',
  '\ud800',
  long,
  'NaN',
  '1e999',
  '__proto__',
  '..',
  '2026-01-01T00:00:00Z',
  '+275760-09-13T00:00:00.001Z',
].concat([
  'version:',
  'version:1',
  'AAA=',
  '@@@',
  '/a',
  '/',
  '/text',
  '/list/-',
  '/list/99',
  '/~2',
  '/__proto__',
  '/constructor/x',
  `/${'a/'.repeat(300)}`,
])
const numbers = [0, -1, 1, 1.5, 1e308, -1e308, 2 ** 53, 4_294_967_296]
const tags = ['"', '*', 'W/"x"', '"a", "b"', '""', '"x-1"', '"x-999999999999999999"', ',', '{}', long.slice(0, 2_000)]
const coins = (share: number) => fc.nat(99).map((at) => at < share)

const scalar = fc.oneof(fc.constantFrom(...texts), fc.constantFrom(...numbers), fc.constantFrom(null, true, false), fc.string())
const key = fc.constantFrom('a', 'type', 'text', 'content', 'marks', 'attrs', '__proto__', 'constructor', '', 'toJSON', 'op', 'path')
const { anything } = fc.letrec((tie) => ({
  anything: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    scalar,
    fc.array(tie('anything'), { maxLength: 3 }),
    fc.dictionary(key, tie('anything'), { maxKeys: 3 }),
  ),
}))
const nested = fc.constantFrom(5, 64, 65, 250, 5_000).map((depth) => `${'['.repeat(depth)}${']'.repeat(depth)}`)

/** Mostly what the schema wants. */
const valueFor = (schema: Schema, depth = 0): fc.Arbitrary<unknown> => {
  const right = (): fc.Arbitrary<unknown> => {
    if (schema === undefined || depth > 6) return anything
    if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map((one: Schema) => valueFor(one, depth)))
    if (schema.const !== undefined) return fc.constant(schema.const)
    if (schema.enum !== undefined) return fc.constantFrom(...schema.enum)
    if (schema.type === 'array') return fc.array(valueFor(schema.items, depth + 1), { minLength: 1, maxLength: 3 })
    if (schema.type === 'string')
      return fc.oneof(fc.constantFrom(...usual, '/text', '/map/a', '/list/0', 'AAA='), fc.constantFrom(...texts))
    if (schema.type === 'integer' || schema.type === 'number') return fc.oneof(fc.nat(5), fc.constantFrom(...numbers))
    if (schema.type !== 'object' || schema.properties === undefined) return anything
    const fields = Object.entries(schema.properties as Record<string, Schema>).map(([name, of]) => [name, valueFor(of, depth + 1)] as const)
    return fc.record(Object.fromEntries(fields), { requiredKeys: schema.required ?? [] })
  }
  return fc.oneof({ arbitrary: right(), weight: 12 }, { arbitrary: anything, weight: 1 })
}

const some = <Value>(share: number, value: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> =>
  fc.tuple(coins(share), value).map(([isThere, given]) => (isThere ? given : undefined))

const encoded = fc.oneof(
  fc.constantFrom('1', '0', '-1', '', '%', '%ff', '%00', 'true', 'x'),
  fc.constantFrom(...texts.filter((text) => text.isWellFormed())).map((text) => encodeURIComponent(text.slice(0, 1_000))),
)

const headers = fc
  .record({
    'if-match': some(12, fc.constantFrom(...tags)),
    'if-none-match': some(12, fc.constantFrom(...tags)),
    'idempotency-key': some(12, fc.constantFrom(...tags)),
    range: some(8, fc.constantFrom('bytes=0-', 'bytes=5-2', 'x')),
    accept: some(8, fc.constantFrom('*/*', 'x', 'text/html;q=-1', 'text/html;q=1e999', ',;,')),
    'last-event-id': some(5, fc.constantFrom(...tags)),
    'content-encoding': some(4, fc.constantFrom('gzip', 'identity', 'x')),
    authorization: some(3, fc.constantFrom('Bearer x', 'Basic x', 'Bearer', 'Digest x')),
  })
  .map((all) => Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Record<string, string>)

const json = ['application/json', 'application/json', 'application/json; charset=utf-8', 'application/json-patch+json']
const otherTypes = [
  'text/plain',
  'x',
  'application/json; charset=latin1',
  'multipart/form-data',
  'application/octet-stream',
  'application/JSON',
]

const bodyOf = (schema: Schema) =>
  fc.oneof(
    {
      arbitrary: fc.tuple(
        valueFor(schema).map((value) => JSON.stringify(value) ?? ''),
        fc.constantFrom(...json),
      ),
      weight: 12,
    },
    {
      arbitrary: fc.tuple(fc.oneof(nested, fc.constantFrom('', 'null', '{', '{"a":1e999}', '\ufeff{}')), fc.constantFrom(...json)),
      weight: 1,
    },
    { arbitrary: fc.tuple(fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.string()), fc.constantFrom(...otherTypes)), weight: 2 },
  )

/** `names`: those that the tests fill, and odd ones. */
export const apiRequests = ({ calls }: ApiDescription): fc.Arbitrary<ChanceRequest> => {
  const name = fc.oneof({ arbitrary: fc.constantFrom(...usual), weight: 6 }, { arbitrary: fc.constantFrom(...oddNames), weight: 1 })
  const place = fc.oneof(fc.constantFrom('0', '1', '2', 'version:1', '99'), fc.constantFrom(...oddNames), encoded)
  return fc.oneof(
    ...calls.map(({ method, path, operation }) => {
      const parameters = ((operation.parameters ?? []) as Schema[]).filter((one) => one.in === 'query')
      const query = fc.tuple(
        ...parameters.map((one) =>
          some(
            one.required ? 90 : 35,
            encoded.map((value) => `${one.name}=${value}`),
          ),
        ),
      )
      const extra = some(6, fc.constantFrom('__proto__=1', 'constructor[x]=1', '=', '&&', '%', 'token=%00', 'limit=1&limit=2'))
      const verb = fc.oneof(
        { arbitrary: fc.constant(method), weight: 12 },
        { arbitrary: fc.constantFrom('GET', 'PUT', 'POST', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND'), weight: 1 },
      )
      const schema = operation.requestBody?.content?.['application/json']?.schema
      const body = some(operation.requestBody === undefined ? 5 : 95, bodyOf(schema))
      return fc.record({ verb, name, place, query, extra, headers, body }).map((made): ChanceRequest => {
        const filled = path.replace(/\{(\w+)\}/g, (_, part) => (part === 'name' ? made.name : made.place))
        const asked = [...made.query, made.extra].filter((one) => one !== undefined).join('&')
        const [given, type] = made.body ?? []
        const typed = type === undefined ? {} : { 'content-type': type }
        return {
          method: made.verb,
          path: asked === '' ? filled : `${filled}?${asked}`,
          headers: { ...made.headers, ...typed },
          body: given,
        }
      })
    }),
  )
}
