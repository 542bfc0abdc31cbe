/**
 * The server: plugs journals, actor system, doors and HTTP together, and takes them apart again in order.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { type WebSocket, WebSocketServer } from 'ws'
import { type ConnectionInput, type ConnectionLimits, type ConnectionMessage, connectionKind } from '../actors/connection.ts'
import { documentKind } from '../actors/document.ts'
import { type ErrorCode, isTroupeError, TroupeError } from '../actors/errors.ts'
import type { Journals } from '../actors/journal.ts'
import type { ActorDefinition } from '../actors/system/definition.ts'
import { ActorSystem } from '../actors/system/system.ts'
import type { Log, World } from '../actors/world.ts'
import { awarenessLimits } from '../crdt/awareness.ts'
import { awarenessPolicy } from '../crdt/awarenessState.ts'
import { updateLimits } from '../crdt/update.ts'
import type { Config, Profile } from './config.ts'
import { WorkerCompactor } from './documents/compactor.ts'
import { closeOf, closeReason } from './doors/closeCodes.ts'
import type { Door } from './doors/door.ts'
import { Framer } from './doors/frames.ts'
import { WebSocketSink } from './doors/sink.ts'
import { yjsDoor } from './doors/yjs.ts'
import { createHttp } from './http/routes.ts'
import { route } from './routes.ts'
import { openJournals } from './storage/registry.ts'
import { createMetrics, type Metrics } from './telemetry/metrics.ts'
import { systemWorld } from './world.ts'

/** Slow headers and idle sockets end here; the values are those of the reliability study. */
const httpTimeouts = { headersTimeout: 10_000, requestTimeout: 15_000, keepAliveTimeout: 5_000, connectionsCheckingInterval: 2_000 }
const maxHeaderBytes = 8 * 1024
const lockRetryMs = 200
/** After a close frame, the client has this long to answer it. */
const closeGraceMs = 2_000
/** Sockets beyond those of clients: pages, probes, and clients that are about to be told that they are too many. */
const spareSockets = 1_000

export interface ServerOptions {
  readonly config: Config
  readonly log: Log
  /** Kinds of your own. */
  readonly actors?: readonly ActorDefinition[]
  /** Instead of opening the configured backend. The server closes them. */
  readonly journals?: Journals
  readonly world?: World
  /** False: no port is opened. */
  readonly isListening?: boolean
}

export interface ListenerInfo {
  readonly host: string
  readonly port: number
  readonly profile: Profile
}

export class TroupeServer {
  readonly system: ActorSystem
  readonly journals: Journals
  readonly listeners: ListenerInfo[] = []
  readonly #config: Config
  readonly #log: Log
  readonly #world: World
  readonly #metrics: Metrics
  readonly #compactor: WorkerCompactor
  readonly #framer = new Framer(yjsDoor)
  readonly #sockets: WebSocketServer
  readonly #servers: Server[] = []
  readonly #connections = new Set<string>()
  #http: FastifyInstance | undefined
  #closing: Promise<void> | undefined

