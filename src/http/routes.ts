/** The HTTP side: health, readiness, status, version, metrics, documents, channels over REST and SSE, example pages. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import { TroupeError } from '../../actors/errors.ts'
import type { Log } from '../../actors/world.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { name, version } from '../version.ts'
import { sendError } from './errors.ts'
import { health, readiness, type ServerState, status } from './health.ts'

export interface HttpState extends ServerState {
  readonly log: Log
  readonly metrics: Metrics
  readonly examples: boolean
  /** More routes: those of documents and channels. */
  readonly routes: readonly FastifyPluginAsync[]
}

/** Names have up to 255 bytes, each of which may come as `%xx`. */
const maxParamLength = 3 * 255

const index = {
  name,
  version,
  bus: '/',
  chat: '/chat',
  pubsub: '/ws',
  arqonbus: '/arqonbus',
  documents: '/docs/{name}',
  hocuspocus: '/hocuspocus',
  document_list: '/v1/documents',
  document: '/v1/documents/{name}',
  content: '/v1/documents/{name}/content',
  history: '/v1/documents/{name}/history',
  channels: '/v1/channels',
  messages: '/v1/channels/{name}/messages',
  events: '/v1/channels/{name}/events',
  api: '/v1/openapi.json',
  health: '/health',
  ready: '/ready',
  status: '/status',
  metrics: '/metrics',
}

const examplesDirectory = fileURLToPath(new URL('./examples/', import.meta.url))

const verbs = ['GET', 'PUT', 'POST', 'PATCH', 'DELETE']

/** A path that is there, and does not take the method (RFC 9110 §15.5.6). Before the body is looked at. */
const refuseOthers = (app: FastifyInstance, url: string, methods: ReadonlySet<string>): void => {
  const others = verbs.filter((verb) => !methods.has(verb))
  const allow = [...methods, 'OPTIONS'].join(', ')
  app.route({
    method: others,
    url,
    config: { isRefused: true },
    exposeHeadRoute: false,
    onRequest: (_request, reply, done) => {
      reply.header('allow', allow)
      done(new TroupeError('http.method_not_allowed'))
    },
    handler: () => undefined,
  })
}

/** The application, ready to route; the server gives it its requests. */
export const createHttp = async (state: HttpState): Promise<FastifyInstance> => {
  const { log, metrics } = state
  const app = fastify({
    logger: false,
    bodyLimit: 1024 * 1024,
    routerOptions: { maxParamLength },
    frameworkErrors: (error, _request, reply) => void sendError(reply, error, log),
  })
  app.setErrorHandler((error, _request, reply) => void sendError(reply, error, log))
  app.setNotFoundHandler((_request, reply) => void sendError(reply, new TroupeError('http.not_found'), log))
  const allowed = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const methods = allowed.get(url) ?? new Set()
    allowed.set(url, methods)
    for (const one of [method].flat()) methods.add(one)
  })
  app.get('/', () => index)
  app.get('/health', () => health(state))
  app.get('/ready', (_request, reply) => {
    const found = readiness(state)
    reply.status(found.ready ? 200 : 503).send(found)
  })
  app.get('/status', () => status(state))
  app.get('/version', () => ({ name, version, node: process.versions.node }))
  app.get('/metrics', async (_request, reply) => {
    reply.type(metrics.registry.contentType)
    return metrics.registry.metrics()
  })
  for (const routes of state.routes) await app.register(routes)
  for (const [url, methods] of allowed) if (url.startsWith('/v1/') && !url.includes('*')) refuseOthers(app, url, methods)
  if (state.examples && existsSync(examplesDirectory)) {
    await app.register(fastifyStatic, { root: examplesDirectory, prefix: '/examples/', index: ['index.html'] })
  }
  await app.ready()
  return app
}
