/** Documents of the built server under kill -9, with clients that write all the time. */
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { closeEditors } from '../support/editors.ts'
import { closeTiptaps } from '../support/hocuspocus.ts'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { freePort, isGone } from '../support/processes.ts'
import { until } from '../support/wait.ts'
import { closeWires, WireClient } from '../support/wire.ts'
import { SeededRandom } from '../support/world.ts'
import { contents, lacks, stockWriter, tiptapWriter, unionOf, wireWriter, write } from '../support/writers.ts'

/** More of them: a night's work. */
const rounds = Number(process.env.CRASH_ROUNDS ?? 6)
const seed = Number(process.env.SEED ?? 20_261_120)

const data = temporaryDirectory()
const running: Running[] = []
const start = async (...args: string[]): Promise<Running> => {
  const server = await startTroupe(data.path, args)
  running.push(server)
  return server
}

afterEach(async () => {
  closeWires()
  closeEditors()
  closeTiptaps()
  for (const server of running.splice(0)) await server.kill()
})
afterAll(() => data.remove())

describe('documents under kill -9', () => {
  it(
    `[CR1] keep every acknowledged update, and all clients agree on the union of what was written, ${rounds} times over (seed ${seed})`,
    async () => {
      const chance = new SeededRandom(seed)
      let server = await start()
      const { port, ws } = server
      const rooms = ['one', 'two', 'three']
      const writers = ['one', 'two', 'three'].map((room) => wireWriter(ws, room))
      for (const room of ['one', 'one', 'two', 'two']) writers.push(stockWriter(ws, room), tiptapWriter(ws, room))
      const union = unionOf(writers)
      const acknowledged = () => writers.reduce((sum, writer) => sum + writer.acknowledged.length, 0)
      /** How many acknowledgements of each writer were looked at. */
      const checked = writers.map(() => 0)
      /** What was on disk after the last round, with all that was acknowledged until then. */
      let kept: (readonly [room: string, updates: readonly Uint8Array[]])[] = []

      for (let round = 1; round <= rounds; round++) {
        const where = `round ${round}, seed ${seed}`
        const target = acknowledged() + 1 + chance.below(200)
        const signal = round % 4 === 0 ? 'SIGTERM' : 'SIGKILL'
        const writing = write(writers, chance)
        await until(() => acknowledged() >= target, `the acknowledgements of ${where}`)
        server.signal(signal)
        const { code } = await server.exited
        if (signal === 'SIGTERM') expect([where, code]).toEqual([where, 0])
        // Held back until the disk was looked at: they would bring back what the server lost.
        for (const writer of writers) writer.disconnect()
        const promises = writers.map(({ room, acknowledged }, index) => [room, acknowledged.slice(checked[index])] as const)
        writers.forEach(({ acknowledged }, index) => {
          checked[index] = acknowledged.length
        })

        server = await start('--port', String(port))
        const readers = new Map<string, WireClient>()
        for (const room of rooms) readers.set(room, await new WireClient(`${ws}/docs/${room}`).synced())
        for (const [room, updates] of [...promises, ...kept]) {
          const { doc } = readers.get(room) as WireClient
          const lost = updates.filter((update) => lacks(doc, update)).length
          expect([where, room, lost]).toEqual([where, room, 0])
        }
        kept = Array.from(readers, ([room, { doc }]) => [room, [Y.encodeStateAsUpdate(doc)]] as const)

        for (const writer of writers) writer.connect()
        writing.stop()
        await until(() => writers.every(({ isSaved }) => isSaved() !== false), `everybody to hear that all is saved in ${where}`)
        const everybody = [...writers, ...Array.from(readers, ([room, { doc }]) => ({ room, doc }))]
        const wanted = new Map(rooms.map((room) => [room, contents(union.get(room) as Y.Doc)]))
        for (const { room, doc } of everybody) {
          const length = union.get(room)?.getText('text').length
          await until(() => doc.getText('text').length === length && contents(doc) === wanted.get(room), `the convergence of ${where}`)
        }
        for (const reader of readers.values()) reader.close()
      }
      expect(acknowledged()).toBeGreaterThan(rounds * 30)
    },
    rounds * 20_000,
  )
})

describe('a supervised server', () => {
  const supervised = async () => {
    const port = await freePort()
    return start('--supervised', '--port', String(port))
  }

  it('[CR2] ends at once when its supervisor is killed, and leaves the data directory free', async () => {
    const server = await supervised()
    const client = await new WireClient(`${server.ws}/docs/orphan`, { isPersistent: true }).synced()
    await client.edit('before')
    server.signal('SIGKILL') // the supervisor
    await server.exited
    await until(() => isGone(server.pid), 'the end of the server')
    const next = await start('--port', String(server.port), '--set', 'storage.lockWaitMs=0')
    const reader = await new WireClient(`${next.ws}/docs/orphan`).synced()
    expect(reader.text.toString()).toBe('before')
    await client.edit(' and after')
    await until(() => reader.text.toString() === 'before and after', 'the next edit')
  })

  it.each(['SIGKILL', 'SIGSEGV', 'SIGABRT'] as const)(
    '[CR3] is started again after %s, and its clients come back with what they wrote meanwhile',
    async (signal) => {
      const server = await supervised()
      const room = `${server.ws}/docs/again-${signal}`
      const [a, b] = [new WireClient(room, { isPersistent: true }), new WireClient(room, { isPersistent: true })]
      await Promise.all([a.synced(), b.synced()])
      await a.edit('before, ')
      process.kill(server.pid, signal)
      await until(() => a.closings.length > 0 && b.closings.length > 0, 'the end of the connections')
      a.text.insert(a.text.length, 'meanwhile, ')
      await server.line((line) => line.msg === 'listening' && line.pid !== server.pid)
      await until(() => a.isSynced && b.isSynced, 'the return of both')
      await until(() => b.text.toString() === 'before, meanwhile, ', 'what was written meanwhile')
      await b.edit('after')
      expect(server.lines.some((line) => line.msg === 'the server crashed' && line.signal === signal)).toBe(true)
      server.signal('SIGTERM')
      expect(await server.exited).toEqual({ code: 0, signal: null })
    },
  )
})
