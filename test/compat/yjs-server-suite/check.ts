/** What a check is, what it needs of its surroundings, and what it gets to work with. */
import { randomUUID } from 'node:crypto'
import type * as Y from 'yjs'
import { Client } from './client.ts'
import { Socket } from './socket.ts'
import { assert, pause, waitFor } from './waiting.ts'
import type { Wire } from './wire.ts'

/** What only the caller can give. */
export type Need = 'deniedToken' | 'readonlyToken' | 'kick' | 'server'

export interface Check {
  readonly id: string
  readonly wire: Wire | 'both'
  readonly title: string
  /** What follows for people when a server does otherwise. */
  readonly why: string
  /** Where that is written: the protocol, a client's source, a public report. */
  readonly source: string
  /** Takes longer than ten seconds. */
  readonly isSlow?: boolean
  readonly needs?: Need
  /** Throws `Failure`. */
  run(context: Context): Promise<void>
}

/** The server under test. */
export interface Target {
  readonly url: string
  readonly wire: Wire
  /** Of a client that may write. Empty: none. */
  readonly token: string
  /** The parameter of the URL that carries it on the yjs wire. */
  readonly tokenParameter: string
  /** One that the server refuses. */
  readonly deniedToken?: string
  /** One that may read only. */
  readonly readonlyToken?: string
  /** Closes the connections of a document, as an administrator would. */
  readonly kick?: (document: string) => Promise<void>
  /** The process of the server: killed without a word, and started again until it accepts connections. */
  readonly server?: { kill(): Promise<void>; start(): Promise<void> }
  /** What must come comes within this. Milliseconds. */
  readonly patienceMs: number
}

export interface Opening {
  readonly document?: string
  readonly token?: string
  readonly doc?: Y.Doc
  /** One more document on a socket that is open; hocuspocus only. */
  readonly socket?: Socket
  readonly session?: string
}

/** Long enough for a server that gathers what it sends. Used only where nothing must come. */
const quietMs = 250

/** One run of one check: documents of its own, and everything that it opened, to be closed afterwards. */
export class Context {
  readonly target: Target
  readonly document: string
  readonly #sockets: Socket[] = []
  readonly #docs: Y.Doc[] = []

  constructor(target: Target) {
    this.target = target
    this.document = this.newName()
  }

  get wire(): Wire {
    return this.target.wire
  }

  newName(): string {
    return `conformance-${randomUUID()}`
  }

  /** A socket, open. On the yjs wire it is that of the document. */
  async connect({ document = this.document, token = this.target.token }: Opening = {}): Promise<Socket> {
    const socket = this.socket({ document, token })
    await this.within(() => socket.isOpen || socket.closed !== undefined, 'the WebSocket opens')
    assert(socket.isOpen, `the server refused the WebSocket (${socket.closed?.reason || socket.closed?.code})`)
    return socket
  }

  /** A socket that is being opened. */
  socket({ document = this.document, token = this.target.token }: Opening = {}): Socket {
    const socket = new Socket(this.wire, this.#urlOf(document, token))
    this.#sockets.push(socket)
    return socket
  }

  #urlOf(document: string, token: string): string {
    const { url, tokenParameter } = this.target
    if (this.wire === 'hocuspocus') return url
    const [path = '', query] = url.split('?')
    const parameters = [query, token === '' ? undefined : `${tokenParameter}=${encodeURIComponent(token)}`].filter(
      (part) => part !== undefined,
    )
    const name = encodeURIComponent(document)
    return `${path.replace(/\/+$/, '')}/${name}${parameters.length === 0 ? '' : `?${parameters.join('&')}`}`
  }

  /** A client whose socket is open and that has said nothing yet but its token. */
  async open(opening: Opening = {}): Promise<Client> {
    const { document = this.document, token = this.target.token, session } = opening
    const socket = opening.socket ?? (await this.connect(opening))
    const address = this.wire === 'yjs' ? '' : session === undefined ? document : `${document}\0${session}`
    const client = new Client(socket, address, opening.doc)
    this.#docs.push(client.doc)
    if (this.wire === 'hocuspocus') client.sayToken(token)
    return client
  }

  /** A client that has synchronised: it asked, was answered, and answered what the server asked. */
  async join(opening: Opening = {}): Promise<Client> {
    const client = await this.open(opening)
    client.ask()
    await this.synced(client)
    return client
  }

  async synced(client: Client, ms = this.target.patienceMs): Promise<void> {
    await waitFor(() => client.first('step2') ?? client.ending, 'step 2', ms)
    assert(client.first('step2') !== undefined, `the client was ${client.ending} before step 2`)
  }

  /** A question and its answer: everything before it was taken in, if the server works in order. */
  async roundTrip(client: Client): Promise<void> {
    const before = client.messages.length
    client.ask()
    await this.within(() => client.first('step2', before) ?? client.ending, 'the answer to a step 1')
    assert(client.ending === undefined, `the client was ${client.ending}`)
  }

  within<T>(look: () => T | undefined | false, what: string): Promise<T> {
    return waitFor(look, what, this.target.patienceMs)
  }

  /** Nothing more is under way. */
  quiet(): Promise<void> {
    return pause(quietMs)
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    for (const doc of this.#docs) doc.destroy()
  }
}
