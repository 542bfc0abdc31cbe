/** The built-in commands: what they take, what they ask of the session, what they answer. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Account } from '../../actors/account.ts'
import type { Joined, Page } from '../../actors/channelMessages.ts'
import type { Command, Session } from '../../actors/command.ts'
import { isTroupeError, TroupeError } from '../../actors/errors.ts'
import type { ChannelInfo, ChannelMessage, Json, Member } from '../../actors/output.ts'
import { builtinCommands, type CommandOptions } from '../../src/bus/commands.ts'

const MiB = 1024 * 1024
const now = Date.parse('2025-12-01T00:00:00Z')
const ann: Account = { user: 'ann', tenant: 'acme', isAnonymous: false, permissions: ['channel:*'] }
const guest: Account = { user: 'c1', tenant: '', isAnonymous: true, permissions: ['*'] }

const info = (name: string, fields: Partial<ChannelInfo> = {}): ChannelInfo => ({
  name,
  description: 'about',
  createdAt: now,
  createdBy: 'ann',
  isRoom: false,
  ...fields,
})
const message = (offset: number, body: Json = 'hi'): ChannelMessage => ({
  channel: 'general',
  offset,
  epoch: 'e1',
  time: now,
  id: `m${offset}`,
  user: 'ann',
  sender: 'ann',
  client: 'c1',
  body,
  kind: 'message',
})
const member = (user: string): Member => ({ user, status: 'online', connections: 1, joinedAt: now, lastSeen: now })

/** What a session was asked for, in order. It lets a client into every channel that is not named `closed`. */
class Calls implements Session {
  readonly calls: unknown[][] = []
  readonly client = 'c1'
  readonly log = { debug() {}, info() {}, warn() {}, error() {} }
  account: Account
  status: Session['status'] = 'online'
  channels: readonly string[] = []
  members_: readonly Member[] = [member('ann')]
  page: Page = { messages: [message(1), message(2)], epoch: 'e1', first: 1, offset: 2, hasMore: false }

  constructor(account: Account = ann) {
    this.account = account
  }
  #called(...call: unknown[]): void {
    this.calls.push(call)
  }
  now() {
    return now + 5_000
  }
  async authenticate(credentials: unknown) {
    this.#called('authenticate', credentials)
    this.account = ann
    return ann
  }
  async rename(user: string) {
    this.#called('rename', user)
    this.account = { ...this.account, user }
  }
  async setStatus(status: Session['status']) {
    this.#called('setStatus', status)
    this.status = status
  }
  async join(channel: string, options: object = {}): Promise<Joined> {
    this.#called('join', channel, options)
    if (channel === 'closed') throw new TroupeError('hook.rejected', 'closed')
    this.channels = [...this.channels, channel]
    const known = { epoch: 'e1', offset: 2, isRecovered: undefined, isNew: true, isAnnounced: true }
    return { info: info(channel), ...known, messages: [message(2)], members: this.members_ }
  }
  async leave(channel: string) {
    this.#called('leave', channel)
    const wasThere = this.channels.includes(channel)
    this.channels = this.channels.filter((name) => name !== channel)
    return wasThere
  }
  async publish(given: object) {
    this.#called('publish', given)
    return { message: message(3), isRepeated: true }
  }
  async history(channel: string, range: object) {
    this.#called('history', channel, range)
    return this.page
  }
  async members(channel: string) {
    this.#called('members', channel)
    return this.members_
  }
  async create(channel: string, options: { isRoom?: boolean; ttlMs?: number }) {
    this.#called('create', channel, options)
    const isRoom = options.isRoom ?? false
    return info(channel, { isRoom, ...(isRoom && { expiresAt: now + (options.ttlMs ?? 3_600_000) }) })
  }
  async delete(channel: string) {
    this.#called('delete', channel)
  }
  async describe(channel: string) {
    return { ...info(channel), epoch: 'e1', first: 1, offset: 2, members: 3, connections: 4 }
  }
  async list(options: { isRoom?: boolean }) {
    this.#called('list', options)
    return { channels: [info('a'), info('b', { isRoom: true, expiresAt: now })], hasMore: true }
  }
  watch(events: unknown) {
    this.#called('watch', events)
  }
  may(resource: string, name: string, action: string) {
    return { isAllowed: name !== 'secret', rule: `needs ${resource}:${name}:${action}` }
  }
  tell() {
    return true
  }
  async ask() {
    return undefined
  }
}

