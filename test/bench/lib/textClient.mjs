/**
 * A load client of servers that speak JSON in text frames: a TCP socket that finds the frames in what arrives and hands them on
 * without copying or parsing them. It does what a stock client does: enters its channel, answers pings of both kinds.
 *
 * Every message that is published has `"n":NUMBER` in it, and every wire carries it to the subscriber as it is.
 */
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { clientFrame } from './wire.mjs'

/** All sockets read into one buffer: what it holds is used before the next read. */
const shared = Buffer.allocUnsafe(256 * 1024)

const json = (value) => JSON.stringify(value)

/**
 * `greet`: what is said first. `answer`: what is said to a text of the server, and whether the client is in its channel now.
 * Without a channel the client only publishes.
 */
export const textWires = {
  /** The bus of Troupe. */
  bus: {
    path: () => '/',
    greet: (channel) => (channel === undefined ? [] : [json({ type: 'command', command: 'join_channel', channel })]),
    answer: (text) => ({ isReady: text.includes('"command_response"') && text.includes('"success":true') }),
    publish: (channel, content) => json({ type: 'message', channel, content }),
  },
  /** Socket.IO 4 (Engine.IO 4) on a WebSocket, with servers/socketIo.mjs behind it. */
  socketIo: {
    path: () => '/socket.io/?EIO=4&transport=websocket',
    greet: () => [],
    answer: (text, channel) => {
      if (text.startsWith('0')) return { send: '40' }
      if (text === '2') return { send: '3' }
      if (text.startsWith('40') && channel !== undefined) return { send: `42${json(['join', channel])}` }
      return { isReady: text.startsWith('40') || text.startsWith('42["joined"') }
    },
    publish: (channel, content) => `42${json(['publish', channel, content])}`,
  },
  /** No protocol: the path is the channel, and what one sends all others get. */
  plain: {
    path: (channel) => `/${channel}`,
    publish: (_channel, content) => json(content),
  },
}

const mark = Buffer.from('"n":')

export class TextClient {
  isClosed = false
  bytes = 0
  closeCode = undefined
  #rest
  #isUpgraded = false
  #isReady = false

  /** `on.message(n)`: the message of that number has arrived. */
  constructor({ port, wire, channel, subscribes = true, on = {} }) {
    this.on = on
    this.wire = textWires[wire]
    this.channel = subscribes ? channel : undefined
    this.synced = new Promise((resolve, reject) => {
      this.resolveSynced = resolve
      this.rejectSynced = reject
    })
    this.synced.catch(() => {})
    this.socket = connect({
      host: '127.0.0.1',
      port,
      noDelay: true,
      onread: {
        buffer: shared,
        callback: (length, buffer) => {
          this.bytes += length
          this.#read(buffer, length)
          return true
        },
      },
    })
    this.socket.on('connect', () =>
      this.socket.write(
        `GET ${this.wire.path(channel)} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
          `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
      ),
    )
    this.socket.on('error', (error) => this.rejectSynced(error))
    this.socket.on('close', () => {
      this.isClosed = true
      this.rejectSynced(new Error(`closed${this.closeCode === undefined ? '' : ` with ${this.closeCode}`} before it was ready`))
    })
  }

  send(text) {
    this.socket.write(clientFrame(Buffer.from(text), 1))
  }

  publish(channel, content) {
    this.send(this.wire.publish(channel, content))
  }

  /** From now on nothing is read: the kernel fills up, and then the server has to keep or drop what it wants to say. */
  freeze() {
    this.socket.pause()
  }

  thaw() {
    this.socket.resume()
  }

  end() {
    this.socket.destroy()
  }

  #read(buffer, length) {
    let bytes = buffer
    let end = length
    if (this.#rest !== undefined) {
      bytes = Buffer.concat([this.#rest, buffer.subarray(0, length)])
      end = bytes.length
      this.#rest = undefined
    }
    let at = 0
    if (!this.#isUpgraded) {
      const head = bytes.subarray(0, end).indexOf('\r\n\r\n')
      if (head < 0) return this.#keep(bytes, 0, end)
      const status = bytes.toString('latin1', 0, 12)
      if (status !== 'HTTP/1.1 101') return this.socket.destroy(new Error(`refused: ${status}`))
      this.#isUpgraded = true
      at = head + 4
      for (const text of this.wire.greet?.(this.channel) ?? []) this.send(text)
      if (this.wire.answer === undefined || (this.channel === undefined && this.wire === textWires.bus)) this.#ready()
    }
    while (at < end) {
      if (end - at < 2) return this.#keep(bytes, at, end)
      let size = bytes[at + 1] & 127
      const head = size < 126 ? 2 : size === 126 ? 4 : 10
      if (end - at < head) return this.#keep(bytes, at, end)
      if (size === 126) size = bytes.readUInt16BE(at + 2)
      else if (size === 127) size = Number(bytes.readBigUInt64BE(at + 2))
      if (end - at < head + size) return this.#keep(bytes, at, end)
      this.#frame(bytes[at], bytes, at + head, at + head + size)
      at += head + size
    }
  }

  #keep(bytes, at, end) {
    this.#rest = Buffer.from(bytes.subarray(at, end))
  }

  #ready() {
    this.#isReady = true
    this.resolveSynced()
  }

  #frame(opcode, bytes, at, end) {
    switch (opcode) {
      case 0x81:
      case 0x82:
        break
      case 0x88:
        this.closeCode = end - at < 2 ? 1005 : bytes.readUInt16BE(at)
        this.closeReason = bytes.toString('utf8', at + 2, end)
        this.socket.end()
        return
      case 0x89:
        this.socket.write(clientFrame(bytes.subarray(at, end), 10))
        return
      case 0x8a:
        return
      default:
        throw new Error(`a frame that begins with ${opcode}`)
    }
    // Short: no message, but a ping of Engine.IO, perhaps.
    if (!this.#isReady || end - at < 8) return this.#control(bytes.toString('utf8', at, end))
    let digit = bytes.indexOf(mark, at) + mark.length
    if (digit < mark.length || digit > end) return
    let n = 0
    for (; bytes[digit] >= 48 && bytes[digit] <= 57; digit++) n = n * 10 + bytes[digit] - 48
    this.on.message?.(n)
  }

  #control(text) {
    const { send, isReady } = this.wire.answer?.(text, this.channel) ?? {}
    if (send !== undefined) this.send(send)
    if (isReady === true && !this.#isReady) this.#ready()
  }
}
