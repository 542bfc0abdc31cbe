/**
 * The edge: from the upgrade of an HTTP request to the actor of the connection. Finds the door, who comes, and whether there
 * is room; then the actor has the socket.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { type Account, scopedId } from '../actors/account.ts'
import type { ClientInput, ClientMessage } from '../actors/client.ts'
import { refusalOf } from '../actors/clientAccess.ts'
import type { ConnectionInput, ConnectionMessage } from '../actors/connection.ts'
import { isTroupeError, TroupeError } from '../actors/errors.ts'
import type { MultiplexerInput, MultiplexerMessage } from '../actors/multiplexer.ts'
import type { Refusal } from '../actors/output.ts'
import type { ActorSystem } from '../actors/system/system.ts'
import type { World } from '../actors/world.ts'
import type { Authenticator } from './auth/authenticator.ts'
import { answeredProtocol } from './auth/credentials.ts'
import { identify, type Visitor } from './auth/visitors.ts'
import type { Config, Profile } from './config.ts'
import { closeOf, closeReason } from './doors/closeCodes.ts'
import { Framer, TextFramer } from './doors/frames.ts'
import { decodeFrame, HocuspocusFramer, hocuspocusName } from './doors/hocuspocus.ts'
import { WebSocketSink } from './doors/sink.ts'
import type { Denial, TextDoor } from './doors/textDoor.ts'
import { yjsDoor } from './doors/yjs.ts'
import { Proxies } from './proxies.ts'
import { type BusProfile, type DocumentRoute, type Route, route } from './routes.ts'
import type { Metrics } from './telemetry/metrics.ts'
import { isForDocuments, isHocuspocus, whereDocumentsAre } from './wires.ts'

/** After a close frame, the client has this long to answer it. */
const closeGraceMs = 2_000

export interface EdgeOptions {
  readonly config: Config
  readonly system: ActorSystem
  readonly world: World
  readonly metrics: Metrics
  readonly authenticator: Authenticator
  readonly doors: Readonly<Record<BusProfile, TextDoor>>
  readonly isClosing: () => boolean
}

interface Arrival {
  readonly request: IncomingMessage
  readonly socket: Socket
  readonly head: Buffer
}

type Wanted = Exclude<Route, { kind: 'none' }>

/** Who opened a socket, or why that is nobody. */
type Caller = { readonly visitor: Visitor } | { readonly error: unknown }

interface Editor {
  readonly name: string
  readonly account: Account
}

type Receive = (data: Buffer, isBinary: boolean) => void

const binary: Refusal = refusalOf(new TroupeError('message.malformed', 'a binary frame'))

export class Edge {
  readonly #options: EdgeOptions
  readonly #proxies: Proxies
  readonly #documentSockets: WebSocketServer
  readonly #busSockets: ReadonlyMap<string, WebSocketServer>
  readonly #framer = new Framer(yjsDoor)
  readonly #hocuspocusFramer = new HocuspocusFramer()
  readonly #framers: ReadonlyMap<string, TextFramer>
  readonly #connections = new Set<string>()
  /** Sockets whose account is being looked up. */
  #arriving = 0