const table: Command[] = []
const commandsWith = (options: Partial<CommandOptions> = {}) =>
  builtinCommands({ messageBytes: MiB, uptimeMs: () => 5_000, checksPasswords: true, all: () => table, ...options })
table.push(...commandsWith())

/** As the client actor runs it. */
const run = async (
  name: string,
  params: unknown,
  session: Session = new Calls(),
  options: Partial<CommandOptions> = {},
): Promise<unknown> => {
  const command = commandsWith(options).find((command) => command.name === name) as Command
  const checked = await command.params['~standard'].validate(params)
  if (checked.issues !== undefined) throw new TroupeError('command.bad_parameters', checked.issues.map(({ message }) => message).join('; '))
  return command.run(checked.value, session)
}
/** What the session was asked for when the command was run. */
const asked = async (name: string, params: unknown): Promise<unknown[][]> => {
  const session = new Calls()
  await run(name, params, session)
  return session.calls
}
const detail = (name: string, params: unknown): Promise<string> =>
  run(name, params).then(
    () => 'taken',
    (error) => (isTroupeError(error, 'command.bad_parameters') ? error.detail : String(error)),
  )

describe('parameters', () => {
  /** Where times without a zone would show that they are taken for local ones. */
  const zone = process.env.TZ
  beforeAll(() => {
    process.env.TZ = 'Pacific/Chatham'
  })
  afterAll(() => {
    if (zone === undefined) delete process.env.TZ
    else process.env.TZ = zone
  })

  it.each([
    ['join_channel', {}, 'channel: required'],
    ['join_channel', undefined, 'channel: required'],
    ['join_channel', [], 'parameters: must be an object'],
    ['join_channel', { channel: 5 }, 'channel: must be a text'],
    ['join_channel', { channel: null }, 'channel: required'],
    ['join_channel', { channel: 'c', recover: 5 }, 'recover: must be { epoch, sequence }'],
    ['join_channel', { channel: 'c', recover: { epoch: 'e' } }, 'recover.sequence: required'],
    ['join_channel', { channel: 'c', recover: { epoch: 'e', sequence: -1 } }, 'recover.sequence: at least 0'],
    ['join_channel', { channel: 'c', rewind: 'all' }, 'rewind: must be a number up to 1000, or { since: time }'],
    ['join_channel', { channel: 'c', rewind: 1_001 }, 'rewind: must be a number up to 1000, or { since: time }'],
    ['join_channel', { channel: 'c', history: 1_001 }, 'history: at most 1000'],
    ['history', { channel: 'c', limit: 0 }, 'limit: at least 1'],
    ['history', { channel: 'c', limit: 1_001 }, 'limit: at most 1000'],
    ['history', { channel: 'c', limit: 1.5 }, 'limit: must be a whole number'],
    ['history', { channel: 'c', limit: 'many' }, 'limit: must be a number'],
    ['history', { channel: 'c', since: 'yesterday' }, 'since: must be a time, in milliseconds or ISO 8601'],
    ['history', { channel: 'c', until: '2025-13-01' }, 'until: must be a time, in milliseconds or ISO 8601'],
    ['history', { channel: 'c', direction: 'up' }, 'direction: must be forwards or backwards'],
    [
      'history',
      { limit: 'x', since: {} },
      'channel: required; limit: must be a number; since: must be a time, in milliseconds or ISO 8601',
    ],
    ['create_room', {}, 'room: required'],
    ['create_room', { room: 'r', ttl: 0 }, 'ttl: at least 0.001'],
    ['create_room', { room: 'r', ttl: 365 * 86_400 + 1 }, 'ttl: at most 31536000'],
    ['subscribe', {}, 'channels: required'],
    ['subscribe', { channels: [5] }, 'channels: must be a list of at most 1000 names'],
    ['publish', { channel: 'c' }, 'content: required'],
    ['publish', { channel: 'c', content: 1, id: '' }, 'id: at least 1 character'],
    ['publish', { channel: 'c', content: 1, metadata: [] }, 'metadata: must be an object'],
    ['authenticate', { username: 'ann' }, 'token, or username and password: required'],
    ['set_status', {}, 'status: required'],
    ['set_status', { status: 'asleep' }, 'status: must be one of online, away, busy, offline'],
    ['subscribe_telemetry', { events: 'all' }, 'events: must be a list of at most 100 names'],
  ])('%s %j: %s', async (name, params, text) => {
    expect(await detail(name, params)).toBe(text)
  })

  it('that nobody knows are ignored, and null is as good as absent', async () => {
    expect(await asked('join_channel', { channel: 'c', recover: null, rewind: null, history: null, colour: 'red' })).toEqual([
      ['join', 'c', {}],
    ])
    expect(await asked('create_channel', { channel: 'c', description: null })).toEqual([['create', 'c', {}]])
  })

  it('may be texts up to a length', async () => {
    expect(await detail('create_channel', { channel: 'c', description: 'x'.repeat(1_000) })).toBe('taken')
    expect(await detail('create_channel', { channel: 'c', description: 'x'.repeat(1_001) })).toBe('description: at most 1000 characters')
  })

  it('may name a channel in `room` and a room in `channel`', async () => {
    expect(await asked('join_channel', { room: 'r' })).toEqual([['join', 'r', {}]])
    expect(await asked('create_room', { channel: 'r' })).toEqual([['create', 'r', { isRoom: true }]])
  })

  it('may be numbers as text', async () => {
    const [call] = await asked('history', { channel: 'c', limit: '20', after: '5' })
    expect(call).toEqual(['history', 'c', { limit: 20, after: 5, direction: 'forwards' }])
    expect(await asked('create_room', { room: 'r', ttl: '1.5' })).toEqual([['create', 'r', { isRoom: true, ttlMs: 1_500 }]])
  })

  it.each([
    [1_764_550_800_000, 1_764_550_800_000],
    ['1764550800000', 1_764_550_800_000],
    ['2025-12-01T01:00:00.000Z', 1_764_550_800_000],
    ['2025-12-01T01:00:00', 1_764_550_800_000],
    ['2025-12-01 01:00', 1_764_550_800_000],
    ['2025-12-01T02:00:00.000000+01:00', 1_764_550_800_000],
    ['2025-12-01T02:00:00+0100', 1_764_550_800_000],
    ['2025-12-01', 1_764_547_200_000],
  ])('may be a time as %j', async (since, at) => {
    expect(await asked('history', { channel: 'c', since })).toEqual([['history', 'c', { since: at, limit: 50, direction: 'forwards' }]])
  })
})

