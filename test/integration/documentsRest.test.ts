/** Documents over HTTP: the built program, a real disk, and an editor that has the document open. Every answer fits the description. */
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { emptyUpdate } from '../../crdt/update.ts'
import { ApiDescription } from '../support/description.ts'
import { closeEditors, openEditor, synced } from '../support/editors.ts'
import { secret, tokenOf } from '../support/http.ts'
import { serve } from '../support/service.ts'
import { until } from '../support/wait.ts'

const { server, restart } = serve(`auth.jwtSecret=${secret}`, 'auth.anonymousPermissions=document:*', 'limits.messageBytes=1000000')

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: what an answer holds is what the tests ask
  readonly body: any
  readonly bytes: Uint8Array
}

let description: ApiDescription
beforeAll(async () => {
  description = await ApiDescription.of(server().http)
})
afterEach(closeEditors)

const pathOf = (name: string, rest = ''): string => `/v1/documents/${encodeURIComponent(name)}${rest}`

const call = async (method: string, path: string, given?: unknown, headers: Record<string, string> = {}): Promise<Answer> => {
  const isBytes = given instanceof Uint8Array
  const type: Record<string, string> =
    given === undefined ? {} : { 'content-type': isBytes ? 'application/octet-stream' : 'application/json' }
  const body = given === undefined ? {} : { body: isBytes || typeof given === 'string' ? (given as string) : JSON.stringify(given) }
  const response = await fetch(server().http + path, { method, headers: { ...type, ...headers }, ...body })
  const bytes = new Uint8Array(await response.arrayBuffer())
  const text = new TextDecoder().decode(bytes)
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true && text !== ''
  const answer = { status: response.status, headers: response.headers, text, bytes, body: isJson ? JSON.parse(text) : undefined }
  description.check(method, path, answer)
  return answer
}

const patch = (name: string, operations: unknown, headers = {}) => call('PATCH', pathOf(name, '/content'), operations, headers)
const content = (name: string, query = '', headers = {}) => call('GET', pathOf(name, `/content${query}`), undefined, headers)