  constructor(options: EdgeOptions) {
    this.#options = options
    const { config, doors } = options
    this.#proxies = new Proxies(config.trustedProxies)
    this.#documentSockets = sockets(config.limits.messageBytes)
    const { messageBytes, smallMessageBytes } = config.bus
    // Twice as much comes in as is taken, so that what is somewhat too large is refused with a message and not with a cut.
    this.#busSockets = new Map([
      ['bus', sockets(2 * messageBytes)],
      ['arqonbus', sockets(2 * messageBytes)],
      ['chat', sockets(2 * smallMessageBytes)],
      ['pubsub', sockets(2 * smallMessageBytes)],
    ])
    this.#framers = new Map(Object.entries(doors).map(([name, door]) => [name, new TextFramer(door)]))
  }

  /** Addresses of the actors of those that are connected. */
  get connections(): ReadonlySet<string> {
    return this.#connections
  }

  upgrade(profile: Profile, request: IncomingMessage, socket: Socket, head: Buffer): void {
    socket.on('error', destroy)
    const wanted = route(profile, request.url ?? '/')
    if (wanted.kind === 'none') return refuseUpgrade(socket, { status: wanted.status, headers: {}, body: '' })
    const arrival = { request, socket, head }
    const refused = this.#refused(request)
    if (refused !== undefined) return this.#receive(wanted, arrival, { error: refused })
    this.#arriving++
    const { authenticator, world, doors } = this.#options
    const mayLogInLater = wanted.kind === 'bus' && doors[wanted.door].manners.canLogIn === true
    identify(authenticator, world.random, request, this.#proxies.clientOf(request), { mayLogInLater })
      .then(
        (visitor) => this.#receive(wanted, arrival, { visitor }),
        (error) => this.#receive(wanted, arrival, { error }),
      )
      .finally(() => this.#arriving--)
  }

  #refused({ headers }: IncomingMessage): TroupeError | undefined {
    const { config, isClosing } = this.#options
    const { origins, limits } = config
    if (isClosing()) return new TroupeError('system.closed')
    // First: of Hocuspocus clients those that are refused stay connected, too.
    if (this.#connections.size + this.#arriving >= limits.connections) return new TroupeError('connection.too_many')
    if (origins.length > 0 && !origins.includes(headers.origin ?? '')) return new TroupeError('connection.origin', headers.origin ?? 'none')
    return undefined
  }

  #receive(wanted: Wanted, arrival: Arrival, caller: Caller): void {
    if (this.#options.isClosing()) return this.#turnAway(wanted, arrival, new TroupeError('system.closed'))
    switch (wanted.kind) {
      case 'bus': {
        if ('error' in caller) return this.#turnAway(wanted, arrival, caller.error)
        return this.#open(wanted, arrival, (ws) => void this.#connectClient(ws, arrival, this.#options.doors[wanted.door], caller.visitor))
      }
      case 'hocuspocus':
      case 'documents': {
        const error = passing(caller)
        if (error !== undefined) return this.#turnAway(wanted, arrival, error)
        return this.#open(wanted, arrival, (ws) => {
          if (wanted.kind === 'documents') this.#listen(ws, arrival, wanted.document, caller)
          else ws.on('message', this.#connectMultiplexer(ws, arrival, caller))
        })
      }
    }
  }

  /** Which of the two wires of documents it is, the first frame says. */
  #listen(ws: WebSocket, arrival: Arrival, document: DocumentRoute, caller: Caller): void {
    this.#whenSpoken(ws, (data, isBinary) => {
      if (this.#options.isClosing()) return this.#sendAway(ws, new TroupeError('system.closed'))
      if (isBinary && isHocuspocus(data)) return this.#connectMultiplexer(ws, arrival, caller)
      const editor = editorOf(document, caller)
      return 'error' in editor ? this.#sendAway(ws, editor.error) : this.#connectEditor(ws, arrival, editor)
    })
  }

  /** One listener for the first frame and all others: taking listeners away costs each socket a slower and larger table of them. */
  #whenSpoken(ws: WebSocket, begin: (first: Buffer, isBinary: boolean) => Receive | undefined): void {
    const { world, config } = this.#options
    let first: typeof begin | undefined = begin // keeps the request alive, so it goes when it was used
    let receive: Receive | undefined
    this.#arriving++
    const end = () => {
      if (first === undefined) return
      first = undefined
      cancel()
      this.#arriving--
    }
    const cancel = world.clock.after(config.limits.handshakeMs, () => {
      this.#sendAway(ws, new TroupeError('connection.silent', `${config.limits.handshakeMs} ms`))
    })
    ws.on('close', end)
    ws.on('message', (data: Buffer, isBinary: boolean) => {
      if (first !== undefined) {
        const decide = first
        end()
        receive = decide(data, isBinary)
      }
      receive?.(data, isBinary)
    })
  }

  #sendAway(ws: WebSocket, error: unknown): undefined {
    const { code } = refusalOf(error)
    ws.close(closeOf(code).code, closeReason(code, isTroupeError(error, code) ? error.detail : ''))
  }

  /** A browser does not see the status of a refused upgrade and tries for ever; it does see a close code. */
  #turnAway(wanted: Wanted, arrival: Arrival, error: unknown): void {
    const refusal = refusalOf(error)
    const { code } = refusal
    const detail = isTroupeError(error, code) ? error.detail : ''
    const denial: Denial = (wanted.kind === 'bus' ? this.#options.doors[wanted.door].deny?.(refusal) : undefined) ?? {
      close: closeOf(code).code,
      reason: closeReason(code, detail),
    }
    if ('status' in denial) return refuseUpgrade(arrival.socket, denial)
    this.#open(wanted, arrival, (ws) => ws.close(denial.close, denial.reason))
  }

  #open(wanted: Wanted, { request, socket, head }: Arrival, opened: (ws: WebSocket) => void): void {
    const server = wanted.kind === 'bus' ? this.#busSockets.get(wanted.door) : this.#documentSockets
    if (socket.destroyed) return
    server?.handleUpgrade(request, socket, head, (ws) => {
      ws.on('error', ignore)
      opened(ws)
    })
  }

  #connectEditor(ws: WebSocket, { request, socket }: Arrival, { name, account }: Editor): Receive {
    return this.#begin(ws, socket, name, account, epochOf(request) ?? account.epoch)
  }

  /** Apart, so that no listener keeps the request alive. */
  #begin(ws: WebSocket, socket: Socket, name: string, account: Account, epoch: string | undefined): Receive {
    const { system, metrics, config } = this.#options
    const address = this.#arrived('connection', yjsDoor.name, ws)
    const tell = (message: ConnectionMessage) => system.tell(address, message)
    const drained = () => tell({ type: 'connection.drained' })
    const sink = new WebSocketSink(ws, socket, this.#framer, metrics.traffic, drained, config.limits)
    system.begin(address, {
      sink,
      document: `document/${scopedId(account.tenant, name)}`,
      account,
      door: yjsDoor.name,
      wantsReceipts: false,
      ...participation(epoch),
    } satisfies ConnectionInput)
    const receive = (data: Buffer, isBinary: boolean) => {
      metrics.received(data.length)
      sink.arrived(1, data.length)
      const decoded = this.#sound(ws, () => (isBinary ? yjsDoor.decode(data) : { ok: false as const, detail: 'kind: a text message' }))
      if (decoded === undefined) return
      if (decoded.ok) tell({ type: 'connection.receive', message: decoded.message, bytes: data.length })
      else tell({ type: 'connection.garbage', detail: decoded.detail, bytes: data.length })
    }
    return receive
  }

  #connectMultiplexer(ws: WebSocket, { request, socket }: Arrival, caller: Caller): Receive {
    return this.#multiplex(ws, socket, this.#identifier(this.#proxies.clientOf(request), caller), epochOf(request))
  }

  /** The token of a message counts; without one, the credentials with which the socket was opened. Where nobody can log in, tokens say nothing. */
  #identifier(remote: string, caller: Caller): MultiplexerInput['identify'] {
    const { authenticator } = this.#options
    return async (token) => {
      if ('error' in caller && isTroupeError(caller.error, 'connection.origin')) throw caller.error
      if (token !== '' && authenticator.isConfigured) return await authenticator.authenticate({ type: 'token', token }, remote)
      if ('error' in caller) throw caller.error
      return caller.visitor.account
    }
  }

  #multiplex(ws: WebSocket, socket: Socket, identify: MultiplexerInput['identify'], epoch: string | undefined): Receive {
    const { system, metrics, config } = this.#options
    const address = this.#arrived('multiplexer', hocuspocusName, ws)
    const tell = (message: MultiplexerMessage) => system.tell(address, message)
    const drained = () => tell({ type: 'connection.drained' })
    const sink = new WebSocketSink(ws, socket, this.#hocuspocusFramer, metrics.traffic, drained, config.limits)
    system.begin(address, { sink, identify, door: hocuspocusName, ...participation(epoch) } satisfies MultiplexerInput)
    const receive = (data: Buffer, isBinary: boolean) => {
      metrics.received(data.length)
      sink.arrived(1, data.length)
      const request = this.#sound(ws, () =>
        isBinary ? decodeFrame(data) : { type: 'lane.unreadable' as const, detail: 'kind: a text message' },
      )
      if (request !== undefined) tell({ type: 'multiplexer.receive', request, bytes: data.length })
    }
    return receive
  }

  #connectClient(ws: WebSocket, { socket }: Arrival, door: TextDoor, visitor: Visitor): void {
    const { system, metrics, config } = this.#options
    const { manners } = door
    const address = this.#arrived('client', manners.door, ws)
    const tell = (message: ClientMessage) => system.tell(address, message)
    const framer = this.#framers.get(manners.door) as TextFramer // one for each door
    const sink = new WebSocketSink(ws, socket, framer, metrics.traffic, () => {}, config.limits)
    this.#beginClient(address, { sink, manners, ...visitor })
    ws.once('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary && isForDocuments(data)) this.#sendAway(ws, new TroupeError('connection.bad_message', whereDocumentsAre))
    })
    ws.on('message', (data: Buffer, isBinary: boolean) => {
      metrics.received(data.length)
      const requests = this.#sound(ws, () =>
        isBinary ? [{ type: 'request.bad' as const, ref: undefined, refusal: binary }] : door.decode(data.toString()),
      )
      if (requests === undefined) return
      sink.arrived(requests.length, data.length)
      tell({ type: 'client.receive', requests, bytes: data.length })
    })
  }

  /** A door never throws. Should one do so all the same, the frame of one client is not to end the process for all. */
  #sound<Decoded>(ws: WebSocket, decode: () => Decoded): Decoded | undefined {
    try {
      return decode()
    } catch (error) {
      this.#options.world.log.error({ error: error instanceof Error ? error.stack : String(error) }, 'a door failed on a frame')
      ws.close(1011, 'connection.bad_message')
      return undefined
    }
  }

  // ── over HTTP ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Who a request comes from. Errors: those of the authenticator, `auth.required`, `system.closed`. */
  async visitor(request: IncomingMessage): Promise<Visitor> {
    const { authenticator, world, isClosing } = this.#options
    if (isClosing()) throw new TroupeError('system.closed')
    const visitor = await identify(authenticator, world.random, request, this.#proxies.clientOf(request))
    // One name for all who have none: a message that is sent again is known by its id and the name, and comes in another request.
    return visitor.hasLoggedIn ? visitor : { ...visitor, account: authenticator.anonymous('anonymous') }
  }

  /** A client whose socket is the response to a request. Errors: `system.closed`, `connection.too_many`. */
  connectStream(response: ServerResponse, inputOf: (tell: (message: ClientMessage) => void) => ClientInput): void {
    const { system, config, isClosing } = this.#options
    if (isClosing()) throw new TroupeError('system.closed')
    if (this.#connections.size + this.#arriving >= config.limits.connections) throw new TroupeError('connection.too_many')
    if (response.destroyed) return // it did not wait
    const input = inputOf((message) => system.tell(address, message))
    const address = this.#arrived('client', input.manners.door, response)
    this.#beginClient(address, input)
  }

  /** A client that did not log in is called after its connection. */
  #beginClient(address: string, input: ClientInput): void {
    const { manners, account, hasLoggedIn } = input
    const named = hasLoggedIn ? account : { ...account, user: manners.nameOf(address.slice('client/'.length)) }
    this.#options.system.begin(address, { ...input, account: named } satisfies ClientInput)
  }

  /** Makes the address of a new connection and ends its actor with the socket. */
  #arrived(kind: 'connection' | 'multiplexer' | 'client', door: string, socket: WebSocket | ServerResponse): string {
    const { system, metrics, world } = this.#options
    const address = `${kind}/${world.random.id()}`
    this.#connections.add(address)
    metrics.connectionOpened(door)
    socket.on('pong', () => system.tell(address, { type: 'connection.pong' })) // of a WebSocket; HTTP has none
    socket.on('close', () => {
      this.#connections.delete(address)
      metrics.connectionClosed(door)
      system.tell(address, { type: 'connection.gone' })
    })
    return address
  }

  /** Cuts whatever is still open. */
  terminate(): void {
    for (const server of [this.#documentSockets, ...this.#busSockets.values()]) for (const client of server.clients) client.terminate()
  }
}

/**
 * What Hocuspocus clients are told by closing the socket: only what passes. Whatever the code, they connect again; what is for good
 * each of their documents is told, and then they are quiet.
 */
const passing = (caller: Caller): TroupeError | undefined => {
  if (!('error' in caller)) return undefined
  const { error } = caller
  return isTroupeError(error, 'system.closed') || isTroupeError(error, 'connection.too_many') ? error : undefined
}

/** Who edits what, or why not, as far as is known before the actor of the document is asked. */
const editorOf = (document: DocumentRoute, caller: Caller): Editor | { readonly error: unknown } => {
  if ('error' in caller) return caller
  if (document.kind === 'refused') return { error: new TroupeError(document.code, document.detail) }
  return { name: document.name, account: caller.visitor.account }
}

/** `?epoch=`: the history of the document that the client knows. */
const epochOf = ({ url = '' }: IncomingMessage): string | undefined => {
  const start = url.indexOf('?')
  return start < 0 ? undefined : (new URLSearchParams(url.slice(start + 1)).get('epoch') ?? undefined)
}

const participation = (epoch: string | undefined): { epoch?: string } => (epoch === undefined ? {} : { epoch })

// Listeners that live as long as the connection stand here: made where the request is at hand, they would keep it, 3 KB for each.
function destroy(this: Socket): void {
  this.destroy()
}
/** ws closes by itself; without a listener the error would end the process. */
const ignore = (): void => {}

const sockets = (maxPayload: number): WebSocketServer =>
  new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload,
    maxFragments: 4_096,
    handleProtocols: (protocols) => answeredProtocol(protocols) ?? false,
    ...{ closeTimeout: closeGraceMs }, // missing in the types
  })

const refuseUpgrade = (socket: Socket, { status, headers, body }: Extract<Denial, { status: string }>): void => {
  const lines = Object.entries({ ...headers, connection: 'close', 'content-length': `${Buffer.byteLength(body)}` })
  socket.end(`HTTP/1.1 ${status}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`)
}