describe('join_channel', () => {
  it('recovers from a position, or begins with the last messages', async () => {
    expect(await asked('join_channel', { channel: 'c', recover: { epoch: 'e1', sequence: 4 } })).toEqual([
      ['join', 'c', { recover: { epoch: 'e1', offset: 4 } }],
    ])
    expect(await asked('join_channel', { channel: 'c', rewind: 10 })).toEqual([['join', 'c', { rewind: { count: 10 } }]])
    expect(await asked('join_channel', { channel: 'c', history: '10' })).toEqual([['join', 'c', { rewind: { count: 10 } }]])
    expect(await asked('join_channel', { channel: 'c', rewind: { since: now } })).toEqual([['join', 'c', { rewind: { since: now } }]])
  })

  it('answers what the channel is, where it is, who is in it, what was missed, and where the client is now', async () => {
    expect(await run('join_channel', { channel: 'general' })).toEqual({
      channel: 'general',
      description: 'about',
      created_at: now,
      room: false,
      epoch: 'e1',
      sequence: 2,
      recovered: null,
      members: [member('ann')],
      member_count: 1,
      messages: [message(2)],
      is_new: true,
      announced: true,
      channels: ['general'],
    })
  })

  it('names the first 1000 members and says how many there are', async () => {
    const session = new Calls()
    session.members_ = Array.from({ length: 1_001 }, (_, n) => member(`user ${n}`))
    const { members, member_count } = (await run('members', { channel: 'c' }, session)) as { members: Member[]; member_count: number }
    expect([members.length, member_count]).toEqual([1_000, 1_001])
  })
})

