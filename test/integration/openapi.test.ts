/** The description of the API: every route of /v1 is in it, and nothing else. */
import type { RouteOptions } from 'fastify'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createTroupe, type Troupe } from '../../src/index.ts'
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
// biome-ignore lint/suspicious/noExplicitAny: a description of an API
let api: any

beforeAll(async () => {
  troupe = await createTroupe({ data: data.path, port: 0, log: { level: 'silent' } })
  api = await (await fetch(`http://127.0.0.1:${troupe.listeners[0]?.port}/v1/openapi.json`)).json()
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
