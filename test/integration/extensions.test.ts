/** What plugins add, over the wire of the built program. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { BusClient, closeBusClients } from '../support/bus.ts'
import { Program, type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { until } from '../support/wait.ts'

const pathOf = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const example = (name: string) => pathOf(`dist/programs/${name}.js`)
const moody = pathOf('test/support/moodyPlugin.mjs')
const badges = pathOf('test/support/badgesPlugin.mjs')
const withPlugins = (...plugins: string[]) => ['--set', `plugins=${plugins.join(',')}`]

afterEach(closeBusClients)

const connect = async ({ ws }: Running, user?: string): Promise<BusClient> => {
  const client = await new BusClient(`${ws}/`).opened()
  if (user !== undefined) expect(await client.command('authenticate', { username: user, password: '-' })).toMatchObject({ success: true })
  return client
}

describe('a server with plugins', () => {
  const data = temporaryDirectory()
  let troupe: Running

  const start = () =>
    startTroupe(data.path, [
      ...withPlugins(example('analytics'), example('game-score'), example('hooks'), moody),
      '--set',
      'bus.hookTimeoutMs=300',
    ])
  beforeAll(async () => {
    troupe = await start()
  })
  afterAll(async () => {
    await troupe.kill()
    data.remove()
  })

  describe('has commands that', () => {
    it('answer what `run` returns, and are listed by help', async () => {
      const client = await connect(troupe)
      expect(await client.command('double', { number: 21 })).toMatchObject({
        type: 'command_response',
        success: true,
        data: { number: 42 },
      })
      expect(await client.command('moody', { mood: 'returnsNothing' })).toMatchObject({ success: true, data: null })
      const { commands } = (await client.command('help')).data as { commands: { name: string; help: string }[] }
      expect(commands.map(({ name }) => name)).toEqual(
        expect.arrayContaining(['join_channel', 'double', 'moody', 'analytics', 'game_score']),
      )
      expect(commands.find(({ name }) => name === 'double')?.help).toBe('Twice a number. Parameters: number.')
    })

    it('refuse parameters that do not fit, with the path of what is wrong', async () => {
      const client = await connect(troupe)
      expect(await client.command('double', { number: 'many' })).toMatchObject({
        success: false,
        code: 'command.bad_parameters',
        error: expect.stringMatching(/number: .*expected number/),
      })
      expect(await client.command('double')).toMatchObject({ success: false, error: expect.stringContaining('number: ') })
    })

    it('refuse in their own words, and show nothing of what broke inside', async () => {
      const client = await connect(troupe)
      expect(await client.command('moody', { mood: 'refuses' })).toMatchObject({
        success: false,
        code: 'rate.limited',
        rule: 'ten a day',
        retry_after: 60,
      })
      for (const mood of ['throws', 'returnsNoJson'])
        expect(await client.command('moody', { mood })).toMatchObject({ success: false, code: 'command.failed' })
      expect(client.texts.join()).not.toContain('1234')
      expect((await troupe.line(({ where }) => where === 'moody')).error).toMatch(/1234[\s\S]*moodyPlugin/)
      expect(await client.command('double', { number: 1 })).toMatchObject({ success: true })
    })
  })

  describe('examples/analytics.ts', () => {
    it('counts what is in the history of a channel', async () => {
      const [alice, bob] = [await connect(troupe, 'alice'), await connect(troupe, 'bob')]
      await alice.publish('town', 'four')
      await alice.publish('town', { text: 'sixsix' })
      await bob.publish('town', 'eight888')
      const hour = /^\d\d:00$/
      const answer = await bob.command('analytics', { channel: 'town', time_range: '1h' })
      expect(answer).toMatchObject({
        type: 'command_response',
        command: 'analytics',
        success: true,
        data: { message_count: 3, unique_users: 2, peak_hour: expect.stringMatching(hour), avg_message_length: 6 },
      })
      expect((await bob.command('analytics', { channel: 'town' })).data).toEqual(answer.data)
    })

    it('counts across pages of history', async () => {
      const client = await connect(troupe)
      client.send({
        type: 'batch',
        messages: Array.from({ length: 1_000 }, (_, i) => ({ type: 'message', channel: 'many', content: `${i % 10}` })),
      })
      client.send({ type: 'batch', messages: Array.from({ length: 500 }, () => ({ type: 'message', channel: 'many', content: '123' })) })
      await client.publish('many', '1')
      expect((await client.command('analytics', { channel: 'many' })).data).toMatchObject({ message_count: 1_501, avg_message_length: 2 })
    })

    it('says what is missing', async () => {
      const client = await connect(troupe)
      expect(await client.command('analytics')).toMatchObject({ success: false, error: 'Channel parameter required' })
      expect(await client.command('analytics', { channel: 'town', time_range: 'today' })).toMatchObject({
        success: false,
        code: 'command.bad_parameters',
        error: expect.stringContaining('time_range: '),
      })
      expect(await client.command('analytics', { channel: 'nowhere' })).toMatchObject({ success: false, code: 'channel.unknown' })
    })
  })

  describe('examples/game-score.ts', () => {
    it('keeps scores through kill -9', async () => {
      const [alice, bob] = [await connect(troupe, 'alice'), await connect(troupe, 'bob')]
      expect(await alice.command('game_score', { action: 'update', game: 'chess', score: 1_100 })).toMatchObject({
        success: true,
        data: { message: 'Score updated successfully', player: 'alice', game: 'chess', score: 1_100 },
      })
      await bob.command('game_score', { action: 'update', game: 'chess', score: 1_250 })
      await alice.command('game_score', { action: 'update', game: 'chess', score: 1_200 })
      await troupe.kill()
      troupe = await start()
      const client = await connect(troupe)
      const scores = [
        { player: 'bob', score: 1_250 },
        { player: 'alice', score: 1_200 },
      ]
      expect((await client.command('game_score', { game: 'chess' })).data).toEqual({ game: 'chess', scores })
      expect((await client.command('game_score', { action: 'get', game: 'go' })).data).toEqual({ game: 'go', scores: [] })
    })

    it('knows two actions', async () => {
      const client = await connect(troupe)
      expect(await client.command('game_score', { action: 'delete', game: 'chess' })).toMatchObject({
        success: false,
        error: 'Invalid action',
      })
      expect(await client.command('game_score', { action: 'update', game: 'chess' })).toMatchObject({
        code: 'command.bad_parameters',
        error: expect.stringContaining('score: '),
      })
    })
  })

  describe('examples/hooks.ts', () => {
    it('masks words in what everybody hears and what is stored', async () => {
      const [alice, bob] = [await connect(troupe, 'alice'), await connect(troupe, 'bob')]
      await bob.join('town')
      const from = bob.frames.length
      await alice.publish('town', 'What the Heck')
      await alice.publish('town', { text: 'darn', mood: 'bad' })
      await until(() => bob.messages('town').length >= 2, 'both messages')
      expect(bob.frames.slice(from).map(({ content }) => content)).toEqual(['What the ****', { text: '****', mood: 'bad' }])
      const { messages } = (await bob.command('history', { channel: 'town', limit: 2 })).data as { messages: { content: unknown }[] }
      expect(messages.map(({ content }) => content)).toEqual(['What the ****', { text: '****', mood: 'bad' }])
    })

    it('lets only members into the room of a team', async () => {
      const [alice, carol] = [await connect(troupe, 'alice'), await connect(troupe, 'carol')]
      expect(await alice.command('join_channel', { channel: 'team-red' })).toMatchObject({ success: true })
      const refused = { code: 'hook.rejected', error: 'only members of team red may do this', rule: 'team red' }
      expect(await carol.command('join_channel', { channel: 'team-red' })).toMatchObject({ success: false, ...refused })
      expect(await carol.publish('team-red', 'let me in')).toMatchObject({ type: 'error', ...refused })
      expect(await carol.command('join_channel', { channel: 'team-blue' })).toMatchObject({ success: true })
    })

    it('writes down who left', async () => {
      const audit = join(data.path, 'audit.jsonl')
      const dora = await connect(troupe, 'dora')
      await dora.close()
      await until(() => existsSync(audit) && readFileSync(audit, 'utf8').includes('"dora"'), 'the line about dora')
      const line =
        readFileSync(audit, 'utf8')
          .split('\n')
          .find((text) => text.includes('"dora"')) ?? ''
      expect(JSON.parse(line)).toMatchObject({ user: 'dora', door: 'bus', at: expect.stringMatching(/^\d{4}-.*Z$/) })
    })
  })

  it('refuses a message that does not fit its type, and relays types that nobody defined', async () => {
    const client = await connect(troupe)
    await client.join('sensors/roof')
    const reading = { message_type: 'sensor_data', sensor_id: 'temp-001', sensor_type: 'temperature', value: 23.5, unit: 'celsius' }
    expect(await client.publish('sensors/roof', { ...reading, value: 'warm' })).toMatchObject({
      type: 'error',
      code: 'message.invalid',
      error: expect.stringMatching(/content\.value: .*expected number/),
      rule: 'message_type sensor_data',
    })
    const action = { message_type: 'user_action', value: 'warm' }
    for (const content of [{ ...reading, floor: 3 }, action])
      expect(await client.publish('sensors/roof', content)).toMatchObject({ type: 'ack' })
    await until(() => client.messages('sensors/roof').length === 2, 'both messages')
    expect(client.contents('sensors/roof')).toEqual([{ ...reading, floor: 3 }, action])
  })

  describe('has hooks, one of which', () => {
    it('throws: the client hears its name, the log has the rest', async () => {
      const client = await connect(troupe)
      const refused = { code: 'hook.rejected', error: expect.not.stringContaining('1234') }
      expect(await client.command('join_channel', { channel: 'broken' })).toMatchObject({
        success: false,
        rule: 'moody.onJoin',
        ...refused,
      })
      expect(await client.publish('broken', 'x')).toMatchObject({ type: 'error', rule: 'moody.onPublish', ...refused })
      const line = await troupe.line(({ hook }) => hook === 'moody.onJoin')
      expect(line).toMatchObject({ msg: 'a hook failed', error: expect.stringMatching(/1234[\s\S]*moodyPlugin/) })
    })

    it('never comes back: its client waits for the timeout, the others do not', async () => {
      const [stuck, other] = [await connect(troupe), await connect(troupe)]
      const published = stuck.publish('endless', 'x')
      const after = stuck.publish('slow', 'after it')
      await other.publish('slow', 'not behind it')
      expect(stuck.frames).toEqual([])
      expect(await published).toMatchObject({
        type: 'error',
        code: 'hook.rejected',
        error: 'moody.onPublish timed out',
        rule: 'moody.onPublish',
      })
      expect(await after).toMatchObject({ type: 'ack' })
      expect(await stuck.command('join_channel', { channel: 'endless' })).toMatchObject({ success: false, error: 'moody.onJoin timed out' })
    })

    it('takes its time: the messages of a client keep their order', async () => {
      const client = await connect(troupe)
      await client.join('slow')
      const from = client.messages('slow').length
      for (let i = 0; i < 5; i++) client.send({ type: 'message', channel: 'slow', content: `${i}` })
      await until(() => client.messages('slow').length === from + 5, 'five messages')
      expect(client.contents('slow').slice(from)).toEqual(['0', '1', '2', '3', '4'])
    })
  })
})

describe('a login of a plugin', () => {
  const data = temporaryDirectory()
  let troupe: Running
  beforeAll(async () => {
    troupe = await startTroupe(data.path, withPlugins(badges))
  })
  afterAll(async () => {
    await troupe.kill()
    data.remove()
  })

  it('says who somebody is and what it may do', async () => {
    const client = await connect(troupe)
    expect(await client.command('authenticate', { token: 'badge-ada' })).toMatchObject({ success: true, data: { user: 'ada' } })
    expect(await client.command('join_channel', { channel: 'town' })).toMatchObject({ success: true })
    expect(await client.publish('town', 'x')).toMatchObject({ type: 'error', code: 'access.denied' })
    expect(await client.command('authenticate', { token: 'none' })).toMatchObject({ success: false, code: 'auth.failed' })
    expect(await client.command('authenticate', { username: 'ada', password: 'x' })).toMatchObject({ success: false, code: 'auth.failed' })
  })

  it('is looked at by the hooks: they refuse, or give another account', async () => {
    const client = await connect(troupe)
    const refused = { code: 'hook.rejected', error: 'badges of eve are not valid any more', rule: 'badges.onAuthenticate' }
    expect(await client.command('authenticate', { token: 'badge-eve' })).toMatchObject({ success: false, ...refused })
    expect(await client.command('authenticate', { token: 'badge-boss' })).toMatchObject({ success: true, data: { permissions: ['*'] } })
    expect(await client.publish('town', 'x')).toMatchObject({ type: 'ack' })
  })

  it('is good for a connection, too, which a hook may refuse', async () => {
    const ada = await new BusClient(`${troupe.ws}/?token=badge-ada`).opened()
    expect((await ada.command('status')).data).toMatchObject({ user: 'ada' })
    const mallory = new BusClient(`${troupe.ws}/?token=badge-mallory`)
    expect(await mallory.closed).toMatchObject({ code: 4403, reason: expect.stringContaining('not today') })
    expect(mallory.frames).toMatchObject([{ type: 'error', code: 'hook.rejected', error: 'not today', rule: 'badges.onConnect' }])
  })

  it('goes through the same hooks when it comes with the connection', async () => {
    const boss = await new BusClient(`${troupe.ws}/?token=badge-boss`).opened()
    expect(await boss.publish('town', 'x')).toMatchObject({ type: 'ack' })
    const eve = new BusClient(`${troupe.ws}/?token=badge-eve`)
    expect(await eve.closed).toMatchObject({ code: 4403 })
    const post = (token: string) =>
      fetch(`${troupe.http}/v1/channels/town/messages`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify({ content: 'by HTTP' }),
      })
    expect((await post('badge-boss')).status).toBe(201)
    expect((await post('badge-ada')).status).toBe(403)
    const refused = await post('badge-eve')
    expect([refused.status, await refused.json()]).toMatchObject([403, { error: { code: 'hook.rejected', rule: 'badges.onAuthenticate' } }])
  })
})

describe('a storage backend of a plugin', () => {
  it('holds messages and scores over kill -9', async () => {
    const data = temporaryDirectory()
    const args = [...withPlugins(example('storage-backend'), example('game-score')), '--set', 'storage.backend=files']
    const first = await startTroupe(data.path, args)
    const writer = await connect(first, 'alice')
    const acks = await Promise.all(Array.from({ length: 20 }, (_, i) => writer.publish('kept', `message ${i}`, { id: `m-${i}` })))
    await writer.command('game_score', { action: 'update', game: 'chess', score: 7 })
    await first.kill()
    const second = await startTroupe(data.path, args)
    const reader = await connect(second)
    const { messages } = (await reader.command('history', { channel: 'kept' })).data as {
      messages: { content: unknown; sequence: number }[]
    }
    expect(messages.map(({ content }) => content)).toEqual(Array.from({ length: 20 }, (_, i) => `message ${i}`))
    expect(messages.map(({ sequence }) => sequence)).toEqual(acks.map(({ sequence }) => sequence))
    expect((await reader.command('game_score', { game: 'chess' })).data).toMatchObject({ scores: [{ player: 'alice', score: 7 }] })
    expect(existsSync(join(data.path, 'data.mdb'))).toBe(false)
    await second.kill()
    data.remove()
  })
})

describe('a plugin that cannot be used', () => {
  const directory = temporaryDirectory()
  const another = join(directory.path, 'another.mjs')
  writeFileSync(
    another,
    `const params = { '~standard': { version: 1, vendor: 'none', validate: (value) => ({ value }) } }
     export default { name: 'another', commands: [{ name: 'double', help: 'Twice.', params, run: () => null }] }`,
  )
  afterAll(() => directory.remove())

  it.each([
    ['is not there', ['absent.js'], `there is no file ${join(process.cwd(), 'absent.js')}`],
    ['is no plugin', [pathOf('package.json')], 'package.json'],
    ['is given twice', [moody, moody], 'two are called moody'],
    ['has a command of another one', [moody, another], 'command double of plugin another: plugin moody has one of this name'],
  ])('ends the start with 78 when it %s', async (_, plugins, text) => {
    const program = new Program(['--port', '0', '--data', directory.path, '--no-supervisor', ...withPlugins(...plugins)])
    expect(await program.exited).toMatchObject({ code: 78 })
    expect(program.stderr).toContain(text)
  })
})

describe('examples/own-server.ts', () => {
  it('shares its actors with the clients, and closes in order', async () => {
    const data = temporaryDirectory()
    const child = spawn(process.execPath, [example('own-server'), data.path, '0'], { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = new Promise((resolve) => child.on('exit', resolve))
    onTestFinished(() => void child.kill('SIGKILL'))
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk
    })
    await until(() => output.includes('\n'), 'the port')
    const client = await new BusClient(`ws://127.0.0.1:${/\d+/.exec(output)?.[0]}/`).opened()
    await client.command('game_score', { action: 'update', game: 'chess', score: 900 })
    const { scores } = (await client.command('game_score', { game: 'chess' })).data as { scores: { player: string; score: number }[] }
    expect(scores.map(({ score }) => score)).toEqual([1_000, 900])
    expect(scores[0]?.player).toBe('the house')
    expect((await client.command('help', { args: { command: 'analytics' } })).data).toMatchObject({ commands: [{ name: 'analytics' }] })
    child.kill('SIGTERM')
    expect(await ended).toBe(0)
    data.remove()
  })
})
