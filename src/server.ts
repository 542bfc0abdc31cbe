/**
 * The server: plugs journals, actor system, accounts, doors and HTTP together, and takes them apart again in order.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { Admission } from '../actors/admission.ts'
import { channelKind } from '../actors/channel.ts'
import { type ClientOptions, clientKind } from '../actors/client.ts'
import { type ConnectionLimits, connectionKind } from '../actors/connection.ts'
import { directoryKind } from '../actors/directory.ts'
import { documentKind } from '../actors/document.ts'
import { DocumentMemory } from '../actors/documentMemory.ts'
import { type SweepMessage, sweepAddress, sweepKind } from '../actors/documentSweep.ts'
import { usageKind } from '../actors/documentUsage.ts'
import { isTroupeError, TroupeError } from '../actors/errors.ts'
import type { Journals } from '../actors/journal.ts'
import { Leavings } from '../actors/leavings.ts'
import { type MultiplexerLimits, multiplexerKind } from '../actors/multiplexer.ts'
import { countsTenants } from '../actors/quotaSteps.ts'
import { SlidingWindows } from '../actors/rate.ts'
import type { Revocation, RevocationRequest } from '../actors/revocations.ts'
import type { SocketMessage } from '../actors/socketLife.ts'
import type { ActorDefinition } from '../actors/system/definition.ts'
import { ActorSystem } from '../actors/system/system.ts'
import { deadLetterEvent, TelemetryBuffer, telemetryKind } from '../actors/telemetry.ts'
import { userKind } from '../actors/user.ts'
import { type DocumentEvent, type WebhookMessage, webhookKind } from '../actors/webhook.ts'
import type { Log, World } from '../actors/world.ts'
import { awarenessLimits } from '../crdt/awareness.ts'
import { awarenessPolicy } from '../crdt/awarenessState.ts'
import { updateLimits } from '../crdt/update.ts'
import { Authenticator } from './auth/authenticator.ts'
import { GuardedRoster } from './auth/roster.ts'
import { builtinCommands } from './bus/commands.ts'
import type { Config, Profile } from './config.ts'
import type { AgentSession } from './documents/agent.ts'
import { historyOptions } from './documents/compression.ts'
import { DocumentEdits } from './documents/edits.ts'
import { DocumentHandle } from './documents/handle.ts'
import { type Rechecked, type RecheckRequest, recheck } from './documents/recheck.ts'
import { DocumentWorker } from './documents/worker.ts'
import { arqonbusDoor } from './doors/arqonbus.ts'
import { busDoor } from './doors/bus.ts'
import { spelledData } from './doors/busEncode.ts'
import { chatDoor } from './doors/chat.ts'
import { pubsubDoor } from './doors/pubsub.ts'
import { EventEncoder } from './doors/sse.ts'
import { Edge, type EdgeOptions } from './edge.ts'
import { combinePlugins, type Extensions } from './extend/extensions.ts'
import { loadPlugins, type PluginSource } from './extend/plugins.ts'
import { accessRoutes } from './http/access.ts'
import { channelOperations } from './http/channelOperations.ts'
import { channelRoutes } from './http/channels.ts'
import { documentContentRoutes } from './http/documentContent.ts'
import { documentHistoryRoutes } from './http/documentHistory.ts'
import { documentRoutes } from './http/documentRoutes.ts'
import type { DocumentRoute } from './http/documentSession.ts'
import { documentLifeRoutes } from './http/documents.ts'
import { rawRefusal } from './http/errors.ts'
import { type EventRoutesOptions, eventRoutes } from './http/events.ts'
import { openapiRoutes } from './http/openapi.ts'
import { createHttp } from './http/routes.ts'
import { HttpSessions } from './http/session.ts'
import { passOver, wantsWebSocket } from './http/unwantedUpgrade.ts'
import { readMeta } from './storage/directory.ts'
import { openJournals } from './storage/registry.ts'
import { createMetrics, type Metrics } from './telemetry/metrics.ts'
import { wants, webhookSender } from './webhooks/sender.ts'
import { systemWorld } from './world.ts'

/** Slow headers and idle sockets end here; the values are those of the reliability study. */
const httpTimeouts = { headersTimeout: 10_000, requestTimeout: 15_000, keepAliveTimeout: 5_000, connectionsCheckingInterval: 2_000 }
const maxHeaderBytes = 8 * 1024
const lockRetryMs = 200
const minuteMs = 60_000
/** Beside the time that hooks may take. */
const spareMs = 5_000
/** Sockets beyond those of clients: pages, probes, and clients that are about to be told that they are too many. */
const spareSockets = 1_000