describe('leave_channel', () => {
  it('answers whether the client was there', async () => {
    const session = new Calls()
    await run('join_channel', { channel: 'a' }, session)
    expect(await run('leave_channel', { channel: 'a' }, session)).toEqual({ channel: 'a', left: true, channels: [] })
    expect(await run('leave_channel', { channel: 'a' }, session)).toEqual({ channel: 'a', left: false, channels: [] })
  })
})

describe('subscribe and unsubscribe', () => {
  it('join and leave several channels', async () => {
    const session = new Calls()
    expect(await run('subscribe', { channels: ['a', 'b'] }, session)).toEqual({ channels: ['a', 'b'] })
    expect(await run('subscribe', { channel: 'c' }, session)).toEqual({ channels: ['a', 'b', 'c'] })
    expect(await run('subscribe', { channels: [] }, session)).toEqual({ channels: ['a', 'b', 'c'] })
    expect(await run('unsubscribe', { channels: ['a', 'x'] }, session)).toEqual({ channels: ['b', 'c'] })
  })

  it('joins none when one is forbidden', async () => {
    const session = new Calls()
    await expect(run('subscribe', { channels: ['a', 'secret'] }, session)).rejects.toMatchObject({
      code: 'access.denied',
      rule: 'needs channel:secret:read',
    })
    expect(session.calls).toEqual([])
  })

  it('leaves again what it joined when one is refused, and nothing else', async () => {
    const session = new Calls()
    await run('subscribe', { channels: ['a'] }, session)
    await expect(run('subscribe', { channels: ['a', 'b', 'closed'] }, session)).rejects.toMatchObject({ code: 'hook.rejected' })
    expect(new Set(session.channels)).toEqual(new Set(['a']))
  })
})

describe('channels and rooms', () => {
  it('are created and deleted', async () => {
    expect(await run('create_channel', { channel: 'c', description: 'about' })).toEqual({
      channel: 'c',
      description: 'about',
      created_at: now,
    })
    expect(await run('delete_channel', { channel: 'c' })).toEqual({ channel: 'c' })
  })

  it('a room answers how long it lives, given or not', async () => {
    expect(await run('create_room', { room: 'r', ttl: 60 })).toEqual({ room: 'r', channel: 'r', ttl: 60, expires_at: now + 60_000 })
    expect(await run('create_room', { room: 'r' })).toMatchObject({ ttl: 3_600 })
  })

  it('are listed apart', async () => {
    expect(await asked('list_channels', { prefix: 'a', after: 'b', limit: 5 })).toEqual([
      ['list', { prefix: 'a', after: 'b', limit: 5, isRoom: false }],
    ])
    expect(await run('list_channels', {})).toEqual({
      channels: [
        { name: 'a', description: 'about', created_at: now, created_by: 'ann' },
        { name: 'b', description: 'about', created_at: now, created_by: 'ann', expires_at: now },
      ],
      has_more: true,
    })
    expect(await asked('list_rooms', {})).toEqual([['list', { isRoom: true }]])
    expect(await run('list_rooms', {})).toMatchObject({ rooms: [{ name: 'a' }, { name: 'b' }] })
  })

  it('channel_info says where a channel is and how many are in it', async () => {
    expect(await run('channel_info', { channel: 'c' })).toEqual({
      channel: 'c',
      description: 'about',
      created_at: now,
      room: false,
      created_by: 'ann',
      epoch: 'e1',
      first_sequence: 1,
      sequence: 2,
      members: 3,
      connections: 4,
    })
  })
})

