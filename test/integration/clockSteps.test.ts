/** The clock of the machine is set while the server runs: by NTP, by hand, after a virtual machine was resumed. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { BusClient, closeBusClients, named } from '../support/bus.ts'
import { closeTiptaps, openTiptap, saved } from '../support/hocuspocus.ts'
import { HttpClient, secret, tokenOf } from '../support/http.ts'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { until } from '../support/wait.ts'
import { closeWires, encodePresence, WireClient, wire } from '../support/wire.ts'

const preload = fileURLToPath(new URL('../support/steppedClock.mjs', import.meta.url))
const hourMs = 3_600_000

interface Stepped {
  server(): Running
  http(): HttpClient
  /** Sets the clock of the server off by so much. */
  set(ms: number): Promise<void>
}

/** A server for all tests of a describe, with a clock that can be set. */
const serveWithClock = (...settings: readonly string[]): Stepped => {
  const directory = temporaryDirectory()
  const file = join(directory.path, 'clock')
  let running: Running | undefined
  beforeAll(async () => {
    writeFileSync(file, '0')
    const flags = settings.flatMap((setting) => ['--set', setting])
    const options = { nodeArgs: ['--import', preload], env: { CLOCK_FILE: file } }
    running = await startTroupe(join(directory.path, 'data'), flags, options)
  })
  afterEach(() => {
    closeWires()
    closeTiptaps()
    closeBusClients()
  })
  afterAll(async () => {
    await running?.kill()
    directory.remove()
  })
  const server = (): Running => {
    if (running === undefined) throw new Error('the server is not there yet')
    return running
  }
  const http = () => new HttpClient(server().http)
  return {
    server,
    http,
    async set(ms) {
      writeFileSync(file, String(ms))
      const isSet = async () => Math.abs(Date.parse((await http().get('/health')).body.timestamp) - Date.now() - ms) < 500
      await until(isSet, 'the clock of the server to be set')
    },
  }
}

describe.each([
  ['back', -hourMs],
  ['on', hourMs],
])('a clock that is set %s by an hour', (_, setMs) => {
  const { server, http, set } = serveWithClock('documents.idleMs=500', 'documents.awarenessTimeoutMs=1000', 'limits.keepAliveMs=500')
  afterEach(() => set(0))

  it('lets a document that nobody has open leave memory', async () => {
    const ann = await new WireClient(`${server().ws}/docs/quiet`).synced()
    await ann.edit()
    const inMemory = async () => (await http().get('/status')).body.documents.in_memory
    expect(await inMemory()).toBe(1)
    await set(setMs)
    ann.close()
    await until(async () => (await inMemory()) === 0, 'the end of its idle time')
  })

  it('keeps nobody waiting: changes are saved and told on both wires, newcomers get in', async () => {
    const url = `${server().ws}/docs/plan`
    const [ann, bob] = [await new WireClient(url).synced(), openTiptap(`${server().ws}/hocuspocus`, 'plan')]
    await ann.edit('before, ')
    await saved(bob)
    await set(setMs)
    await ann.edit('after, ')
    await until(() => bob.text.toString() === 'before, after, ', 'the change at the other wire')
    bob.text.insert(bob.text.length, 'and on both wires')
    await saved(bob)
    const newcomer = await new WireClient(url).synced()
    expect(newcomer.text.toString()).toBe('before, after, and on both wires')
    expect([...ann.closings, ...newcomer.closings, bob.shared.opened]).toEqual([1])
  })

  it('keeps nobody waiting on the bus: what is published is acknowledged and told, who comes and goes is, too', async () => {
    const [ada, bob] = [await named(server(), 'ada'), await named(server(), 'bob')]
    await Promise.all([ada.join('news'), bob.join('news')])
    await ada.publish('news', 'before')
    await set(setMs)
    const acknowledgement = await ada.publish('news', 'after')
    expect(acknowledgement).not.toHaveProperty('error')
    await until(() => bob.contents('news').join() === 'before,after', 'both messages')
    await bob.command('leave_channel', { channel: 'news' })
    await until(() => ada.events('user_left').length === 1, 'the news that bob has left')
  })

  it('lets presence end that is not renewed', async () => {
    const url = `${server().ws}/docs/people`
    const [ann, bob] = [await new WireClient(url).synced(), await new WireClient(url).synced()]
    ann.send(wire.awareness(encodePresence([{ client: 7, clock: 1, state: '{"name":"ann"}' }])))
    await until(() => bob.presence.get(7)?.state !== undefined, 'the presence of ann')
    await set(setMs)
    await until(() => bob.presence.get(7)?.state === 'null', 'the end of it')
  })

  it('brings nothing before what was before it in the history of a document', async () => {
    const ann = await new WireClient(`${server().ws}/docs/minutes`).synced()
    for (const ms of [0, setMs, 0]) {
      await set(ms)
      await ann.edit('word ')
    }
    const { body } = await http().get('/v1/documents/minutes/history?gap=0')
    type Group = { began_at: string; ended_at: string }
    const times = body.groups.reverse().flatMap(({ began_at, ended_at }: Group) => [began_at, ended_at])
    expect(times).toEqual([...times].sort())
    expect(times.length).toBeGreaterThan(0)
  })
})

describe('a token', () => {
  const { server, http, set } = serveWithClock(`auth.jwtSecret=${secret}`, 'auth.clockSkewMs=0')

  it('ends on a live connection when the clock of the server says so, and not before', async () => {
    const expiresInS = 2
    const token = await tokenOf('ann', {}, expiresInS)
    const end = (Math.floor(Date.now() / 1_000) + expiresInS) * 1_000
    const client = await new WireClient(`${server().ws}/docs/plan?token=${token}`).synced()
    await set(-1_500)
    expect((await client.closed()).code).toBe(4401)
    expect(Date.now()).toBeGreaterThanOrEqual(end + 1_000)
    await set(0)
  })

  it('does not outlive a revocation that was made on a clock that had been set back', async () => {
    const token = await tokenOf('ben')
    const ben = await new WireClient(`${server().ws}/docs/plan?token=${token}`).synced()
    const admin = await new BusClient(`${server().ws}/?token=${await tokenOf('root', { permissions: ['*', 'admin'] })}`).opened()
    await admin.command('ping') // its token is good before the clock is set
    await set(-hourMs)
    expect(await admin.command('revoke', { user: 'ben' })).toMatchObject({ success: true })
    expect((await ben.closed()).code).toBe(4403)
    await set(0)
    expect(await http().as(token).publish('lobby', { content: 'hi' })).toMatchObject({
      status: 401,
      body: { error: { code: 'auth.revoked' } },
    })
  })
})
