/** How much of what a client sends is read before the server has taken it in, with messages of megabytes, on both wires of documents. */
import * as encoding from 'lib0/encoding'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import * as Y from 'yjs'
import { serve } from '../support/service.ts'
import { until } from '../support/wait.ts'

/** The least that may be configured, so that a socket is paused all the time. */
const inboundBytes = 512 * 1024
const { server } = serve(`limits.inboundBytes=${inboundBytes}`, 'limits.inboundMessages=128')

const sockets = new Set<WebSocket>()
afterEach(() => {
  for (const socket of sockets) socket.terminate()
  sockets.clear()
})

const connect = async (path: string, hear: (frame: Buffer) => void): Promise<WebSocket> => {
  const socket = new WebSocket(`${server().ws}${path}`, { perMessageDeflate: false })
  sockets.add(socket)
  socket.on('message', hear)
  socket.on('error', () => {})
  await until(() => socket.readyState === WebSocket.OPEN, 'the socket')
  return socket
}

const bytesOf = (...body: readonly (number | string | Uint8Array)[]): Uint8Array =>
  encoding.encode((encoder) => {
    for (const one of body) {
      if (typeof one === 'number') encoding.writeVarUint(encoder, one)
      else if (typeof one === 'string') encoding.writeVarString(encoder, one)
      else encoding.writeVarUint8Array(encoder, one)
    }
  })

/** An embedded list, which takes long to inspect for its size. */
const large = (values: number, clientID: number): Uint8Array => {
  const doc = new Y.Doc()
  doc.clientID = clientID
  doc.getText('text').insertEmbed(0, { values: Array.from({ length: values }, (_, i) => i % 10) })
  return Y.encodeStateAsUpdate(doc)
}

const small = (clientID: number): Uint8Array => {
  const doc = new Y.Doc()
  doc.clientID = clientID
  doc.getText('text').insert(0, 'x')
  return Y.encodeStateAsUpdate(doc)
}

const receivedBytes = async (): Promise<number> => {
  const text = await (await fetch(`${server().http}/metrics`)).text()
  return Number(/^troupe_received_bytes_total (\S+)/m.exec(text)?.[1])
}

interface Wire {
  readonly path: string
  readonly hello: readonly Uint8Array[]
  /** An update, and what makes the server answer when it has taken it in. */
  frames(update: Uint8Array): readonly Uint8Array[]
  isAnswer(frame: Buffer): boolean
}

const address = 'flooded'
const wires: Readonly<Record<string, Wire>> = {
  Hocuspocus: {
    path: '/hocuspocus',
    hello: [bytesOf(address, 2, 0, ''), bytesOf(address, 0, 0, Uint8Array.of(0))],
    frames: (update) => [bytesOf(address, 0, 2, update)],
    isAnswer: (frame) => frame[address.length + 1] === 8,
  },
  'y-websocket': {
    path: '/docs/flooded',
    hello: [bytesOf(0, 0, Uint8Array.of(0))],
    frames: (update) => [bytesOf(0, 1, update), bytesOf(102, Uint8Array.of(1))],
    isAnswer: (frame) => frame[0] === 102,
  },
}

describe('what is read of a client and not taken in', () => {
  it.each(Object.entries(wires))('[DOC11] is bounded, whatever comes: 40 changes of 2 MB over the wire of %s', async (_, wire) => {
    let answers = 0
    const socket = await connect(wire.path, (frame) => {
      if (wire.isAnswer(frame)) answers++
    })
    for (const frame of wire.hello) socket.send(frame)
    const frames = wire.frames(large(1_000_000, 1))
    const bytes = frames.reduce((sum, frame) => sum + frame.length, 0)
    const before = await receivedBytes()
    for (let i = 0; i < 40; i++) for (const frame of frames) socket.send(frame)
    let most = 0
    while (answers < 40) {
      const received = (await receivedBytes()) - before
      most = Math.max(most, received - answers * bytes)
    }
    expect(most).toBeGreaterThan(0)
    // What may be inside, one frame that goes past it, one whose answer is under way, and the short frames at the beginning.
    expect(most).toBeLessThan(inboundBytes + 2 * bytes + 1024)
  })

  it('[DOC11] keeps none of 32 documents on a socket waiting for ever, though some are flooded and some come late', async () => {
    const saved = new Map<string, number>()
    const socket = await connect('/hocuspocus', (frame) => {
      const name = frame.subarray(1, 1 + (frame[0] as number)).toString() // shorter than 128 bytes
      if (frame[name.length + 1] === 8 && frame[name.length + 2] === 1) saved.set(name, (saved.get(name) ?? 0) + 1)
    })
    const names = Array.from({ length: 32 }, (_, i) => `shared ${i}`)
    const big = large(400_000, 1)
    const join = (name: string) => socket.send(bytesOf(name, 2, 0, ''))
    for (const name of names.slice(0, 16)) join(name)
    for (const name of names.slice(0, 8)) for (let i = 0; i < 3; i++) socket.send(bytesOf(name, 0, 2, big))
    for (let i = 0; i < 20; i++) for (const name of names) socket.send(bytesOf(name, 0, 2, small(10 + i))) // half of them before their token
    for (const name of names.slice(16)) join(name)
    for (const name of names) socket.send(bytesOf(name, 0, 2, big))
    const due = (name: string) => (names.indexOf(name) < 8 ? 24 : 21)
    await until(() => names.every((name) => (saved.get(name) ?? 0) >= due(name)), 'all receipts', 30_000)
    expect(names.map((name) => saved.get(name))).toEqual(names.map(due))
    expect(socket.readyState).toBe(WebSocket.OPEN)
  })

  it('is stored when the client leaves at once', async () => {
    for (const [name, last] of [
      ['left with a keystroke', small(2)],
      ['left with a picture', large(400_000, 1)],
    ] as const) {
      let isIn = false
      const socket = await connect('/hocuspocus', () => {
        isIn = true
      })
      socket.send(bytesOf(name, 2, 0, ''))
      await until(() => isIn, 'the document')
      socket.send(bytesOf(name, 0, 2, large(400_000, 3)))
      socket.send(bytesOf(name, 0, 2, last))
      socket.close()
      await until(async () => {
        const held = await fetch(`${server().http}/v1/documents/${encodeURIComponent(name)}/content?format=update`)
        if (!held.ok) return false
        const vector = Y.decodeStateVector(Y.encodeStateVectorFromUpdate(new Uint8Array(await held.arrayBuffer())))
        return vector.size === 2
      }, `both changes of ${name}`)
    }
  })
})
