/** The description of the API: every route of /v1 is in it, and nothing else. */
import type { RouteOptions } from 'fastify'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createTroupe, type Troupe } from '../../src/index.ts'
import { ApiDescription } from '../support/description.ts'
import { temporaryDirectory } from '../support/process.ts'

const registered = vi.hoisted((): RouteOptions[] => [])
vi.mock('fastify', async (original) => {
  const real = await original<typeof import('fastify')>()
  return {
    ...real,
    default: (options: never) => {
      const app = real.default(options)
      app.addHook('onRoute', (route: RouteOptions) => {
        registered.push(route)
      })
      return app
    },
  }
})

const data = temporaryDirectory()
let troupe: Troupe
let base: string
// biome-ignore lint/suspicious/noExplicitAny: a description of an API
let api: any

beforeAll(async () => {
  const auth = { anonymousPermissions: ['*', 'admin'] }
  troupe = await createTroupe({ data: data.path, port: 0, log: { level: 'silent' }, auth })
  base = `http://127.0.0.1:${troupe.listeners[0]?.port}`
  api = await (await fetch(`${base}/v1/openapi.json`)).json()
})
afterAll(async () => {
  await troupe.close()
  data.remove()
})

const methods = ['GET', 'PUT', 'POST', 'PATCH', 'DELETE']

describe('the description of the API', () => {
  it('[OAP1] has every route of /v1, and no other', () => {
    const routes = registered
      .filter(({ url, config }) => url.startsWith('/v1/') && !(config as { isRefused?: boolean } | undefined)?.isRefused)
      .flatMap(({ url, method }) => [method].flat().map((one) => `${one} ${url.replace(/:(\w+)/g, '{$1}')}`))
      .filter((route) => methods.includes(route.split(' ')[0] as string))
    const described = Object.entries(api.paths).flatMap(([path, operations]) =>
      Object.keys(operations as object).map((method) => `${method.toUpperCase()} ${path}`),
    )
    expect(routes.length).toBeGreaterThan(25)
    expect(described.sort()).toEqual([...new Set(routes)].sort())
  })

  it('[OAP1] has the conditions and keys that a route takes', () => {
    const headersOf = (path: string, method: string): string[] =>
      (api.paths[path][method] as { parameters: { name: string; in: string }[] }).parameters
        .filter((one) => one.in === 'header')
        .map(({ name }) => name)
    const content = '/v1/documents/{name}/content'
    expect(headersOf(content, 'get')).toEqual(['If-Match', 'If-None-Match'])
    expect(headersOf(content, 'patch')).toEqual(['If-Match', 'If-None-Match', 'Idempotency-Key'])
    expect(headersOf('/v1/documents/{name}/import', 'post')).toEqual(['Idempotency-Key'])
  })

  it('[OAP2] is well-formed: versions, names used once, parameters of every path', () => {
    expect(api).toMatchObject({ openapi: '3.1.0', info: { title: 'Troupe', version: expect.any(String) } })
    const names: string[] = []
    for (const [path, operations] of Object.entries(api.paths) as [string, Record<string, never>][])
      for (const [method, operation] of Object.entries(operations) as [string, never][]) {
        const {
          operationId,
          parameters = [],
          responses,
          tags,
        } = operation as {
          operationId: string
          parameters?: { name: string; in: string; schema: object }[]
          responses: object
          tags: string[]
        }
        names.push(operationId)
        const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
        expect([method, path, parameters.filter((one) => one.in === 'path').map(({ name }) => name)]).toEqual([method, path, inPath])
        expect(Object.keys(responses).length).toBeGreaterThan(1)
        expect(api.tags.map(({ name }: { name: string }) => name)).toContain(tags[0])
      }
    expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([])
  })
})