export interface ServerOptions {
  readonly config: Config
  readonly log: Log
  /** Kinds of your own. */
  readonly actors?: readonly ActorDefinition[]
  /** Beside those of the configuration. */
  readonly plugins?: readonly PluginSource[]
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

/** What is there before the actors. */
interface Ground {
  readonly world: World
  readonly journals: Journals
  readonly extensions: Extensions
  readonly authenticator: Authenticator
  readonly uptimeMs: () => number
  /** Of the data directory, when it was restored from a backup. */
  readonly generation: string | undefined
}

export class TroupeServer {
  readonly system: ActorSystem
  readonly journals: Journals
  readonly listeners: ListenerInfo[] = []
  readonly config: Config
  /** Changes of documents that no client makes. */
  readonly edits: DocumentEdits
  readonly #agents = new Set<AgentSession>()
  readonly #log: Log
  readonly #ground: Ground
  readonly #tap = new TelemetryBuffer()
  readonly #roster: GuardedRoster
  readonly #metrics: Metrics
  readonly #memory: DocumentMemory
  readonly #admission: Admission
  readonly #work: DocumentWorker
  readonly #clients: ClientOptions
  readonly #doors: EdgeOptions['doors']
  readonly #edge: Edge
  readonly #servers: Server[] = []
  #http: FastifyInstance | undefined
  #closing: Promise<void> | undefined

  private constructor({ config, log, actors = [] }: ServerOptions, ground: Ground) {
    const { world, journals, extensions, authenticator } = ground
    this.config = config
    this.#log = log
    this.#memory = new DocumentMemory(config.documents.memoryBytes)
    this.#admission = new Admission(config.limits, () => world.random.next())
    this.#work = new DocumentWorker({ jobMs: config.documents.workMs, inspectMs: config.documents.inspectMs })
    this.#ground = ground
    this.#roster = new GuardedRoster(
      (account) => authenticator.isRevoked(account),
      (address) => this.system.tell(address, { type: 'connection.close', code: 'auth.revoked', detail: '' } satisfies SocketMessage),
    )
    this.journals = journals
    journals.onStatus(({ state }) => {
      if (this.#tap.isOn) this.#tap.emit({ event: 'storage', at: world.clock.now(), tenant: '', state })
    })
    this.#metrics = createMetrics(
      () => this.system,
      journals,
      this.#tap,
      () => ({
        documentBytes: this.#memory.bytes,
        answerBytes: this.#admission.answerBytes,
        documents: () => this.#memory.documents(),
      }),
    )
    this.#clients = this.#clientOptions()
    const { askTimeoutMs, sliceMs, maxActive, deadLetters } = config.system
    this.system = new ActorSystem({
      world,
      journals,
      askTimeoutMs,
      sliceMs,
      maxActive,
      deadLetterLimit: deadLetters,
      onDeadLetter: (letter) => {
        if (this.#tap.isOn) this.#tap.emit(deadLetterEvent(letter))
      },
      actors: [...this.#documentKinds(), ...this.#busKinds(), ...extensions.actors, ...actors],
    })
    this.edits = new DocumentEdits({ asker: this.system, random: world.random, work: this.#work })
    this.#doors = {
      bus: busDoor(config.bus),
      chat: chatDoor(config.bus),
      pubsub: pubsubDoor(config.bus),
      arqonbus: arqonbusDoor(config.bus),
    }
    this.#edge = new Edge({
      config,
      system: this.system,
      world,
      metrics: this.#metrics,
      authenticator,
      doors: this.#doors,
      isClosing: () => this.#closing !== undefined,
    })
  }