  private constructor({ config, log, actors = [] }: ServerOptions, world: World, journals: Journals) {
    this.#config = config
    this.#log = log
    this.#world = world
    this.journals = journals
    this.#metrics = createMetrics(() => this.system, journals)
    this.#compactor = new WorkerCompactor()
    const { limits, documents } = config
    const document = documentKind({
      journals,
      compactor: this.#compactor,
      observe: this.#metrics.documents,
      windowMs: documents.windowMs,
      maxWindowMs: documents.maxWindowMs,
      idleMs: documents.idleMs,
      retryMs: documents.retryMs,
      maxUnsavedBytes: documents.maxUnsavedBytes,
      awarenessTimeoutMs: documents.awarenessTimeoutMs,
      awareness: { ...awarenessPolicy, ids: documents.clients, idsPerOwner: documents.clientsPerConnection },
      awarenessLimits: {
        ...awarenessLimits,
        entries: documents.clients,
        stateBytes: documents.awarenessStateBytes,
        messageBytes: documents.awarenessMessageBytes,
      },
      updateLimits: { ...updateLimits, structs: documents.structs, depth: documents.depth },
    })
    const connection = connectionKind(limits satisfies ConnectionLimits)
    const { askTimeoutMs, sliceMs, maxActive, deadLetters } = config.system
    this.system = new ActorSystem({
      world,
      journals,
      askTimeoutMs,
      sliceMs,
      maxActive,
      deadLetterLimit: deadLetters,
      actors: [document, connection, ...actors],
    })
    this.#sockets = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: limits.messageBytes,
      maxFragments: 4_096,
      ...{ closeTimeout: closeGraceMs }, // missing in the types
    })
  }

  /** Opens the store, then the ports. Errors: those of the store, `config.invalid`, and those of `listen`. */
  static async start(options: ServerOptions): Promise<TroupeServer> {
    const { config, log, isListening = true } = options
    const world = options.world ?? systemWorld(log)
    if (isListening) checkExposure(config)
    const journals = options.journals ?? (await openStore(config, world))
    const server = new TroupeServer(options, world, journals)
    try {
      await server.system.start()
      if (isListening) await server.#listen()
      return server
    } catch (error) {
      await server.close()
      throw error
    }
  }

  async #listen(): Promise<void> {
    const { config } = this
    this.#http = await createHttp({
      storage: () => this.journals.status(),
      actors: () => this.system.health(),
      isClosing: () => this.#closing !== undefined,
      metrics: this.#metrics,
      examples: config.examples,
    })
    for (const { port, profile } of [{ port: config.port, profile: 'main' as const }, ...config.listen])
      await this.#open(this.#http, port, profile)
  }

  async #open(http: FastifyInstance, port: number, profile: Profile): Promise<void> {
    const server = createServer({ ...httpTimeouts, maxHeaderSize: maxHeaderBytes }, (request, response) => http.routing(request, response))
    server.maxConnections = this.config.limits.connections + spareSockets
    server.on('upgrade', (request, socket, head) => this.#upgrade(profile, request, socket as Socket, head)) // a server without TLS or tunnels has no others
    server.on('clientError', (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n')
      else socket.destroy()
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, this.config.host, port)))
      server.listen(port, this.config.host, () => {
        server.removeAllListeners('error')
        resolve()
      })
    })
    this.#servers.push(server)
    const { port: bound } = server.address() as AddressInfo // a TCP server that listens
    this.listeners.push({ host: this.config.host, port: bound, profile })
  }

  get config(): Config {
    return this.#config
  }

  // ── one client ─────────────────────────────────────────────────────────────────────────────────────────────────

  #upgrade(profile: Profile, request: IncomingMessage, socket: Socket, head: Buffer): void {
    socket.on('error', () => socket.destroy())
    const found = route(profile, request.url ?? '/')
    if (found.kind === 'none') {
      socket.end(`HTTP/1.1 ${found.status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
      return
    }
    // A browser does not see the status of a refused upgrade and tries for ever; it does see a close code.
    const refusal = found.kind === 'refused' ? found : this.#refusal(request)
    this.#sockets.handleUpgrade(request, socket, head, (ws) => {
      ws.on('error', () => {}) // ws closes by itself; without a listener the error would end the process
      if (refusal !== undefined) ws.close(closeOf(refusal.code).code, closeReason(refusal.code, refusal.detail))
      else if (found.kind === 'document') this.#connect(ws, socket, yjsDoor, `document/${found.name}`)
    })
  }

  #refusal({ headers }: IncomingMessage): { readonly code: ErrorCode; readonly detail: string } | undefined {
    const { origins, limits } = this.#config
    if (this.#closing !== undefined) return { code: 'system.closed', detail: '' }
    if (origins.length > 0 && !origins.includes(headers.origin ?? ''))
      return { code: 'connection.origin', detail: headers.origin ?? 'none' }
    if (this.#connections.size >= limits.connections) return { code: 'connection.too_many', detail: '' }
    return undefined
  }

  #connect(ws: WebSocket, socket: Socket, door: Door, document: string): void {
    const address = `connection/${this.#world.random.id()}`
    const { system } = this
    const metrics = this.#metrics
    const tell = (message: ConnectionMessage) => system.tell(address, message)
    const drained = () => tell({ type: 'connection.drained' })
    const sink = new WebSocketSink(ws, socket, this.#framer, metrics.traffic, drained, this.#config.limits.inboundMessages)
    this.#connections.add(address)
    metrics.connectionOpened(door.name)
    const input: ConnectionInput = { sink, document }
    system.begin(address, input)
    ws.on('message', (data: Buffer, isBinary: boolean) => {
      metrics.received(data.length)
      sink.arrived()
      const decoded = isBinary ? door.decode(data) : { ok: false as const, detail: 'kind: a text message' }
      if (decoded.ok) tell({ type: 'connection.receive', message: decoded.message })
      else tell({ type: 'connection.garbage', detail: decoded.detail })
    })
    ws.on('pong', () => tell({ type: 'connection.pong' }))
    ws.on('close', () => {
      this.#connections.delete(address)
      metrics.connectionClosed(door.name)
      tell({ type: 'connection.gone' })
    })
  }

  // ── closing ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Stops accepting, tells the clients to come back (1012), stores what is under way, closes the store. Resolves when all is done. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#log.info({ connections: this.#connections.size }, 'closing')
    const closed = this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())))
    for (const server of this.#servers) server.closeIdleConnections()
    await this.system.quiesce()
    const goodbye: ConnectionMessage = { type: 'connection.close', code: 'system.closed', detail: '' }
    for (const address of this.#connections) this.system.tell(address, goodbye)
    await this.system.close()
    for (const server of this.#servers) server.closeAllConnections()
    for (const client of this.#sockets.clients) client.terminate()
    await this.#http?.close()
    await Promise.all(closed)
    await this.#compactor.close()
    await this.journals.close()
  }
}

/** Waits for a process that is about to give up the directory, such as the one that this one follows. */
const openStore = async ({ data, storage }: Config, { clock, random, log }: World): Promise<Journals> => {
  const { backend, lockWaitMs, ...limits } = storage
  const end = clock.now() + lockWaitMs
  for (;;) {
    try {
      return await openJournals(backend, { directory: data, clock, random, log, ...limits })
    } catch (error) {
      if (!isTroupeError(error, 'storage.locked') || clock.now() >= end) throw error
      await new Promise<void>((resolve) => clock.after(lockRetryMs, resolve))
    }
  }
}

const listenReasons: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there; stop it, or choose another port',
  EACCES: 'this user may not listen there; choose a port from 1024 on',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'there is no such host',
}

/** What a start again would not change is a fault of the configuration. */
const listenError = (error: NodeJS.ErrnoException, host: string, port: number): Error => {
  const reason = listenReasons[error.code ?? '']
  return reason === undefined ? error : new TroupeError('config.invalid', `host ${host}, port ${port}: ${reason}`, { cause: error })
}

const loopback = /^(localhost|127(\.\d+){3}|::1)$/

const checkExposure = ({ host, allowPublicAnonymous }: Config): void => {
  if (allowPublicAnonymous || loopback.test(host)) return
  throw new TroupeError(
    'config.invalid',
    `host ${host} can be reached by others, and nobody has to log in; listen on 127.0.0.1 behind a proxy that checks who comes, or say allowPublicAnonymous`,
  )
}