describe('history', () => {
  it.each([
    [{}, { limit: 50, direction: 'backwards' }],
    [{ after: 5 }, { limit: 50, after: 5, direction: 'forwards' }],
    [{ after: 0 }, { limit: 50, after: 0, direction: 'forwards' }],
    [{ before: 5 }, { limit: 50, before: 5, direction: 'backwards' }],
    [
      { since: 5, until: 9 },
      { limit: 50, since: 5, until: 9, direction: 'backwards' },
    ],
    [
      { after: 5, direction: 'backwards' },
      { limit: 50, after: 5, direction: 'backwards' },
    ],
  ])('%j reads %j', async (params, range) => {
    expect(await asked('history', { channel: 'c', ...params })).toEqual([['history', 'c', range]])
  })

  it('answers the messages and where they stand', async () => {
    expect(await run('history', { channel: 'general' })).toEqual({
      channel: 'general',
      messages: [message(1), message(2)],
      epoch: 'e1',
      first_sequence: 1,
      sequence: 2,
      has_more: false,
    })
  })

  const long = (size: number) => [1, 2, 3].map((offset) => message(offset, 'x'.repeat(size)))
  const offsets = async (size: number, direction: string) => {
    const session = new Calls()
    session.page = { ...session.page, messages: long(size) }
    const { messages, has_more } = (await run('history', { channel: 'c', direction }, session)) as {
      messages: ChannelMessage[]
      has_more: boolean
    }
    return [messages.map(({ offset }) => offset), has_more]
  }
  it('is cut to 900 KiB at the end that is farther away, and says that there is more', async () => {
    expect(await offsets(300 * 1024, 'forwards')).toEqual([[1, 2], true])
    expect(await offsets(300 * 1024, 'backwards')).toEqual([[2, 3], true])
    expect(await offsets(299 * 1024, 'forwards')).toEqual([[1, 2, 3], false])
  })

  it('has one message at least, or a client would ask for it for ever', async () => {
    expect(await offsets(1_000 * 1024, 'forwards')).toEqual([[1], true])
    expect(await offsets(1_000 * 1024, 'backwards')).toEqual([[3], true])
  })
})

describe('publish', () => {
  it('answers with id, sequence and whether it was there before', async () => {
    const session = new Calls()
    const params = { channel: 'general', content: null, id: 'a', metadata: { b: 1 } }
    expect(await run('publish', params, session)).toEqual({ channel: 'general', id: 'm3', sequence: 3, epoch: 'e1', repeated: true })
    expect(session.calls).toEqual([['publish', { channel: 'general', body: null, id: 'a', metadata: { b: 1 } }]])
  })

  it('refuses what would not fit into a frame', async () => {
    const session = new Calls()
    const refused = run('publish', { channel: 'c', content: 'x'.repeat(MiB) }, session)
    await expect(refused).rejects.toMatchObject({ code: 'message.too_large', rule: 'bus.messageBytes 1048576' })
    expect(session.calls).toEqual([])
  })
})

