/** The question of y-sweet's clients, on the wire of y-websocket: how much of mine is saved? */
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import * as Y from 'yjs'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { until } from '../support/wait.ts'
import { closeWires, emptyVector, WireClient, wire } from '../support/wire.ts'

const data = temporaryDirectory()
let troupe: Running

beforeAll(async () => {
  troupe = await startTroupe(data.path)
})
afterEach(closeWires)
afterAll(async () => {
  await troupe.kill()
  data.remove()
})

const status = (count: number): Uint8Array =>
  encoding.encode((encoder) => {
    encoding.writeVarUint(encoder, 102)
    encoding.writeVarUint8Array(encoder, Uint8Array.of(count))
  })

describe('a client of y-sweet', () => {
  it('gets its count back when all that it counts is on disk, in order', async () => {
    const counts: number[] = []
    const socket = new WebSocket(`${troupe.ws}/docs/sweet`)
    socket.on('message', (frame: Buffer) => {
      const decoder = decoding.createDecoder(frame)
      if (decoding.readVarUint(decoder) === 102) counts.push(decoding.readVarUint8Array(decoder)[0] as number)
    })
    await until(() => socket.readyState === WebSocket.OPEN, 'the socket')
    const doc = new Y.Doc()
    doc.on('update', (update) => socket.send(wire.update(update)))
    socket.send(wire.step1(emptyVector))
    socket.send(status(0))
    doc.getText('text').insert(0, 'first, ')
    socket.send(status(1))
    doc.getText('text').insert(7, 'second')
    socket.send(status(2))
    await until(() => counts.at(-1) === 2, 'the last count')
    expect(counts).toEqual([...counts].sort())
    socket.terminate()
    troupe.signal('SIGKILL')
    await troupe.exited
    troupe = await startTroupe(data.path)
    const next = await new WireClient(`${troupe.ws}/docs/sweet`).synced()
    expect(next.text.toString()).toBe('first, second')
  })
})
