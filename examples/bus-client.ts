/**
 * A client that loses nothing and sends nothing twice, whatever happens to its connection: lines from the keyboard go to a
 * channel, its messages to the screen.
 *
 *   node dist/programs/bus-client.js ws://127.0.0.1:9100/ general alice
 */
import { randomUUID } from 'node:crypto'
import { createInterface } from 'node:readline'
import { WebSocket } from 'ws'

const [url = 'ws://127.0.0.1:9100/', channel = 'general', sender = 'guest'] = process.argv.slice(2)

interface Position {
  readonly epoch: string
  readonly sequence: number
}

/** What the server says, as far as it is needed here. */
interface Frame extends Partial<Position> {
  readonly type: string
  readonly id?: string
  readonly sender?: string
  readonly content?: { readonly text?: string }
  readonly command?: string
  readonly data?: Position & { readonly recovered: boolean | null }
  readonly error?: string
}

/** Everything up to here was shown; undefined before the first join. */
let position: Position | undefined
/** Published and not acknowledged yet, by id. Sent again on every new connection, and stored once. */
const unacknowledged = new Map<string, object>()
let socket: WebSocket

const say = (message: object) => {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message))
}

const hear = ({ type, id = '', sender, content, command, data, error, epoch, sequence }: Frame) => {
  if (error !== undefined) console.log(`(${error})`)
  if (type === 'ack' || type === 'error') unacknowledged.delete(id)
  else if (command === 'join_channel' && data !== undefined && data.recovered !== true) {
    if (data.recovered === false) console.log('(some messages are gone)')
    position = { epoch: data.epoch, sequence: data.sequence } // what comes from now on is new
  } else if (epoch !== undefined && sequence !== undefined) {
    position = { epoch, sequence }
    console.log(`${sender}: ${content?.text}`)
  }
}

const connect = () => {
  socket = new WebSocket(url)
  socket.on('open', () => {
    say({ type: 'command', command: 'join_channel', channel, recover: position })
    for (const message of unacknowledged.values()) say(message)
  })
  socket.on('message', (text) => hear(JSON.parse(String(text)) as Frame))
  socket.on('error', () => {}) // 'close' follows
  socket.on('close', () => setTimeout(connect, 500 + Math.random() * 500)) // not all clients in one moment
}

connect()
createInterface({ input: process.stdin }).on('line', (text) => {
  const id = randomUUID()
  const message = { type: 'message', channel, content: { text }, id, sender, ack: true }
  unacknowledged.set(id, message)
  say(message)
})