describe('who the client is', () => {
  it('authenticate checks a token, or a name and a password', async () => {
    expect(await asked('authenticate', { token: 't' })).toEqual([['authenticate', { type: 'token', token: 't' }]])
    const session = new Calls(guest)
    expect(await run('authenticate', { username: 'ann', password: '' }, session)).toEqual({
      user: 'ann',
      tenant: 'acme',
      permissions: ['channel:*'],
    })
    expect(session.calls).toEqual([['authenticate', { type: 'password', username: 'ann', password: '' }]])
  })

  it('authenticate is a name and nothing more where nobody can check it', async () => {
    const session = new Calls(guest)
    const answer = await run('authenticate', { username: 'bob', password: 'x' }, session, { checksPasswords: false })
    expect([answer, session.calls]).toEqual([{ user: 'bob', tenant: '', permissions: ['*'] }, [['rename', 'bob']]])
  })

  it('but not for somebody who has logged in', async () => {
    const session = new Calls(ann)
    await run('authenticate', { username: 'bob', password: 'x' }, session, { checksPasswords: false })
    expect(session.calls[0]?.[0]).toBe('authenticate')
  })

  it('set_status names the client first, if it does', async () => {
    const session = new Calls(guest)
    expect(await run('set_status', { status: 'busy', username: 'bob' }, session)).toEqual({ user: 'bob', status: 'busy' })
    expect(session.calls).toEqual([
      ['rename', 'bob'],
      ['setStatus', 'busy'],
    ])
    expect(await asked('set_status', { status: 'offline', username: '' })).toEqual([['setStatus', 'offline']])
  })

  it('status says who one is, where, and how long the server has run', async () => {
    expect(await run('status', {}, new Calls(), { figures: () => ({ clients: 7 }) })).toEqual({
      server: 'troupe',
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      client: 'c1',
      user: 'ann',
      tenant: 'acme',
      status: 'online',
      channels: [],
      uptime_ms: 5_000,
      clients: 7,
    })
  })
})

describe('ping, help and telemetry', () => {
  it('ping answers with the time', async () => {
    expect(await run('ping', {})).toEqual({ pong: true, timestamp: now + 5_000 })
  })

  it('help lists what the client may run, those of programs, too', async () => {
    const all = () => [...table, { name: 'secret', help: 'x' } as Command, { name: 'analytics', help: 'Of a channel' } as Command]
    const { commands } = (await run('help', {}, new Calls(), { all })) as { commands: { name: string; help: string }[] }
    const names = commands.map(({ name }) => name)
    expect(names).toEqual([...table.map(({ name }) => name), 'analytics'])
    for (const { help } of commands) expect(help).toMatch(/^\S.*\S$/)
  })

  it('help about one command', async () => {
    expect(await run('help', { command: 'ping' })).toEqual({ commands: [{ name: 'ping', help: 'Answers at once' }] })
    await expect(run('help', { command: 'fly' })).rejects.toMatchObject({ code: 'command.unknown' })
  })

  it('all commands of the guide are there, and a few may be run before logging in', () => {
    const guide =
      'status ping authenticate set_status create_channel delete_channel join_channel leave_channel list_channels channel_info members create_room list_rooms history subscribe_telemetry help'
    for (const name of guide.split(' ')) expect(table.map((command) => command.name)).toContain(name)
    const open = table.filter(({ needsAccount }) => needsAccount === false).map(({ name }) => name)
    expect(open).toEqual(['authenticate', 'ping', 'help'])
  })

  it('telemetry is watched, all or some of it, and no more', async () => {
    expect(await asked('subscribe_telemetry', {})).toEqual([['watch', []]])
    expect(await asked('subscribe_telemetry', { events: ['joined'] })).toEqual([['watch', ['joined']]])
    expect(await asked('unsubscribe_telemetry', {})).toEqual([['watch', undefined]])
  })
})

describe('docs/reference/commands.md', () => {
  const page = readFileSync(new URL('../../docs/reference/commands.md', import.meta.url), 'utf8')

  it('has a row for every command, and for nothing else', () => {
    const rows = [...page.matchAll(/^\| `([a-z_]+)` \|/gm)].map(([, name]) => name)
    expect(rows).toEqual(table.map(({ name }) => name))
  })

  it('has the parameters that `help` has', () => {
    for (const { name, help } of table) {
      const row = page.split('\n').find((line) => line.startsWith(`| \`${name}\``)) ?? ''
      const optional = [...help.matchAll(/(\w+)\?/g)].map(([, parameter]) => parameter)
      for (const parameter of optional) expect([name, row]).toEqual([name, expect.stringContaining(`\`${parameter}?\``)])
    }
  })
})
