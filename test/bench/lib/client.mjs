/**
 * A load client: a TCP socket that speaks WebSocket and the wire of its server, and hands on what arrives without copying it.
 *
 * It does what a stock client does: step 1 on open (Hocuspocus: after Auth), an answer to step 1 of the server, pongs. It keeps no
 * document. Frames above 64 KiB are not put together unless `wholeFrames` is set; then only their first bytes are looked at.
 */
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { clientFrame, cursor, emptyUpdate, syncMessage, wires } from './wire.mjs'

/** All sockets read into one buffer: what it holds is used before the next read. */
const shared = Buffer.allocUnsafe(256 * 1024)
const largeFrame = 64 * 1024
const headBytes = 64

export class Client {
  /** Bytes of update payloads so far. */
  updateBytes = 0
  isSynced = false
  isClosed = false
  closeCode = undefined
  /** Step 1 messages of the server after the first: it asks for something that it lacks. */
  asked = 0
  acknowledged = 0
  #rest
  #isUpgraded = false
  /** A large frame under way. */
  #target
  #filled = 0
  #left = 0
  #opcode = 0

  /** `on.awareness(bytes, at, end)`: presence. `on.update(bytes, at, end, kind)`: an update, kind 1 (the last of the answer to step 1) or 2. Bytes are valid during the call only. */
  constructor({ port, wire, document, on = {}, wholeFrames = false, stateVector = [0] }) {
    this.on = on
    this.document = document
    this.wire = wires[wire]
    this.hasHead = wire === 'hocuspocus'
    this.head = this.wire.head(document)
    this.wholeFrames = wholeFrames
    this.stateVector = stateVector
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
          this.#read(buffer, length)
          return true
        },
      },
    })
    this.socket.on('connect', () =>
      this.socket.write(
        `GET ${this.wire.path(document)} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
          `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
      ),
    )
    this.socket.on('error', (error) => this.rejectSynced(error))
    this.socket.on('close', () => {
      this.isClosed = true
      this.rejectSynced(new Error(`closed${this.closeCode === undefined ? '' : ` with ${this.closeCode}`} before it was synchronised`))
      this.on.close?.()
    })
  }

  /** Makes the frame of an update. */
  frame(update) {
    return clientFrame(syncMessage(this.head, 2, update))
  }

  send(kind, bytes) {
    this.socket.write(clientFrame(syncMessage(this.head, kind, bytes)))
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
      const hello = this.wire.hello(this.document)
      if (this.wire.isSilent) this.resolveSynced()
      else this.socket.write(Buffer.concat([...hello, syncMessage(this.head, 0, this.stateVector)].map((message) => clientFrame(message))))
    }
    while (at < end) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, end - at)
        if (this.#filled < this.#target.length) this.#filled += bytes.copy(this.#target, this.#filled, at, at + taken)
        at += taken
        this.#left -= taken
        if (this.#left > 0) return
        const target = this.#target
        this.#target = undefined
        this.#message(target, 0, target.length, this.size)
        continue
      }
      if (end - at < 2) return this.#keep(bytes, at, end)
      let size = bytes[at + 1] & 127
      const head = size < 126 ? 2 : size === 126 ? 4 : 10
      if (end - at < head) return this.#keep(bytes, at, end)
      if (size === 126) size = bytes.readUInt16BE(at + 2)
      else if (size === 127) size = Number(bytes.readBigUInt64BE(at + 2))
      const hasAll = end - at >= head + size
      if (!hasAll && size <= largeFrame) return this.#keep(bytes, at, end)
      this.#opcode = bytes[at]
      this.size = size
      at += head
      if (hasAll) {
        this.#message(bytes, at, at + size, size)
        at += size
      } else {
        this.#target = Buffer.allocUnsafe(this.wholeFrames ? size : headBytes)
        this.#filled = 0
        this.#left = size
      }
    }
  }

  #keep(bytes, at, end) {
    this.#rest = Buffer.from(bytes.subarray(at, end))
  }

  #message(bytes, at, end, size) {
    switch (this.#opcode) {
      case 0x82:
        break
      case 0x88:
        this.closeCode = bytes.readUInt16BE(at)
        this.closeReason = bytes.toString('utf8', at + 2, end)
        this.socket.end()
        return
      case 0x89:
        this.socket.write(clientFrame(bytes.subarray(at, end), 10))
        return
      case 0x8a:
        return
      default:
        throw new Error(`a frame that begins with ${this.#opcode}`)
    }
    cursor.open(bytes, at)
    if (this.hasHead) {
      if (size === 1) {
        if (bytes[at] === 9) this.socket.write(clientFrame([10]))
        return
      }
      const length = cursor.varUint()
      cursor.at += length
    }
    const type = cursor.varUint()
    if (type === 8) {
      this.acknowledged++
      this.on.acknowledged?.()
      return
    }
    if (type === 1 && this.on.awareness !== undefined) {
      cursor.varUint()
      this.on.awareness(bytes, cursor.at, end)
      return
    }
    if (type !== 0) return
    const kind = cursor.varUint()
    const length = cursor.varUint()
    if (kind === 0) {
      if (this.hasVector) this.asked++
      this.hasVector = true
      this.send(1, emptyUpdate)
      return
    }
    this.updateBytes += length
    this.on.update?.(bytes, cursor.at, end, kind)
    if (kind === 1 && !this.isSynced) {
      this.isSynced = true
      this.resolveSynced()
    }
  }
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Waits until `isTrue`, at most `ms`; false when it did not come true. */
export const until = async (isTrue, ms, stepMs = 5) => {
  const end = performance.now() + ms
  while (!isTrue()) {
    if (performance.now() > end) return false
    await sleep(stepMs)
  }
  return true
}