  #documentKinds(): ActorDefinition[] {
    const { limits, documents, webhooks } = this.config
    const { deletedMs, historyMs, tenantWarnBytes, tenantBytes, tenantRefuseBytes } = documents
    const tenantQuotas = { tenantWarnBytes, tenantBytes, tenantRefuseBytes, quota: this.#metrics.documents }
    const happened = webhooks.receivers.length > 0 && { happened: this.#happened }
    const document = documentKind({
      journals: this.journals,
      work: this.#work,
      memory: this.#memory,
      observe: this.#metrics.documents,
      ...happened,
      generation: this.#ground.generation,
      autoCreate: documents.autoCreate,
      deletedMs: documents.deletedMs,
      warnBytes: documents.warnBytes,
      maxBytes: documents.maxBytes,
      refuseBytes: documents.refuseBytes,
      ...tenantQuotas,
      windowMs: documents.windowMs,
      maxWindowMs: documents.maxWindowMs,
      idleMs: documents.idleMs,
      retryMs: documents.retryMs,
      askAgainMs: documents.askAgainMs,
      compareMs: documents.compareMs,
      repeatRequests: documents.repeatRequests,
      repeatMs: documents.repeatMs,
      maxUnsavedBytes: documents.maxUnsavedBytes,
      history: documents.history ? historyOptions(documents) : undefined,
      inlineBytes: documents.inlineBytes,
      leavings: new Leavings(documents.leftBytes),
      clientIds: documents.clientIds,
      commentRoots: documents.commentRoots,
      guardedBytes: documents.guardedBytes,
      guardedMs: documents.guardedMs,
      refusalsPerMinute: documents.refusalsPerMinute,
      validation: this.#ground.extensions.validation,
      presenceCounts: this.#metrics.presence,
      presenceWindowMs: documents.presenceWindowMs,
      maxPresenceWindowMs: documents.maxPresenceWindowMs,
      stampPresence: documents.stampPresence && this.#ground.authenticator.isConfigured,
      awarenessTimeoutMs: documents.awarenessTimeoutMs,
      awareness: { ...awarenessPolicy, ids: documents.clients, idsPerOwner: documents.clientsPerConnection },
      awarenessLimits: {
        ...awarenessLimits,
        entries: documents.clients,
        stateBytes: documents.awarenessStateBytes,
        messageBytes: documents.awarenessMessageBytes,
      },
      updateLimits: { ...updateLimits, structs: documents.structs, deletes: documents.structs, depth: documents.depth },
    })
    const sweep = sweepKind({ journals: this.journals, deletedMs, historyMs, countsBytes: countsTenants(documents) })
    return [
      document,
      sweep,
      usageKind({ ...tenantQuotas, ...happened }),
      this.#webhooks(),
      connectionKind(
        limits satisfies ConnectionLimits,
        this.#roster,
        this.#ground.extensions.hooks,
        this.#admission,
        this.#metrics.presence,
      ),
      multiplexerKind({ ...limits, lanes: limits.documentsPerSocket } satisfies MultiplexerLimits),
    ]
  }

  #webhooks(): ActorDefinition {
    const { receivers, timeoutMs, waiting: limit, ...options } = this.config.webhooks
    const { clock, log } = this.#ground.world
    const { observe } = this.#metrics.webhooks
    return webhookKind({ ...options, limit, observe, deliver: webhookSender({ receivers, timeoutMs, clock, log }) })
  }

  readonly #happened = (event: DocumentEvent): void => {
    for (const receiver of this.config.webhooks.receivers)
      if (wants(receiver, event)) this.system.tell(`webhook/${receiver.name}`, { type: 'webhook.note', event } satisfies WebhookMessage)
  }

