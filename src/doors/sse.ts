/**
 * Server-sent events (WHATWG HTML §9.2): channels as a stream of text over one HTTP response, for readers without WebSocket.
 *
 *   event: ready | message | presence | closed | lost | end
 *   id: EPOCH:OFFSET                  where the reader is then; with several channels one for each, joined by `,`
 *   data: {…}                         one line of JSON, that of the bus
 *
 *   :                                 a comment, so that nothing in between takes the stream for dead
 *
 * `id` stands on whatever moves the reader on. A browser sends the last one as `Last-Event-ID` when it comes back, and gets
 * exactly what it missed, or hears in `ready` that it cannot have it. There is nothing to decode: what the reader wants stands
 * in the request.
 */
import type { ChannelMessage, Json, Output, Position } from '../../actors/output.ts'
import type { Manners } from '../../actors/request.ts'
import type { TextDoor } from './textDoor.ts'

export type StreamEvent = 'ready' | 'message' | 'presence' | 'closed' | 'lost' | 'telemetry' | 'end'

/** A piece of the stream. `at`: whoever has read it is there in that channel. */
export interface Piece {
  readonly bytes: Buffer
  readonly at?: { readonly channel: string } & Position
}

export const contentType = 'text/event-stream; charset=utf-8'
export const comment = Buffer.from(':\n\n')

export const sseManners = (hasPresence: boolean): Manners => ({
  door: 'sse',
  greets: false,
  echo: 'members',
  acknowledges: false,
  mustJoinToPublish: false,
  hasPresence,
  hasInbox: false,
  trustsSender: false,
  // Proxies end a response that is silent for 60 s (nginx `proxy_read_timeout`), some for 30.
  heartbeatMs: 15_000,
  beatsAtOnce: false,
  rate: undefined,
  nameOf: (client) => client,
})

// ── where a reader is ────────────────────────────────────────────────────────────────────────────────────────────

/** No channel has this epoch; the empty one is that of a channel without messages. */
const nowhere: Position = { epoch: '-', offset: 0 }
const positionPattern = /^([\w-]{0,64}):(\d{1,15})$/

/** The value of an `id` field. */
export const idOf = (positions: readonly Position[]): string => positions.map(({ epoch, offset }) => `${epoch}:${offset}`).join(',')

/**
 * Where the reader was in each of `count` channels. What cannot be an id of such a stream, or is one of other channels, is a
 * place where nobody was: no channel has that epoch, so each says that nothing was recovered.
 */
export const positionsOf = (id: string, count: number): readonly Position[] => {
  const found = id.split(',').map((text): Position | undefined => {
    const match = positionPattern.exec(text.trim())
    return match === null ? undefined : { epoch: match[1] ?? '', offset: Number(match[2]) }
  })
  return Array.from({ length: count }, (_, index) => (found.length === count ? found[index] : undefined) ?? nowhere)
}

// ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** JSON of a server has no line breaks; one would end the field. */
const event = (name: StreamEvent, json: string): string => `event: ${name}\ndata: ${json}\n\n`

/** What joining a channel answers, as far as a reader needs it. */
interface JoinedData {
  readonly channel: string
  readonly epoch: string
  readonly sequence: number
  readonly recovered: boolean | null
  readonly messages: readonly ChannelMessage[]
}

export const endPiece = (code: string, message: string): Piece => ({ bytes: Buffer.from(event('end', JSON.stringify({ code, message }))) })

/** Spells outputs with the words of the bus, and keeps what it spelled for as long as the output lives. */
export class EventEncoder {
  readonly #encode: TextDoor['encode']
  readonly #known = new WeakMap<Output, readonly Piece[]>()

  /** `encode`: that of the bus. */
  constructor(encode: TextDoor['encode']) {
    this.#encode = encode
  }

  encode(output: Output): readonly Piece[] {
    const known = this.#known.get(output)
    if (known !== undefined) return known
    const pieces = this.#pieces(output)
    this.#known.set(output, pieces)
    return pieces
  }

  #pieces(output: Output): readonly Piece[] {
    switch (output.type) {
      case 'output.messages':
        return this.#messages(output.channel, output.messages)
      case 'output.presence':
        return this.#told('presence', output)
      case 'output.closed':
        return this.#told('closed', output)
      case 'output.gap': {
        const { channel, epoch, offset } = output
        return this.#told('lost', output, { channel, epoch, offset })
      }
      case 'output.answer':
        return output.command === 'join_channel' ? this.#ready(output.data) : []
      case 'output.telemetry':
        return this.#told('telemetry', output)
      case 'output.heartbeat':
        return [{ bytes: comment }]
      default:
        return []
    }
  }

  #told(name: StreamEvent, output: Output, at?: Piece['at']): readonly Piece[] {
    return this.#encode(output).map((json) => ({ bytes: Buffer.from(event(name, json)), ...(at === undefined ? {} : { at }) }))
  }

  #messages(channel: string, messages: readonly ChannelMessage[]): readonly Piece[] {
    return messages.flatMap((message) => {
      const at = { channel, epoch: message.epoch, offset: message.offset }
      return this.#told('message', { type: 'output.messages', channel, messages: [message] }, at)
    })
  }

  /** Whoever is cut off after `ready` must not lose what was to follow, so its position is the one before that. */
  #ready(data: Json): readonly Piece[] {
    const { channel, epoch, sequence, recovered, messages } = data as unknown as JoinedData // what join_channel answers
    const at = { channel, epoch, offset: (messages[0]?.offset ?? sequence + 1) - 1 }
    const json = JSON.stringify({ channel, epoch, sequence, recovered, replayed: messages.length })
    return [{ bytes: Buffer.from(event('ready', json)), at }, ...this.#messages(channel, messages)]
  }
}
