/** What Hocuspocus clients send that no provider would, and how much they can make the server hold. */
import * as encoding from 'lib0/encoding'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { secret, token } from '../auth/tokens.ts'
import { closeTiptaps, openTiptap, saved } from '../support/hocuspocus.ts'
import { serve } from '../support/service.ts'
import { until } from '../support/wait.ts'
import { SeededRandom } from '../support/world.ts'

const { server } = serve(`auth.jwtSecret=${secret}`, 'auth.anonymous=false', 'limits.handshakeMs=1000', '--listen=0:yjs')
const good = () => token({ sub: 'ada', iat: 0, permissions: ['document:*'] })
const url = () => `${server().ws}/hocuspocus`
const either = () => `ws://127.0.0.1:${server().ports[1]}`

const sockets = new Set<WebSocket>()
afterEach(() => {
  for (const socket of sockets) socket.terminate()
  sockets.clear()
  closeTiptaps()
})

interface Raw {
  readonly socket: WebSocket
  readonly frames: Buffer[]
  /** Close code, when it came. */
  code: number | undefined
}

const connect = async (to: string): Promise<Raw> => {
  const socket = new WebSocket(to)
  sockets.add(socket)
  const raw: Raw = { socket, frames: [], code: undefined }
  socket.on('message', (frame: Buffer) => raw.frames.push(frame))
  socket.on('close', (code) => {
    raw.code = code
  })
  socket.on('error', () => {})
  await until(() => socket.readyState === WebSocket.OPEN, 'the socket')
  return raw
}

const frame = (address: string, type: number, ...body: readonly (number | string | Uint8Array)[]): Uint8Array =>
  encoding.encode((encoder) => {
    encoding.writeVarString(encoder, address)
    encoding.writeVarUint(encoder, type)
    for (const one of body) {
      if (typeof one === 'number') encoding.writeVarUint(encoder, one)
      else if (typeof one === 'string') encoding.writeVarString(encoder, one)
      else encoding.writeVarUint8Array(encoder, one)
    }
  })

/** Somebody else goes on as if nothing happened. */
const stillServes = async () => {
  const editor = openTiptap(url(), 'of somebody else', { token: good() })
  editor.text.insert(0, 'x')
  await saved(editor)
  editor.close()
}

const residentMiB = async (): Promise<number> => {
  const text = await (await fetch(`${server().http}/metrics`)).text()
  return Number(/^process_resident_memory_bytes (\S+)/m.exec(text)?.[1]) / 2 ** 20
}

describe('frames that no provider sends', () => {
  it.each([1, 2, 3])('of chance, seed %i, end their own socket at most', async (seed) => {
    const random = new SeededRandom(seed)
    const clients = await Promise.all(Array.from({ length: 8 }, (_, i) => connect(i % 2 === 0 ? url() : either())))
    for (let round = 0; round < 200; round++) {
      const { socket } = random.pick(clients)
      const bytes = Uint8Array.from({ length: random.below(40) }, () => random.below(random.chance(0.5) ? 12 : 256))
      const isOpen = socket.readyState === WebSocket.OPEN
      if (isOpen)
        socket.send(random.chance(0.3) ? frame('a', random.below(12), random.below(4), bytes) : bytes, { binary: random.chance(0.95) })
    }
    await stillServes()
  })

  it('of chance on an open document end that document alone', async () => {
    const raw = await connect(url())
    raw.socket.send(frame('a', 2, 0, good()))
    raw.socket.send(frame('b', 2, 0, good()))
    await until(() => raw.frames.length >= 2, 'both documents')
    for (let i = 0; i < 5; i++) raw.socket.send(frame('a', 6, 'to everybody'))
    await until(() => raw.frames.some((one) => one.includes('connection.bad_message')), 'the denial')
    raw.frames.length = 0
    raw.socket.send(frame('b', 0, 0, Uint8Array.of(0)))
    await until(() => raw.frames.some((one) => one[1] === 'b'.charCodeAt(0) && one[2] === 0), 'the answer on the other document')
    expect(raw.code).toBeUndefined()
  })

  it.each<[string, (raw: Raw) => void, number]>([
    ['nothing', () => {}, 1008],
    ['the wire of y-websocket', ({ socket }) => [1, 2, 3].forEach(() => void socket.send(Uint8Array.of(0, 0, 1, 0))), 4400],
    ['text', ({ socket }) => [1, 2, 3].forEach(() => void socket.send('hello')), 4400],
  ])('%s: the socket is closed', async (_, say, code) => {
    const raw = await connect(url())
    say(raw)
    await until(() => raw.code !== undefined, 'the end')
    expect(raw.code).toBe(code)
  })

  it('on a listener of both wires, y-websocket without a token is closed for good, Hocuspocus is denied and stays', async () => {
    const [editor, tiptap, silent] = await Promise.all([connect(`${either()}/a`), connect(either()), connect(either())])
    editor.socket.send(Uint8Array.of(0, 0, 1, 0))
    tiptap.socket.send(frame('a', 2, 0, ''))
    await until(() => editor.code !== undefined && tiptap.frames.length > 0, 'both refusals')
    expect(editor.code).toBe(4401)
    expect(tiptap.frames[0]?.toString('latin1')).toContain('auth.required')
    await until(() => silent.code !== undefined, 'the end of the silent one')
    expect(silent.code).toBe(1008)
    expect(tiptap.code).toBeUndefined()
  })
})

describe('what waits for a token', () => {
  it('is bounded, whatever comes: 20 sockets with 128 documents each, and 20 MB on each socket', async () => {
    await stillServes()
    const before = await residentMiB()
    const clients = await Promise.all(Array.from({ length: 20 }, () => connect(url())))
    const update = new Uint8Array(10_000)
    for (const { socket } of clients) for (let i = 0; i < 2_000; i++) socket.send(frame(`document ${i % 128}`, 0, 2, update))
    await until(() => clients.every(({ socket }) => socket.bufferedAmount === 0), 'all is sent', 60_000)
    await stillServes()
    // 1 MiB for each socket may wait, and what was read is collected when the collector comes to it; 400 MB were sent.
    expect((await residentMiB()) - before).toBeLessThan(200)
  })
})

describe('a page of another origin', () => {
  const { server: strict } = serve('origins=https://app.example')

  it('is denied each document and may stay connected, for closed it would connect again and again', async () => {
    const raw = await connect(`${strict().ws}/hocuspocus`)
    for (const name of ['a', 'b']) raw.socket.send(frame(name, 2, 0, 'any'))
    await until(() => raw.frames.length === 2, 'both denials')
    expect(raw.frames.every((one) => one.includes('connection.origin'))).toBe(true)
    expect(raw.code).toBeUndefined()
  })
})