describe('content over HTTP', () => {
  it('[DRE1] is changed by operations while an editor types, and both see both', async () => {
    const editor = openEditor(`${server().ws}/docs`, 'rest/one')
    await synced(editor)
    editor.text.insert(0, 'typed')
    const made = await patch('rest/one', [
      { op: 'add', path: '/settings/theme', value: 'dark' },
      { op: 'add', path: '/items/-', value: { title: 'first' } },
    ])
    expect(made).toMatchObject({ status: 200, body: { changed: true, epoch: expect.any(String) } })
    await until(() => editor.doc.getMap('settings').get('theme') === 'dark', 'the setting at the editor')
    await until(async () => (await content('rest/one')).body.text === 'typed', 'the text of the editor')
    const typing = (async () => {
      for (let at = 0; at < 100; at++) {
        editor.text.insert(editor.text.length, 'x')
        if (at % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    const inserts = Array.from({ length: 20 }, () => patch('rest/one', [{ op: 'insert', path: '/text', index: 0, text: 'a' }]))
    await Promise.all([typing, ...inserts])
    const whole = (text: string) => text === `${'a'.repeat(20)}typed${'x'.repeat(100)}`
    await until(() => whole(editor.text.toString()), 'all of it at the editor')
    await until(async () => whole((await content('rest/one', '?format=text&root=text')).text), 'all of it over HTTP')
  })

  it('[DRE2] is on disk when a change is answered', async () => {
    await patch('rest/durable', [{ op: 'add', path: '/m/a', value: 1 }])
    await restart('SIGKILL')
    expect((await content('rest/durable')).body).toEqual({ m: { a: 1 } })
  })

  it('[DRE3] comes in every form that its roots have', async () => {
    const node = { type: 'paragraph', content: [{ type: 'text', text: '<Hi>', marks: [{ type: 'bold', attrs: {} }] }] }
    await patch('rest/forms', [
      { op: 'insert', path: '/quill', index: 0, text: 'a & b' },
      { op: 'format', path: '/quill', index: 0, length: 1, attributes: { bold: true } },
      { op: 'add', path: '/default', value: [node], as: 'xml' },
    ])
    expect((await content('rest/forms', '?format=roots')).body).toEqual({ roots: { quill: 'text', default: 'xml' } })
    expect((await content('rest/forms', '?format=prosemirror')).body).toEqual({ type: 'doc', content: [node] })
    expect((await content('rest/forms', '?format=html&root=default')).text).toBe('<p><strong>&lt;Hi&gt;</strong></p>')
    expect((await content('rest/forms', '?format=html&root=quill')).text).toBe('<p><strong>a</strong> &amp; b</p>')
    expect((await content('rest/forms', '?format=text&root=default')).text).toBe('<Hi>')
    expect((await content('rest/forms', '?root=quill', { accept: 'text/plain' })).text).toBe('a & b')
    expect((await content('rest/forms', '?format=delta')).body).toEqual({
      ops: [{ insert: 'a', attributes: { bold: true } }, { insert: ' & b' }],
    })
    expect(await content('rest/forms', '?format=text')).toMatchObject({ status: 400, body: { error: { code: 'command.bad_parameters' } } })
    expect(await content('rest/forms', '?format=delta&root=default')).toMatchObject({ status: 400 })
    const html = await content('rest/forms', '?format=html&root=default')
    expect(html.headers.get('content-security-policy')).toContain('sandbox')
    const doc = new Y.Doc()
    Y.applyUpdate(doc, (await content('rest/forms', '?format=update')).bytes)
    expect(doc.getText('quill').toString()).toBe('a & b')
    const vector = (await content('rest/forms', '?format=vector')).bytes
    const since = encodeURIComponent(Buffer.from(vector).toString('base64'))
    expect((await content('rest/forms', `?format=update&since=${since}`)).bytes.length).toBeLessThan(10)
    expect(await content('rest/forms', '?format=update&since=!!')).toMatchObject({ status: 400 })
    expect(await content('rest/forms', '?format=update&since=AQ==')).toMatchObject({ status: 400 })
  })

  it('[DRE4] has an ETag: what has not changed is not sent again, and not changed by who thinks otherwise', async () => {
    await patch('rest/etag', [{ op: 'add', path: '/m/a', value: 1 }])
    const etag = (await content('rest/etag')).headers.get('etag') as string
    expect(await content('rest/etag', '', { 'if-none-match': `"other", ${etag}` })).toMatchObject({ status: 304, text: '' })
    const second = await patch('rest/etag', [{ op: 'add', path: '/m/a', value: 2 }], { 'if-match': etag })
    expect([second.status, second.headers.get('etag') === etag]).toEqual([200, false])
    const late = await patch('rest/etag', [{ op: 'add', path: '/m/a', value: 3 }], { 'if-match': etag })
    expect(late).toMatchObject({ status: 412, body: { error: { code: 'document.changed' } } })
    const tested = [
      { op: 'test', path: '/m/a', value: 1 },
      { op: 'add', path: '/m/a', value: 4 },
    ]
    expect(await patch('rest/etag', tested)).toMatchObject({ status: 412, body: { error: { code: 'document.changed' } } })
    expect((await content('rest/etag')).body).toEqual({ m: { a: 2 } })
    const now = second.headers.get('etag') as string
    const racing = Array.from({ length: 10 }, (_, at) =>
      patch('rest/etag', [{ op: 'add', path: '/m/a', value: 10 + at }], { 'if-match': now }),
    )
    expect((await Promise.all(racing)).filter(({ status }) => status === 200)).toHaveLength(1)
    expect(await patch('rest/etag', tested, { 'if-match': 'nonsense' })).toMatchObject({ status: 400 })
  })

  it('[DRE5] takes Yjs updates; a repetition changes nothing, and half of one is refused', async () => {
    const doc = new Y.Doc()
    const updates: Uint8Array[] = []
    doc.on('update', (update: Uint8Array) => updates.push(update))
    doc.getText('text').insert(0, 'one')
    doc.getText('text').insert(3, ' two')
    const send = (update: Uint8Array) => call('POST', pathOf('rest/updates', '/update'), update)
    expect(await send(updates[1] as Uint8Array)).toMatchObject({ status: 422, body: { error: { code: 'document.invalid' } } })
    expect(await send(updates[0] as Uint8Array)).toMatchObject({ status: 200, body: { changed: true, offset: 1 } })
    expect(await send(updates[0] as Uint8Array)).toMatchObject({ status: 200, body: { changed: false, offset: 1 } })
    expect(await send(updates[1] as Uint8Array)).toMatchObject({ status: 200, body: { changed: true } })
    expect(await send(new Uint8Array([1, 2, 3]))).toMatchObject({ status: 422 })
    expect(await call('POST', pathOf('rest/updates', '/update'), {})).toMatchObject({ status: 415 })
    expect((await content('rest/updates')).body).toEqual({ text: 'one two' })
    doc.getText('text').delete(3, 4)
    const deletion = updates[2] as Uint8Array
    expect(await send(deletion)).toMatchObject({ status: 200, body: { changed: true, offset: 3 } })
    for (const repeated of [deletion, Y.encodeStateAsUpdate(doc)])
      expect(await send(repeated)).toMatchObject({ status: 200, body: { changed: false, offset: 3 } })
    doc.getText('text').insert(3, ' three')
    doc.getText('text').delete(0, 6)
    const [written, deletedToo] = updates.slice(3) as [Uint8Array, Uint8Array]
    expect(await send(deletedToo)).toMatchObject({ status: 422, body: { error: { code: 'document.invalid' } } })
    for (const late of [written, deletedToo]) expect(await send(late)).toMatchObject({ status: 200, body: { changed: true } })
    expect((await content('rest/updates')).body).toEqual({ text: 'ree' })
  })

  it.each([
    ['no JSON', '[{', 400, 'message.malformed'],
    ['no list', {}, 400, 'command.bad_parameters'],
    ['no operation', [], 400, 'command.bad_parameters'],
    ['an operation that there is not', [{ op: 'frobnicate', path: '/a' }], 400, 'command.bad_parameters'],
    ['a field that there is not', [{ op: 'remove', path: '/a', value: 1 }], 400, 'command.bad_parameters'],
    ['an index below 0', [{ op: 'insert', path: '/text', index: -1, text: 'x' }], 400, 'command.bad_parameters'],
    ['an index that is no number', [{ op: 'insert', path: '/text', index: '0', text: 'x' }], 400, 'command.bad_parameters'],
    ['an index beyond the end', [{ op: 'insert', path: '/text', index: 9e15, text: 'x' }], 422, 'document.misfit'],
    ['a name that would change all objects', '[{"op":"add","path":"/m/__proto__","value":{"a":1}}]', 422, 'document.misfit'],
    ['a value with such a name', '[{"op":"add","path":"/m/x","value":{"__proto__":{"a":1}}}]', 422, 'document.misfit'],
    ['half of a character', '[{"op":"insert","path":"/text","index":0,"text":"\\ud800"}]', 422, 'document.misfit'],
    ['nesting that is too deep', `[{"op":"add","path":"/m/x","value":${'['.repeat(100)}${']'.repeat(100)}}]`, 400, 'message.malformed'],
    ['too much', `[{"op":"insert","path":"/text","index":0,"text":"${'x'.repeat(1_100_000)}"}]`, 413, 'message.too_large'],
  ])('[DRE6] refuses %s', async (_, body, status, code) => {
    expect(await patch('rest/bad', body)).toMatchObject({ status, body: { error: { code, message: expect.any(String) } } })
  })
})

describe('what could not be kept as it was sent', () => {
  const refused = async (given: unknown, status: number, code: string, headers = {}) => {
    const answer = await call('PUT', pathOf('rest/strange'), given, headers)
    expect([given, answer.status, answer.body.error.code]).toEqual([given, status, code])
    expect(await content('rest/strange')).toMatchObject({ status: 404 })
  }
  const operations = (operation: string) => `{"operations":[${operation}]}`

  it('[DRE11] is refused: numbers without end', async () => {
    for (const number of ['1e999', '-1e999', '9'.repeat(400)]) {
      await refused(`{"content":{"m":{"a":[${number}]}}}`, 400, 'message.malformed')
      await refused(operations(`{"op":"insert","path":"/t","index":0,"text":"x","attributes":{"a":${number}}}`), 400, 'message.malformed')
    }
  })

  it('[DRE11] is refused: `__proto__`, which would change objects at editors instead of lying in them', async () => {
    for (const given of [
      '{"content":{"__proto__":{"a":1}}}',
      '{"content":{"m":{"__proto__":{"a":1}}}}',
      operations('{"op":"add","path":"/__proto__/a","value":1}'),
      operations('{"op":"add","path":"/m/a","value":[{"__proto__":1}],"as":"plain"}'),
      operations('{"op":"insert","path":"/t","index":0,"text":"x","attributes":{"__proto__":1}}'),
      operations('{"op":"insert","path":"/t","index":0,"embed":{"__proto__":1}}'),
      operations('{"op":"add","path":"/x","as":"xml","value":{"type":"p","attrs":{"\\u005f_proto__":1}}}'),
    ])
      await refused(given, 422, 'document.misfit')
    await refused('{"__proto__":{"content":{}}}', 400, 'command.bad_parameters')
  })

  it('[DRE11] is refused: bytes that are no UTF-8', async () => {
    const latin = new Uint8Array(Buffer.from('{"content":{"text":"\xfc"}}', 'latin1'))
    const halfPair = new Uint8Array([...Buffer.from('{"content":{"text":"'), 0xed, 0xa0, 0x80, ...Buffer.from('"}}')])
    const json = { 'content-type': 'application/json' }
    for (const bytes of [latin, halfPair]) await refused(bytes, 400, 'message.malformed', json)
    await refused('{"content":{"text":"\\ud800"}}', 422, 'document.misfit')
    await patch('rest/told', [{ op: 'add', path: '/m/a', value: 1 }])
    expect(await call('POST', pathOf('rest/told', '/broadcast'), '{"payload":"\\ud800"}')).toMatchObject({ status: 400 })
  })

  it('[DRE11] is all that is refused: names that objects have anyway are names', async () => {
    const odd = { constructor: { prototype: 1 }, toString: { hasOwnProperty: 'x' }, m: { valueOf: 1, constructor: null } }
    expect(await call('PUT', pathOf('rest/odd'), { content: odd })).toMatchObject({ status: 201 })
    expect((await content('rest/odd')).body).toEqual(odd)
    const marked = [{ op: 'insert', path: '/t', index: 0, text: 'x', attributes: { constructor: 1e308 } }]
    expect(await patch('rest/odd', marked)).toMatchObject({ status: 200 })
    expect((await content('rest/odd', '?format=delta&root=t')).body.ops).toEqual([{ insert: 'x', attributes: { constructor: 1e308 } }])
  })
})

describe('a request that is repeated with its key', () => {
  const insert = [{ op: 'insert', path: '/text', index: 0, text: 'once ' }]
  const key = { 'idempotency-key': '"8e03978e-40d5-43dd-bc93-6894a57f9324"' }

  it('[DRE7] changes the content once, and is answered as the first time, also after kill -9', async () => {
    const tested = [{ op: 'test', path: '/text', value: 'begin' }, ...insert]
    await patch('again/text', [{ op: 'add', path: '/text', value: 'begin' }])
    const first = await patch('again/text', tested, key)
    expect(first).toMatchObject({ status: 200, body: { changed: true } })
    await patch('again/text', [{ op: 'insert', path: '/text', index: 0, text: 'since ' }])
    const again = async (where: string) => {
      const { status, body, headers } = await patch('again/text', tested, key)
      expect([where, status, body, headers.get('etag')]).toEqual([where, 200, first.body, first.headers.get('etag')])
    }
    const text = async () => (await content('again/text')).body.text
    await again('at once')
    await restart('SIGKILL')
    await again('after kill -9')
    await call('POST', pathOf('again/text', '/prune'), { before: 2 })
    await restart('SIGKILL')
    await again('after a compaction and kill -9')
    expect(await text()).toBe('since once begin')
    await Promise.all([again('here'), again('and here'), patch('again/text', insert)])
    expect(await text()).toBe('once since once begin')
  })

  it('[DRE7] restores, rolls back, names a version, creates, resets, imports and copies once', async () => {
    await patch('again/past', [{ op: 'add', path: '/m/a', value: 1 }])
    await patch('again/past', [{ op: 'add', path: '/m/a', value: 2 }])
    const { body: envelope } = await call('GET', pathOf('again/past', '/export'))
    const asked: readonly [method: string, path: string, body: unknown][] = [
      ['POST', pathOf('again/past', '/restore'), { to: 1 }],
      ['POST', pathOf('again/past', '/versions'), { name: 'one' }],
      ['POST', pathOf('again/past', '/rollback'), { user: '', via: 'http', from: 1 }],
      ['POST', pathOf('again/past', '/copy'), { to: 'again/copied' }],
      ['PUT', pathOf('again/created'), { content: { m: { a: 1 } } }],
      ['POST', pathOf('again/created', '/reset'), { content: { m: { b: 1 } } }],
      ['POST', pathOf('again/created', '/import?mode=replace'), envelope],
    ]
    const answers: Answer[] = []
    for (const [at, [method, path, body]] of asked.entries()) {
      const first = await call(method, path, body, { 'idempotency-key': `k${at}` })
      expect([path, first.status < 300]).toEqual([path, true])
      await patch('again/past', [{ op: 'add', path: '/m/since', value: at }])
      const second = await call(method, path, body, { 'idempotency-key': `k${at}` })
      expect([path, second.status, second.body.means]).toEqual([path, first.status, first.body.means])
      if (first.body.id !== undefined) expect(second.body.id).toBe(first.body.id)
      answers.push(second)
    }
    await restart('SIGKILL')
    const past = (await content('again/past')).body
    for (const [at, [method, path, body]] of asked.entries()) {
      const again = await call(method, path, body, { 'idempotency-key': `k${at}` })
      expect([path, again.status]).toEqual([path, answers[at]?.status])
    }
    expect((await content('again/past')).body).toEqual(past)
    expect((await call('GET', pathOf('again/past', '/versions'))).body.versions).toHaveLength(1)
  })

  it('[DRE7] copies once, whatever becomes of the source, also after kill -9', async () => {
    const fates: readonly [name: string, end: () => Promise<Answer>][] = [
      ['deleted', () => call('DELETE', pathOf('again/deleted'))],
      ['purged', () => call('DELETE', pathOf('again/purged', '?purge=true'))],
      ['renamed', () => call('POST', pathOf('again/renamed', '/rename'), { to: 'again/elsewhere' })],
    ]
    const copyOf = (name: string, to = `copy of ${name}`, sent = key) => call('POST', pathOf(`again/${name}`, '/copy'), { to }, sent)
    const known = (answer: Answer) => [answer.status, answer.body.epoch, answer.body.created_at, answer.headers.get('location')]
    const firsts: (readonly [string, Answer])[] = []
    for (const [name, end] of fates) {
      await patch(`again/${name}`, [{ op: 'add', path: '/text', value: name }])
      firsts.push([name, await copyOf(name)])
      expect(await end()).toMatchObject({ status: 200 })
    }
    const again = async (when: string) => {
      for (const [name, first] of firsts) expect([when, name, ...known(await copyOf(name))]).toEqual([when, name, ...known(first)])
    }
    await again('at once')
    await restart('SIGKILL')
    await again('after kill -9')
    expect(await copyOf('deleted', 'copy of deleted', { 'idempotency-key': 'another' })).toMatchObject({ status: 410 })
    expect(await copyOf('deleted', 'copy of purged')).toMatchObject({ status: 410 })
    expect((await content('copy of purged')).body).toEqual({ text: 'purged' })
  })

  it('[DRE7] that changed nothing is tried anew, but for `If-Match`, which says how the document was', async () => {
    await patch('again/nothing', [{ op: 'add', path: '/text', value: 'draft' }])
    const etag = (await content('again/nothing')).headers.get('etag') as string
    const text = async () => (await content('again/nothing')).body.text
    const requests = [
      (headers: Record<string, string>) => call('POST', pathOf('again/nothing', '/restore'), { to: 1 }, headers),
      (headers: Record<string, string>) => call('POST', pathOf('again/nothing', '/rollback'), { user: 'nobody', to: 1 }, headers),
      (headers: Record<string, string>) => patch('again/nothing', [{ op: 'replace', path: '/text', value: 'draft' }], headers),
    ]
    const sameFor = (number: number) => ({ 'if-match': etag, 'idempotency-key': `nothing ${number}` })
    const restore = requests[0] as (typeof requests)[number]
    expect(await restore({ ...sameFor(0), 'if-match': '"other-1"' })).toMatchObject({
      status: 412,
      body: { error: { code: 'document.changed' } },
    })
    for (const [at, request] of requests.entries()) expect([at, (await request(sameFor(at))).status]).toEqual([at, 200])
    await patch('again/nothing', [{ op: 'insert', path: '/text', index: 5, text: ' of somebody else' }])
    for (const [at, request] of requests.entries()) expect([at, (await request(sameFor(at))).status]).toEqual([at, 412])
    const now = { 'if-match': (await content('again/nothing')).headers.get('etag') as string, 'idempotency-key': 'last' }
    const restored = await restore(now)
    expect(restored).toMatchObject({ status: 200, body: { offset: 3 } })
    expect([(await restore(now)).body, await text()]).toEqual([restored.body, 'draft'])
  })

  it('[DRE8] is another one for another user, and refused when it asks for something else', async () => {
    const ann = { authorization: `Bearer ${await tokenOf('ann', { permissions: ['document:*'] })}` }
    await patch('again/users', insert, key)
    await patch('again/users', insert, { ...key, ...ann })
    expect((await content('again/users')).body).toEqual({ text: 'once once ' })
    const other = await patch('again/users', [{ op: 'remove', path: '/text' }], key)
    expect(other).toMatchObject({ status: 422, body: { error: { code: 'document.key_reused' } } })
    for (const bad of ['', 'x'.repeat(256)])
      expect(await patch('again/users', insert, { 'idempotency-key': bad })).toMatchObject({ status: 400 })
  })
})

describe('HTTP itself', () => {
  const raw = (method: string, path: string, headers: Record<string, string> = {}, body?: string) =>
    fetch(server().http + path, { method, headers, ...(body !== undefined && { body }) })

  it('[DRE10] preconditions are lists, weak ETags match nothing that is changed, and each form has its own', async () => {
    await patch('http/etag', [{ op: 'add', path: '/text', value: 'a' }])
    const etag = (await content('http/etag')).headers.get('etag') as string
    const html = (await content('http/etag', '?format=html')).headers.get('etag') as string
    expect(html).not.toBe(etag)
    expect(await content('http/etag', '', { 'if-none-match': html })).toMatchObject({ status: 200 })
    expect(await content('http/etag', '', { 'if-none-match': `W/${etag}` })).toMatchObject({ status: 304 })
    expect(await content('http/etag', '', { 'if-match': '"other"' })).toMatchObject({ status: 412 })
    const change = (value: string, headers: Record<string, string>) => patch('http/etag', [{ op: 'add', path: '/text', value }], headers)
    for (const unmet of [{ 'if-match': '"other"' }, { 'if-match': `W/${etag}` }, { 'if-none-match': '*' }] as Record<string, string>[])
      expect(await change('b', unmet)).toMatchObject({ status: 412, body: { error: { code: 'document.changed' } } })
    expect(await change('b', { 'if-match': `"other", ${etag}` })).toMatchObject({ status: 200 })
    expect(await patch('http/new', [{ op: 'add', path: '/text', value: 'n' }], { 'if-none-match': '*' })).toMatchObject({ status: 200 })
  })

  it('[DRE10] `Accept` goes by weight', async () => {
    await patch('http/accept', [{ op: 'add', path: '/text', value: 'a' }])
    const typeOf = async (accept: string) => (await content('http/accept', '', { accept })).headers.get('content-type')?.split(';')[0]
    expect(await typeOf('text/html;q=0, application/json')).toBe('application/json')
    expect(await typeOf('application/json;q=0.5, text/plain')).toBe('text/plain')
    expect(await typeOf('text/*')).toBe('text/html')
    expect(await typeOf('image/png')).toBe('application/json')
  })

  it('[DRE10] what a path does not take is refused: methods, types, compressed bodies, no body, names', async () => {
    const path = pathOf('http/one')
    const put = await raw('PUT', `${path}/content`)
    expect([put.status, put.headers.get('allow')]).toEqual([405, 'GET, HEAD, PATCH, OPTIONS'])
    const json = { 'content-type': 'application/json' }
    const answers: [number, string][] = []
    for (const [headers, body] of [
      [{ 'content-type': 'text/plain' }, 'x'],
      [{ ...json, 'content-encoding': 'gzip' }, '[]'],
      [{ 'content-type': 'application/json; charset=iso-8859-1' }, '[]'],
      [json, undefined],
      [{ 'content-type': 'application/octet-stream' }, 'x'],
    ] as const) {
      const answer = await raw('PATCH', `${path}/content`, headers, body)
      answers.push([answer.status, ((await answer.json()) as { error: { code: string } }).error.code])
    }
    expect(answers).toEqual([
      [415, 'http.unsupported_type'],
      [415, 'http.unsupported_type'],
      [415, 'http.unsupported_type'],
      [400, 'message.malformed'],
      [415, 'http.unsupported_type'],
    ])
    const update = await raw('POST', `${path}/update`, { 'content-type': 'application/octet-stream', 'content-encoding': 'br' }, 'x')
    expect([update.status, (await update.text()).includes('content-encoding: br')]).toEqual([415, true])
    for (const name of ['%ff', 'a%2', 'x'.repeat(1_000)]) expect((await raw('GET', `/v1/documents/${name}`)).status).toBe(400)
    expect(await call('PUT', pathOf('http/two'), { content: { n: 1 } })).toMatchObject({
      status: 400,
      body: { error: { message: expect.stringContaining('content.n') } },
    })
    expect((await patch('http/one', [{ op: 'frobnicate', path: '/a' }])).text).toContain('expected one of')
  })

  it('[DRE10] what a path does not take is not passed over: a body with orders, a condition', async () => {
    await patch('http/kept', [{ op: 'add', path: '/text', value: 'a' }])
    const kept = pathOf('http/kept')
    expect(await call('DELETE', kept, { purge: true })).toMatchObject({ status: 400, body: { error: { code: 'command.bad_parameters' } } })
    expect(await call('DELETE', kept, undefined, { 'if-match': '"other-1"' })).toMatchObject({
      status: 400,
      body: { error: { message: expect.stringContaining('If-Match') } },
    })
    expect(await content('http/kept')).toMatchObject({ status: 200 })
    expect(await call('DELETE', kept, {})).toMatchObject({ status: 200 })
  })

  it('[DRE10] a new document has its place in `Location`', async () => {
    await patch('http/original', [{ op: 'add', path: '/text', value: 'a' }])
    const { headers } = await call('POST', pathOf('http/original', '/copy'), { to: 'http/copy ä' })
    expect(headers.get('location')).toBe(pathOf('http/copy ä'))
    expect((await call('GET', headers.get('location') as string)).status).toBe(200)
  })
})

describe('the life of a document over HTTP', () => {
  it('[DRL1] begins with content or without, and once', async () => {
    const made = await call('PUT', pathOf('life/one'), { content: { settings: { theme: 'dark' }, notes: 'Hello', list: [1] } })
    expect(made).toMatchObject({ status: 201, body: { name: 'life/one', created_by: '', connections: 0 } })
    expect((await content('life/one')).body).toEqual({ settings: { theme: 'dark' }, notes: 'Hello', list: [1] })
    expect((await content('life/one', '?format=roots')).body.roots).toEqual({ settings: 'map', notes: 'text', list: 'array' })
    expect(await call('PUT', pathOf('life/one'))).toMatchObject({ status: 409, body: { error: { code: 'document.exists' } } })
    const doc = new Y.Doc()
    doc.getText('t').insert(0, 'bytes')
    expect(await call('PUT', pathOf('life/bytes'), Y.encodeStateAsUpdate(doc))).toMatchObject({ status: 201 })
    expect((await content('life/bytes')).body).toEqual({ t: 'bytes' })
    expect(await call('PUT', pathOf('life/both'), { content: {}, update: 'AAA=' })).toMatchObject({ status: 400 })
    expect(await call('PUT', pathOf('life/bad'), new Uint8Array([9, 9, 9]))).toMatchObject({ status: 422 })
  })

  it('[DRL2] is nothing that somebody asks for who only looks', async () => {
    for (const path of ['', '/content', '/export'])
      expect(await call('GET', pathOf('life/never', path))).toMatchObject({ status: 404, body: { error: { code: 'document.unknown' } } })
    expect((await call('GET', '/v1/documents?prefix=life/never')).body).toEqual({ documents: [], has_more: false })
  })

  it('[DRL3] ends for editors, too; an editor that was away cannot bring it back; whoever may restores it', async () => {
    const editor = openEditor(`${server().ws}/docs`, 'life/gone')
    await synced(editor)
    editor.text.insert(0, 'precious')
    await until(async () => (await call('GET', pathOf('life/gone'))).status === 200, 'the document')
    const closed = new Promise<number>((resolve) => editor.provider.on('connection-close', (event) => resolve(event?.code ?? 0)))
    expect(await call('DELETE', pathOf('life/gone'))).toMatchObject({ status: 200, body: { deleted: { purge_at: expect.any(String) } } })
    expect(await closed).toBe(4410)
    expect(await content('life/gone')).toMatchObject({ status: 410, body: { error: { code: 'document.deleted' } } })
    expect(await patch('life/gone', [{ op: 'add', path: '/m/a', value: 1 }])).toMatchObject({ status: 410 })
    expect((await call('GET', '/v1/documents?prefix=life/gone&deleted=true')).body.documents).toMatchObject([{ name: 'life/gone' }])
    expect(await call('POST', pathOf('life/gone', '/undelete'))).toMatchObject({ status: 200 })
    expect((await content('life/gone')).body).toEqual({ text: 'precious' })
  })

  it('[DRL4] goes on under other names, as a copy or renamed', async () => {
    await patch('life/source', [{ op: 'add', path: '/m/a', value: 1 }])
    expect(await call('POST', pathOf('life/source', '/copy'), { to: 'life/copy' })).toMatchObject({
      status: 201,
      body: { name: 'life/copy' },
    })
    expect(await call('POST', pathOf('life/source', '/copy'), { to: 'life/copy' })).toMatchObject({ status: 409 })
    expect(await call('POST', pathOf('life/source', '/rename'), { to: 'life/renamed' })).toMatchObject({
      body: { renamed_from: 'life/source' },
    })
    for (const name of ['life/copy', 'life/renamed']) expect((await content(name)).body).toEqual({ m: { a: 1 } })
    expect(await content('life/source')).toMatchObject({ status: 410, body: { error: { code: 'document.renamed' } } })
    expect(await call('POST', pathOf('life/copy', '/rename'), { to: '~acme/x' })).toMatchObject({ status: 400 })
  })

  it('[DRL5] can be carried away, and come back merged or instead of what is there', async () => {
    await patch('life/export', [{ op: 'add', path: '/m/a', value: 1 }])
    const { body: envelope } = await call('GET', pathOf('life/export', '/export'))
    await patch('life/export', [{ op: 'add', path: '/m/b', value: 2 }])
    expect(await call('POST', pathOf('life/export', '/import'), envelope)).toMatchObject({ status: 200, body: { changed: false } })
    const replaced = await call('POST', pathOf('life/export', '/import?mode=replace'), envelope)
    expect(replaced.body.epoch).not.toBe(envelope.epoch)
    expect((await content('life/export')).body).toEqual({ m: { a: 1 } })
    expect(await call('POST', pathOf('life/elsewhere', '/import'), envelope)).toMatchObject({ status: 200, body: { changed: true } })
    expect((await content('life/elsewhere')).body).toEqual({ m: { a: 1 } })
    expect(await call('POST', pathOf('life/elsewhere', '/import'), { ...envelope, format: 'other' })).toMatchObject({ status: 400 })
  })

  it('[DRL6] begins anew with another epoch; the old content does not come back', async () => {
    await patch('life/reset', [{ op: 'insert', path: '/text', index: 0, text: 'old' }])
    const before = (await call('GET', pathOf('life/reset'))).body
    const old = (await content('life/reset', '?format=update')).bytes
    const reset = await call('POST', pathOf('life/reset', '/reset'), { content: { text: 'new' } })
    expect(reset.body.epoch).not.toBe(before.epoch)
    expect((await call('POST', pathOf('life/reset', '/update'), old)).status).toBeGreaterThanOrEqual(400)
    expect((await content('life/reset')).body).toEqual({ text: 'new' })
  })

  it('[DRL7] is listed page by page, by name, each once', async () => {
    const names = Array.from({ length: 25 }, (_, at) => `list/${String(at).padStart(2, '0')} ä/%`)
    for (const name of names) await patch(name, [{ op: 'add', path: '/m/a', value: 1 }])
    const found: string[] = []
    for (let after = ''; ; ) {
      const { body } = await call('GET', `/v1/documents?prefix=list/&limit=10${after === '' ? '' : `&after=${encodeURIComponent(after)}`}`)
      found.push(...body.documents.map(({ name }: { name: string }) => name))
      if (!body.has_more) break
      after = body.next
    }
    expect(found).toEqual(names)
    expect(await call('GET', '/v1/documents?limit=0')).toMatchObject({ status: 400 })
  })

  it.each([['~acme/x'], ['a\u0000b'], ['x'.repeat(256)], ['a\u202eb']])('[DRL8] refuses the name %j', async (name) => {
    expect(await call('PUT', pathOf(name))).toMatchObject({ status: 400, body: { error: { code: 'connection.bad_name' } } })
  })
})

describe('an account over HTTP', () => {
  const as = async (permissions: readonly string[], tenant?: string) => ({
    authorization: `Bearer ${await tokenOf('ann', { permissions, ...(tenant === undefined ? {} : { tenant }) })}`,
  })

  it('[DRP1] may do with a document what its permissions say', async () => {
    await patch('may/one', [{ op: 'add', path: '/m/a', value: 1 }])
    const reader = await as(['document:may/*:read'])
    expect(await content('may/one', '', reader)).toMatchObject({ status: 200 })
    const change = [{ op: 'add', path: '/m/a', value: 2 }]
    for (const refused of [
      patch('may/one', change, reader),
      call('PUT', pathOf('may/two'), {}, reader),
      call('DELETE', pathOf('may/one'), undefined, reader),
      call('POST', pathOf('may/one', '/rename'), { to: 'may/two' }, reader),
      call('POST', pathOf('may/one', '/reset'), {}, reader),
      call('POST', pathOf('may/one', '/copy'), { to: 'may/two' }, reader),
      content('other', '', reader),
      patch('may/one', change, await as(['document:may/*:comment'])),
    ])
      expect(await refused).toMatchObject({
        status: 403,
        body: { error: { code: 'access.denied', rule: expect.stringContaining('document:') } },
      })
    const commented = await patch('may/one', [{ op: 'add', path: '/comments/-', value: 'nice' }], await as(['document:may/*:comment']))
    expect(commented).toMatchObject({ status: 200, body: { changed: true } })
    expect((await content('may/one')).body).toEqual({ m: { a: 1 }, comments: ['nice'] })
    // Comments come under a client id of one's own, by whatever way they come.
    const state = (await content('may/one', '?format=update')).bytes
    const comment = (on: Uint8Array, client?: number): Uint8Array => {
      const doc = new Y.Doc()
      Y.applyUpdate(doc, on)
      if (client !== undefined) doc.clientID = client
      const before = Y.encodeStateVector(doc)
      doc.getArray('comments').push(['by its client'])
      return Y.encodeStateAsUpdate(doc, before)
    }
    const commenter = await as(['document:may/*:comment'])
    for (const taken of Y.decodeStateVector(Y.encodeStateVectorFromUpdate(state)).keys())
      expect(await call('POST', pathOf('may/one', '/update'), comment(state, taken), commenter)).toMatchObject({ status: 403 })
    expect(await call('POST', pathOf('may/one', '/update'), comment(state), commenter)).toMatchObject({
      status: 200,
      body: { changed: true },
    })
    // A document does not come into being by a comment, nor by somebody who is not to create any.
    for (const permissions of [['document:may/*:comment'], ['document:may/*:write', '!document:*:create']]) {
      const stranger = await as(permissions)
      for (const refused of [
        patch('may/new', [{ op: 'add', path: '/comments/-', value: 'nice' }], stranger),
        call('POST', pathOf('may/new', '/update'), comment(emptyUpdate), stranger),
        call('POST', pathOf('may/new', '/import'), comment(emptyUpdate), stranger),
      ])
        expect(await refused).toMatchObject({ status: 403, body: { error: { code: 'access.denied' } } })
      expect((await content('may/new')).status).toBe(404)
    }
    // As on the wires: whoever may write may read, unless that is forbidden.
    const writer = await as(['document:may/*:write'])
    expect(await content('may/one', '', writer)).toMatchObject({ status: 200 })
    expect(await content('may/one', '', await as(['document:may/*:write', '!document:may/*:read']))).toMatchObject({ status: 403 })
    for (const account of [reader, writer]) {
      const listed = (await call('GET', '/v1/documents', undefined, account)).body.documents
      expect(listed.map(({ name }: { name: string }) => name)).toEqual(['may/one'])
    }
  })

  it('[DRP2] sees the documents of its tenant', async () => {
    const acme = await as(['document:*'], 'acme')
    await patch('may/one', [{ op: 'add', path: '/of', value: { tenant: 'acme' } }], acme)
    expect((await content('may/one', '', acme)).body).toEqual({ of: { tenant: 'acme' } })
    const { documents } = (await call('GET', '/v1/documents', undefined, acme)).body
    expect(documents.map(({ name }: { name: string }) => name)).toEqual(['may/one'])
  })

  it('[DRP3] is the author of what it changes', async () => {
    await patch('may/author', [{ op: 'add', path: '/m/a', value: 1 }], await as(['document:*']))
    expect((await call('GET', pathOf('may/author'))).body).toMatchObject({ created_by: 'ann' })
    expect((await call('GET', pathOf('may/author', '/history'))).text).toContain('"ann"')
  })
})
