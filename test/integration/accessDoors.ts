/**
 * One visitor for each door: comes with a token (or none), does one thing, and says in the words of the wire what came of it.
 *
 * `yes`: it was done. Anything else is what the client is told: the code of an error, or how the connection was refused or
 * ended. `–`: the door has no word for it.
 */
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { BusClient, type Frame } from '../support/bus.ts'
import { EventReader } from '../support/events.ts'
import { channelPath, HttpClient } from '../support/http.ts'
import type { Running } from '../support/process.ts'
import { until } from '../support/wait.ts'
import { WireClient } from '../support/wire.ts'

export const doors = ['bus', 'chat', 'pubsub', 'arqonbus', 'documents', 'events', 'REST'] as const
export type Door = (typeof doors)[number]

/** `read` hears what `written` holds; `speak` publishes in the name of another. */
export type Deed = 'come' | 'read' | 'write' | 'speak as root'

/** What lies in the channel, topic, room and document of this name before anybody comes. */
export const place = 'lobby'
export const written = 'written before'

export interface Visit {
  /** What came of it. */
  readonly outcome: string
  /** The visitor is still there: how its connection ends. */
  readonly ended?: Promise<string>
  /** Its connection still works. */
  readonly isAlive?: () => Promise<boolean>
}

// biome-ignore lint/suspicious/noExplicitAny: what a frame holds is what the tests ask
type AnyFrame = Frame & { readonly [field: string]: any }

const withToken = (path: string, token: string | undefined): string => (token === undefined ? path : `${path}?token=${token}`)
const refusal = ({ code, rule }: { readonly code?: string; readonly rule?: string }): string =>
  rule === undefined ? String(code).toLowerCase().replace('_', '.') : `${String(code).toLowerCase().replace('_', '.')}: ${rule}`

/** The status and body of an upgrade that was refused; undefined when it was not. */
const refusedUpgrade = (client: BusClient): Promise<string | undefined> =>
  new Promise((resolve) => {
    client.socket.on('open', () => resolve(undefined))
    client.socket.on('unexpected-response', (_request: ClientRequest, response: IncomingMessage) => {
      let body = ''
      response.on('data', (chunk: Buffer) => {
        body += chunk
      })
      response.on('end', () => {
        resolve(`${response.statusCode} ${(JSON.parse(body) as { details: string }).details}`)
        client.terminate()
      })
    })
  })

const closing = ({ code, reason }: { readonly code: number; readonly reason: string }): string => `closed ${code} ${reason}`

interface Dialect {
  readonly path: string
  /** What to send, and which frame answers. */
  readonly deeds: Readonly<Record<Deed, { readonly send: object; readonly answers: (frame: AnyFrame) => boolean } | undefined>>
  /** What an answer says. */
  readonly tell: (frame: AnyFrame, deed: Deed) => string
}

const holds = (value: unknown): boolean => JSON.stringify(value).includes(written)

const bus: Dialect = {
  path: '/',
  deeds: {
    come: { send: { type: 'command', command: 'status' }, answers: ({ type }) => type === 'command_response' },
    read: { send: { type: 'command', command: 'history', channel: place }, answers: ({ type }) => type === 'command_response' },
    write: {
      send: { type: 'message', channel: place, content: 'new', ack: true },
      answers: ({ type }) => type === 'ack' || type === 'error',
    },
    'speak as root': {
      send: { type: 'message', channel: place, content: 'new', sender: 'root', ack: true },
      answers: ({ type }) => type === 'ack' || type === 'error',
    },
  },
  tell: (frame, deed) => {
    if (frame.code !== undefined) return refusal(frame)
    return deed === 'read' && !holds(frame.data) ? 'nothing there' : 'yes'
  },
}

const chatDeed = (send: object, type: string) => ({
  send,
  answers: (frame: AnyFrame) => frame.type === 'error' || (frame.type === type && frame.data.room === place),
})

const chat: Dialect = {
  path: '/chat',
  deeds: {
    come: chatDeed({ type: 'presence', room: place }, 'presence'),
    read: chatDeed({ type: 'history', room: place }, 'history'),
    write: chatDeed({ type: 'message', data: { room: place, content: 'new' } }, 'message'),
    'speak as root': chatDeed({ type: 'message', data: { room: place, content: 'new', user: 'root' } }, 'message'),
  },
  tell: (frame, deed) => {
    if (frame.type === 'error') return refusal(frame.data)
    if (deed === 'read' && !holds(frame.data)) return 'nothing there'
    return deed === 'speak as root' ? `as ${frame.data.user}` : 'yes'
  },
}

const pubsub: Dialect = {
  path: '/ws',
  deeds: {
    come: { send: { type: 'ping' }, answers: ({ type }) => type === 'pong' },
    read: { send: { type: 'subscribe', topics: [place] }, answers: ({ type }) => type === 'subscribed' || type === 'error' },
    write: { send: { type: 'publish', topic: place, data: 'new' }, answers: ({ type }) => type === 'error' },
    'speak as root': undefined,
  },
  tell: (frame) => (frame.type === 'error' ? refusal(frame) : 'yes'),
}

const dialects: Partial<Record<Door, Dialect>> = { bus, chat, pubsub }

const overSocket = async (server: Running, dialect: Dialect, token: string | undefined, deed: Deed): Promise<Visit> => {
  const wanted = dialect.deeds[deed]
  if (wanted === undefined) return { outcome: '–' }
  const client = new BusClient(server.ws + withToken(dialect.path, token))
  const refused = await refusedUpgrade(client)
  if (refused !== undefined) return { outcome: refused }
  client.send(wanted.send)
  let answer: AnyFrame | undefined
  await until(() => {
    answer = client.frames.find(wanted.answers)
    return answer !== undefined || client.closing !== undefined
  }, `an answer`)
  if (answer === undefined) return { outcome: closing(client.closing as never) }
  return { outcome: dialect.tell(answer, deed), ended: client.closed.then(closing) }
}

export const visit = (server: Running, door: Door, token: string | undefined, deed: Deed): Promise<Visit> => {
  const dialect = dialects[door]
  if (dialect !== undefined) return overSocket(server, dialect, token, deed)
  throw new Error(door)
}
void until; void EventReader; void channelPath; void HttpClient; void WireClient