describe('what the API answers', () => {
  const document = '/v1/documents/tour%2Fone'
  const channel = '/v1/channels/tour%2Fone'
  const content = { text: 'hello', list: [1, { a: null }], map: { b: 'c' } }
  const bytes = new Uint8Array([0, 0])

  /** One after the other; `=` in a path is the id of the version that was made. */
  const tour: readonly (readonly [method: string, path: string, body?: unknown, headers?: Record<string, string>])[] = [
    ['GET', '/v1/openapi.json'],
    ['PUT', document, { content }, { 'idempotency-key': 'k' }],
    ['GET', document],
    ['GET', '/v1/documents?limit=1'],
    ['GET', `${document}/content`],
    ...['roots', 'text&root=text', 'html&root=text', 'delta', 'update', 'vector'].map(
      (form) => ['GET', `${document}/content?format=${form}`] as const,
    ),
    ['GET', `${document}/content`, undefined, { 'if-none-match': '*' }],
    ['PATCH', `${document}/content`, [{ op: 'insert', path: '/text', index: 5, text: '!', attributes: { bold: true } }]],
    ['POST', `${document}/update`, bytes],
    ['POST', `${document}/broadcast`, { payload: 'hello' }],
    ['GET', `${document}/history`],
    ['GET', `${document}/history/1`],
    ['GET', `${document}/diff?from=0`],
    ['POST', `${document}/versions`, { name: 'first', description: 'of all', at: 1 }],
    ['GET', `${document}/versions`],
    ['PATCH', `${document}/versions/=`, { name: 'still the first' }],
    ['POST', `${document}/restore`, { to: 1 }],
    ['POST', `${document}/rollback`, { user: 'nobody' }],
    ['DELETE', `${document}/versions/=`],
    ['POST', `${document}/prune`, { before: 1 }],
    ['GET', `${document}/export`],
    ['POST', `${document}/import?mode=merge`, bytes],
    ['POST', `${document}/copy`, { to: 'tour/two' }],
    ['POST', '/v1/documents/tour%2Ftwo/rename', { to: 'tour/three' }],
    ['GET', '/v1/documents/tour%2Ftwo'],
    ['GET', '/v1/documents?deleted=true'],
    ['POST', `${document}/reset`, { operations: [{ op: 'add', path: '/text', value: 'anew' }] }],
    ['DELETE', document],
    ['POST', `${document}/undelete`],
    ['DELETE', `${document}?purge=true`],
    ['POST', '/v1/access/recheck', {}],
    ['PUT', channel, { description: 'of a tour' }],
    ['POST', `${channel}/messages`, { content, type: 'event', sender: 'ann', metadata: { a: 1 } }],
    ['POST', `${channel}/messages`, { messages: [{ content: 1 }, { content: 2, id: '' }] }],
    ['GET', `${channel}/messages?limit=2&since=2026-01-01`],
    ['GET', `${channel}/members`],
    ['GET', `${channel}/events?rewind=1`],
    ['GET', `/v1/events?channel=${encodeURIComponent('tour/one')}`],
    ['GET', channel],
    ['GET', '/v1/channels?prefix=tour'],
    ['DELETE', channel],
    ['POST', '/v1/rooms', { room: 'tour/room', ttl: 60 }],
    ['GET', '/v1/rooms'],
    ['POST', '/v1/revocations', { user: 'mallory' }],
    ['POST', '/v1/revocations', { token_id: 'one', until: Date.now() + 60_000 }],
    ['GET', '/v1/revocations'],
  ]

  it('[OAP3] is what the description says, for every operation: status, type and form', async () => {
    const description = new ApiDescription(api)
    const seen = new Set<string>()
    let version = ''
    for (const [method, given, body, headers = {}] of tour) {
      const path = given.replace('versions/=', `versions/${version}`)
      const type: Record<string, string> =
        body === undefined ? {} : { 'content-type': body instanceof Uint8Array ? 'application/octet-stream' : 'application/json' }
      const sent = body === undefined ? {} : { body: body instanceof Uint8Array ? body : JSON.stringify(body) }
      const end = new AbortController()
      const response = await fetch(base + path, { method, headers: { ...type, ...headers }, ...sent, signal: end.signal })
      const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true
      const text = isStream ? ':' : await response.text()
      end.abort()
      expect([method, path, response.status < 400, text.slice(0, 500)]).toEqual([method, path, true, text.slice(0, 500)])
      description.check(method, path, { status: response.status, headers: response.headers, text })
      if (path.endsWith('/versions') && method === 'POST') version = (JSON.parse(text) as { id: string }).id
      seen.add(description.callOf(method, path)?.operation.operationId)
    }
    expect([...seen].sort()).toEqual(description.calls.map(({ operation }) => operation.operationId as string).sort())
  })
})
