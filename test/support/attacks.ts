/**
 * What a hostile client sends. Each comes from an attack that a stock y-websocket server, or Yjs itself, did not withstand.
 */
import { type Socket, connect as tcpConnect } from 'node:net'
import * as encoding from 'lib0/encoding'
import * as Y from 'yjs'
import { until } from './wait.ts'

/**
 * `count` array elements as one item each, every one right of the one before. Yjs joins them while it applies the update, and
 * copies the joined part each time: 30 000 (193 KB) take a stock server 2 GB.
 */
export const chainedElements = (count: number, value: unknown = undefined): Uint8Array =>
  encoding.encode((encoder) => {
    const client = 1
    for (const number of [1, count, client, 0]) encoding.writeVarUint(encoder, number)
    for (let clock = 0; clock < count; clock++) {
      encoding.writeUint8(encoder, clock === 0 ? 0x08 : 0x88) // ContentAny, with an origin except for the first
      if (clock === 0) {
        encoding.writeVarUint(encoder, 1)
        encoding.writeVarString(encoder, 'list')
      } else {
        encoding.writeVarUint(encoder, client)
        encoding.writeVarUint(encoder, clock - 1)
      }
      encoding.writeVarUint(encoder, 1)
      encoding.writeAny(encoder, value as never) // lib0 has a type of its own for these values
    }
    encoding.writeVarUint(encoder, 0)
  })

/** 7 bytes that announce 33 million structs. */
export const hugeCount = Uint8Array.of(0x01, 0xff, 0xff, 0xff, 0x0f, 0x01, 0x00)

/** Some 25 bytes in the format V2, whose run lengths stand for millions of structs. */
export const runLengthBomb = (structs = 4_000_000): Uint8Array => {
  const encoder = new Y.UpdateEncoderV2()
  const { restEncoder } = encoder
  encoding.writeVarUint(restEncoder, 1)
  encoding.writeVarUint(restEncoder, structs)
  encoder.writeClient(1)
  encoding.writeVarUint(restEncoder, 0)
  for (let left = structs; left > 0; left--) {
    encoder.writeInfo(0)
    encoder.writeLen(1)
  }
  encoding.writeVarUint(restEncoder, 0)
  return encoder.toUint8Array()
}

/** "Garbage collected": the clocks of somebody else from `clock` on, as if they had been written and deleted. */
export const forgedGarbage = (client: number, clock: number, length: number): Uint8Array =>
  encoding.encode((encoder) => {
    for (const number of [1, 1, client, clock, 0, length, 0]) encoding.writeVarUint(encoder, number)
  })

export interface RawSocket {
  readonly socket: Socket
  /** What came, as Latin-1. */
  readonly received: () => string
  readonly ended: Promise<void>
}

/** A TCP connection that says whatever it likes. */
export const openRaw = (port: number, text = ''): Promise<RawSocket> =>
  new Promise((resolve, reject) => {
    const socket = tcpConnect(port, '127.0.0.1')
    let received = ''
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1')
    })
    const ended = new Promise<void>((end) => socket.on('close', () => end()))
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      socket.on('error', () => undefined) // 'close' follows
      socket.write(text)
      resolve({ socket, received: () => received, ended })
    })
  })

export const upgradeRequest = (path: string, headers: readonly string[] = ['Host: localhost']): string =>
  [
    `GET ${path} HTTP/1.1`,
    ...headers,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    '',
    '',
  ].join('\r\n')

export const openRawWebSocket = async (port: number, path: string): Promise<RawSocket> => {
  const raw = await openRaw(port, upgradeRequest(path))
  await until(() => raw.received().includes('\r\n\r\n'), 'the answer to the upgrade')
  if (!raw.received().startsWith('HTTP/1.1 101')) throw new Error(raw.received())
  return raw
}

/** Code of the close frame (RFC 6455 §5.5.1) among what came after the upgrade, or undefined. Reads frames below 64 KiB only. */
export const closeCodeIn = (received: string): number | undefined => {
  const bytes = Buffer.from(received.slice(received.indexOf('\r\n\r\n') + 4), 'latin1')
  for (let at = 0; at + 1 < bytes.length; ) {
    const length = bytes.readUInt8(at + 1) & 127
    if ((bytes.readUInt8(at) & 15) === 8) return length >= 2 ? bytes.readUInt16BE(at + 2) : 1005
    if (length === 127 || (length === 126 && at + 3 >= bytes.length)) return undefined
    at += length === 126 ? 4 + bytes.readUInt16BE(at + 2) : 2 + length
  }
  return undefined
}

/** `count` fragments of one byte each, as masked frames of a client, without an end. */
export const fragments = (count: number): Buffer => {
  const bytes = Buffer.alloc(count * 7)
  for (let i = 0; i < count; i++) {
    bytes[i * 7] = i === 0 ? 0x02 : 0x00
    bytes[i * 7 + 1] = 0x81 // masked, with a mask of zeros
  }
  return bytes
}
