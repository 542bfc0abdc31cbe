/** The HTTP side: health, readiness, version, metrics, example pages. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import fastify, { type FastifyInstance } from 'fastify'
import { isTroupeError } from '../../actors/errors.ts'
import type { StorageStatus } from '../../actors/journal.ts'
import type { Health } from '../../actors/system/system.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { name, version } from '../version.ts'

export interface HttpState {
  readonly storage: () => StorageStatus
  readonly actors: () => Health
  readonly isClosing: () => boolean
  readonly metrics: Metrics
  readonly examples: boolean
}

export interface Readiness {
  readonly ready: boolean
  /** One line for each reason against it. */
  readonly reasons: readonly { readonly code: string; readonly detail: string }[]
}

export const readiness = (state: HttpState): Readiness => {
  const reasons: { code: string; detail: string }[] = []
  const storage = state.storage()
  if (state.isClosing()) reasons.push({ code: 'system.closed', detail: 'the server is closing' })
  if (storage.state === 'full') reasons.push({ code: 'storage.full', detail: 'writes are refused until the disk has space' })
  if (storage.state === 'failed') reasons.push({ code: 'storage.failed', detail: storage.reason })
  if (storage.state === 'closed') reasons.push({ code: 'storage.closed', detail: 'the store is closed' })
  const { isHealthy, failed } = state.actors()
  if (!isHealthy) reasons.push({ code: 'actor.stopped', detail: `${failed.length} actors failed too often and are stopped` })
  return { ready: reasons.length === 0, reasons }
}

const examplesDirectory = fileURLToPath(new URL('./examples/', import.meta.url))

/** The application, ready to route; the server gives it its requests. */
export const createHttp = async (state: HttpState): Promise<FastifyInstance> => {
  const app = fastify({ logger: false, bodyLimit: 1024 * 1024 })
  app.setErrorHandler((error, _request, reply) => {
    const status = (error as { statusCode?: number }).statusCode ?? 500
    const code = isTroupeError(error) ? error.code : status < 500 ? 'http.bad_request' : 'http.failed'
    reply.status(status).send({ error: { code, message: status < 500 ? (error as Error).message : 'the request failed' } })
  })
  app.setNotFoundHandler((_request, reply) => {
    reply.status(404).send({ error: { code: 'http.not_found', message: 'there is nothing at this path' } })
  })
  app.get('/', () => ({ name, version, documents: '/docs/{name}', health: '/health', ready: '/ready', metrics: '/metrics' }))
  app.get('/health', () => ({ status: 'ok', pid: process.pid }))
  app.get('/ready', (_request, reply) => {
    const found = readiness(state)
    reply.status(found.ready ? 200 : 503).send(found)
  })
  app.get('/version', () => ({ name, version, node: process.versions.node }))
  app.get('/metrics', async (_request, reply) => {
    reply.type(state.metrics.registry.contentType)
    return state.metrics.registry.metrics()
  })
  if (state.examples && existsSync(examplesDirectory)) {
    await app.register(fastifyStatic, { root: examplesDirectory, prefix: '/examples/', index: ['index.html'] })
  }
  await app.ready()
  return app
}
