/**
 * A client of one document, as the stock providers are: it applies what comes, answers a step 1, sends what its document
 * changes; and it keeps every message, for checks to look at.
 */
import * as Y from 'yjs'
import type { Socket } from './socket.ts'
import { frameOf, type Message, type Presence, presenceMessage, step1, step2, tokenMessage, updateMessage } from './wire.ts'

type MessageOf<Kind extends Message['kind']> = Extract<Message, { kind: Kind }>

export class Client {
  readonly socket: Socket
  readonly doc: Y.Doc
  readonly address: string
  readonly messages: Message[] = []
  /** What it was told of others and of itself. */
  readonly present = new Map<number, Presence>()
  /** Bytes of the largest frame. */
  largest = 0
  /** Whether it answers a step 1. */
  answers = true
  /** Whether what its document changes is sent. */
  sends = true
  /** Whether what comes is applied to its document. */
  applies = true
  /** What its document could not take. */
  readonly faults: string[] = []
  clock = 0

  constructor(socket: Socket, address: string, doc: Y.Doc = new Y.Doc()) {
    this.socket = socket
    this.address = address
    this.doc = doc
    doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin !== this && this.sends) this.say(updateMessage(update))
    })
    socket.read(address, ({ message }, size) => {
      this.largest = Math.max(this.largest, size)
      this.#hear(message)
    })
  }

  get text(): Y.Text {
    return this.doc.getText('text')
  }

  get content(): string {
    return this.text.toString()
  }

  say(message: Uint8Array): void {
    this.socket.send(frameOf(this.socket.wire, this.address, message))
  }

  sayToken(token: string): void {
    this.say(tokenMessage(token))
  }

  ask(): void {
    this.say(step1(Y.encodeStateVector(this.doc)))
  }

  /** Says its presence; the clock goes up by itself. */
  sayPresence(state: unknown, { client = this.doc.clientID, clock = ++this.clock }: { client?: number; clock?: number } = {}): void {
    this.say(presenceMessage([{ client, clock, state }]))
  }

  count(kind: Message['kind']): number {
    return this.messages.filter((message) => message.kind === kind).length
  }

  first<Kind extends Message['kind']>(kind: Kind, after = 0): MessageOf<Kind> | undefined {
    return this.messages.slice(after).find((message): message is MessageOf<Kind> => message.kind === kind)
  }

  /** The text of what came after so many messages, and of nothing else. */
  came(after: number): string {
    const doc = new Y.Doc()
    for (const { bytes } of this.messages.slice(after).filter((message) => message.kind === 'update' || message.kind === 'step2'))
      Y.applyUpdate(doc, bytes)
    return doc.getText('text').toString()
  }

  /** Why the server goes on no more with this client; undefined while it does. */
  get ending(): string | undefined {
    const { closed } = this.socket
    if (closed !== undefined) return `closed with ${closed.code} ${closed.reason}`
    const message = this.first('close') ?? this.first('denied')
    return message === undefined
      ? undefined
      : `told ${message.kind === 'close' ? 'that it is closed' : 'that it is denied'}: ${message.reason}`
  }

  /** How many changes it was told are taken, or are not. */
  statuses(isApplied: boolean): number {
    return this.messages.filter((message) => message.kind === 'status' && message.isApplied === isApplied).length
  }

  isPresent(client: number): boolean {
    return (this.present.get(client)?.state ?? null) !== null
  }

  #hear(message: Message): void {
    this.messages.push(message)
    switch (message.kind) {
      case 'step1':
        if (this.answers) this.say(step2(Y.encodeStateAsUpdate(this.doc, message.bytes)))
        return
      case 'step2':
      case 'update':
        if (!this.applies) return
        try {
          Y.applyUpdate(this.doc, message.bytes, this)
        } catch (error) {
          this.faults.push(String(error))
        }
        return
      case 'awareness':
        for (const entry of message.entries) this.#learn(entry)
    }
  }

  /** As y-protocols does it: a higher clock wins; at the same clock only a departure. */
  #learn(entry: Presence): void {
    const known = this.present.get(entry.client)
    const isNews =
      known === undefined || known.clock < entry.clock || (known.clock === entry.clock && entry.state === null && known.state !== null)
    if (isNews) this.present.set(entry.client, entry)
  }
}