  #busKinds(): ActorDefinition[] {
    const channel = channelKind({ ...this.config.bus, journals: this.journals, observe: this.#metrics.bus.channels })
    const telemetry = telemetryKind({ tap: this.#tap })
    return [channel, directoryKind(), userKind(), clientKind(this.#clients), telemetry, ...this.#ground.authenticator.actors]
  }

  #clientOptions(): ClientOptions {
    const { limits, bus } = this.config
    const { extensions, authenticator } = this.#ground
    const { commands, hooks } = extensions
    return {
      limits,
      commands,
      hooks,
      allowedCommands: bus.allowedCommands,
      authenticate: (credentials, remote) => authenticator.authenticate(credentials, remote),
      isLoginRequired: authenticator.isRequired,
      mayRename: !authenticator.isConfigured,
      channelsPerClient: bus.channelsPerClient,
      echoBudget: bus.echoBudget,
      silentMs: bus.silentMs,
      roomTtlMs: bus.roomTtlMs,
      requestsPerMinute: bus.requestsPerMinute,
      userRequests: bus.userRequestsPerMinute > 0 ? new SlidingWindows(bus.userRequestsPerMinute, minuteMs) : undefined,
      roster: this.#roster,
      tap: this.#tap,
      observe: this.#metrics.bus.clients,
    }
  }

  /** Opens the store, then the ports. Errors: those of the store, `config.invalid`, and those of `listen`. */
  static async start(options: ServerOptions): Promise<TroupeServer> {
    const { config, log, isListening = true, plugins: sources = [] } = options
    const world = options.world ?? systemWorld(log)
    const startedAt = world.clock.monotonic()
    const uptimeMs = () => world.clock.monotonic() - startedAt
    const plugins = await loadPlugins([...config.plugins, ...sources], process.cwd(), { config, log })
    const extensions: Extensions = combinePlugins(plugins, {
      clock: world.clock,
      log,
      timeoutMs: config.bus.hookTimeoutMs,
      builtins: builtinCommands({
        uptimeMs,
        messageBytes: config.bus.messageBytes,
        checksPasswords: config.auth.users !== '' || plugins.some(({ auth }) => auth !== undefined),
        all: () => extensions.commands.values(),
      }),
    })
    const authenticator = await Authenticator.create({ auth: config.auth, world, providers: extensions.providers })
    if (isListening) checkExposure(config, authenticator)
    const journals = options.journals ?? (await openStore(config, world, extensions))
    const generation = options.journals === undefined ? await generationOf(config.data) : undefined
    const server = new TroupeServer(options, { world, journals, extensions, authenticator, uptimeMs, generation })
    try {
      await server.system.start()
      server.system.tell(sweepAddress, { type: 'sweep.day' } satisfies SweepMessage)
      await authenticator.load(server.system)
      authenticator.onRevoked(server.#roster.look)
      if (isListening) await server.#listen()
      return server
    } catch (error) {
      await server.close()
      throw error
    }
  }

  async #listen(): Promise<void> {
    const { config } = this
    const { world, uptimeMs } = this.#ground
    this.#http = await createHttp({
      storage: () => this.journals.status(),
      actors: () => this.system.health(),
      counts: () => this.system.counts(),
      deadLettersByCode: () => this.system.deadLettersByCode(),
      connections: this.#metrics.connections,
      telemetryWatchers: () => this.#tap.watchers,
      unsavedDocuments: this.#metrics.unsavedDocuments,
      damagedDocuments: this.#metrics.damagedDocuments,
      isClosing: () => this.#closing !== undefined,
      now: () => world.clock.now(),
      uptimeMs,
      metrics: this.#metrics,
      log: this.#log,
      examples: config.examples,
      routes: this.#channelRoutes(),
    })
    for (const { port, profile } of [{ port: config.port, profile: 'main' as const }, ...config.listen])
      await this.#open(this.#http, port, profile)
  }

  #channelRoutes(): FastifyPluginAsync[] {
    const { config } = this
    const { world } = this.#ground
    const { random, log } = world
    const identify = (request: IncomingMessage) => this.#edge.visitor(request)
    const sessions = new HttpSessions({ system: this.system, world, client: this.#clients })
    const encoder = new EventEncoder(this.#doors.bus.encode)
    const { traffic } = this.#metrics
    const routes = this.#documentRoutes()
    const connect: EventRoutesOptions['connect'] = (response, inputOf) => this.#edge.connectStream(response, inputOf)
    return [
      channelRoutes({ identify, sessions, spell: spelledData, config }),
      eventRoutes({ identify, connect, encoder, traffic, random, log, config }),
      documentRoutes({ identify, sessions, routes, config }),
      openapiRoutes([...channelOperations, ...routes], config.origins),
    ]
  }

  #documentRoutes(): DocumentRoute[] {
    const { journals } = this
    const work = this.#work
    const edits = this.edits
    return [
      ...documentLifeRoutes({ work, edits, journals, clock: this.#ground.world.clock }),
      ...documentContentRoutes({ work, edits }),
      ...documentHistoryRoutes({ work }),
      ...accessRoutes(this.recheck),
    ]
  }

  /** Errors: `connection.bad_name`. */
  document(name: string, tenant = ''): DocumentHandle {
    const { system, edits } = this
    return new DocumentHandle({ system, edits, work: this.#work, world: this.#ground.world, agents: this.#agents }, name, tenant)
  }

  async #open(http: FastifyInstance, port: number, profile: Profile): Promise<void> {
    const server = createServer({ ...httpTimeouts, maxHeaderSize: maxHeaderBytes }, (request, response) => http.routing(request, response))
    server.maxConnections = this.config.limits.connections + spareSockets
    server.on('upgrade', (request, socket, head) => {
      if (wantsWebSocket(request))
        this.#edge.upgrade(profile, request, socket as Socket, head) // a server without TLS or tunnels has no others
      else passOver(server, request, socket, head)
    })
    server.on('clientError', (error, socket) => {
      if (socket.writable) socket.end(rawRefusal(error))
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

  // ── accounts ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** What clients may do with the documents that they have open is computed again. */
  readonly recheck = (request: RecheckRequest): Promise<Rechecked> =>
    recheck(request, {
      system: this.system,
      roster: this.#roster,
      refresh: (account) => this.#ground.authenticator.refresh(account),
      timeoutMs: this.config.bus.hookTimeoutMs + spareMs,
    })

  /** Resolves when it is on disk. Errors: `auth.too_many_revocations`, those of the store. */
  revoke(request: RevocationRequest): Promise<Revocation> {
    return this.#ground.authenticator.revoke(request)
  }

  // ── closing ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Stops accepting, tells the clients to come back (1012), stores what is under way, closes the store. Resolves when all is done. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { connections } = this.#edge
    this.#log.info({ connections: connections.size }, 'closing')
    const closed = this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())))
    for (const server of this.#servers) server.closeIdleConnections()
    await this.system.quiesce()
    for (const agent of [...this.#agents]) agent.leave(new TroupeError('system.closed'))
    const goodbye: SocketMessage = { type: 'connection.close', code: 'system.closed', detail: '' }
    for (const address of connections) this.system.tell(address, goodbye)
    await this.system.close()
    for (const server of this.#servers) server.closeAllConnections()
    this.#edge.terminate()
    await this.#http?.close()
    await Promise.all(closed)
    await this.#work.close()
    this.#ground.authenticator.close()
    await this.journals.close()
  }
}

/** Clients of before a restore know a history that goes on differently now; what is restored twice has two. */
const generationOf = async (directory: string): Promise<string | undefined> => (await readMeta(directory))?.restoredAt?.toString(36)

/** Waits for a process that is about to give up the directory, such as the one that this one follows. */
const openStore = async ({ data, storage }: Config, { clock, random, log }: World, extensions: Extensions): Promise<Journals> => {
  const { backend, lockWaitMs, ...limits } = storage
  const end = clock.monotonic() + lockWaitMs
  for (;;) {
    try {
      return await openJournals(backend, { directory: data, clock, random, log, ...limits }, extensions.storage)
    } catch (error) {
      if (!isTroupeError(error, 'storage.locked') || clock.monotonic() >= end) throw error
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

const checkExposure = ({ host, allowPublicAnonymous }: Config, { isRequired }: Authenticator): void => {
  if (isRequired || allowPublicAnonymous || loopback.test(host)) return
  throw new TroupeError(
    'config.invalid',
    `host ${host} can be reached by others, and nobody has to log in; say auth.anonymous=false and how accounts are checked, listen on 127.0.0.1, or say allowPublicAnonymous`,
  )
}
