import { describe, expect, it } from 'vitest'
import type { Account } from '../../actors/account.ts'
import { TroupeError } from '../../actors/errors.ts'
import { SlidingWindows } from '../../actors/rate.ts'
import { quiet } from '../support/world.ts'
import { type BusClient, BusHouse, command, commanding, gate, publishing, type Settings } from './busHouse.ts'

/** A command that is answered when the test says so. */
const slow = (name = 'slow') => {
  const waiting = gate<unknown>()
  return { ...waiting, command: command(name, () => waiting.passed) }
}

const admin: Partial<Account> = { permissions: ['*', 'admin'] }

/** Accounts by their token. */
const logins = (accounts: Record<string, Partial<Account>>): Pick<Settings, 'authenticate'> => ({
  authenticate: async (credentials) => {
    const account = accounts[credentials.type === 'token' ? credentials.token : credentials.username]
    if (account === undefined) throw new TroupeError('auth.failed')
    return { user: 'ada', tenant: '', isAnonymous: false, permissions: ['*'], ...account }
  },
})

/** What was heard since the last look, without presence and answers. */
const messages = (client: BusClient): string[] => client.news().filter((one) => /^\S+ \d+ /.test(one))

const texts = (count: number, from = 1) => Array.from({ length: count }, (_, i) => `m${from + i}`)

describe('what a client says', () => {
  it('[CC1] takes effect in the order in which it came; a publish does not wait for the disk before the next one goes', async () => {
    const house = await BusHouse.boot()
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    house.disk.hold()
    for (const text of ['a', 'b', 'c']) ada.say(publishing('news', text))
    await quiet()
    expect(house.disk.waiting).toBe(1)
    house.disk.release()
    await house.clock.advance(100)
    expect(bob.news()).toEqual(['news 1 "a"', 'news 2 "b"', 'news 3 "c"'])
  })

  it('[CC2] waits for the command before it, and a command waits for the commands before it', async () => {
    const { command, open } = slow()
    const house = await BusHouse.boot({ commands: [command] })
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    ada.say(commanding('slow'), publishing('news', 'later'), commanding('ping'))
    await house.clock.advance(100)
    expect([ada.news(), bob.news(), ada.owed]).toEqual([[], [], 3])
    open('done')
    await quiet()
    await house.clock.advance(100)
    expect(ada.news()).toEqual(['answer slow', 'answer ping', 'news 1 "later"'])
    expect(bob.news()).toEqual(['news 1 "later"'])
    expect(ada.owed).toBe(0)
  })

  it('[CC2] waits for a hook that takes its time', async () => {
    const waiting = gate()
    const house = await BusHouse.boot({ hooks: { onPublish: (_, { body }) => (body === 'a' ? waiting.passed : undefined) } })
    const [ada] = await house.members(['ada'], 'news')
    ada.say(publishing('news', 'a'), publishing('news', 'b'))
    ada.say(commanding('ping'))
    await house.clock.advance(100)
    expect(ada.news()).toEqual([])
    waiting.open()
    await house.clock.advance(100)
    expect(ada.news()).toEqual(['answer ping', 'news 1 "a"', 'news 2 "b"'])
  })

  it('[CC3] is acknowledged when it is on disk, if that is asked for, with its place', async () => {
    const house = await BusHouse.boot()
    const ada = house.connect('ada')
    house.disk.hold()
    const publish = publishing('news', 'a', { id: 'm1' }, true)
    ada.say(publish)
    await quiet()
    expect(ada.heard).toEqual([])
    house.disk.release()
    await quiet()
    ada.say(publish)
    await quiet()
    expect(ada.heard).toEqual(['news 1 "a"', 'ack news 1', 'ack news 1 again'])
  })

  it('[CC4] that is refused is answered with its code and the rule that refused it; what is no refusal is not shown', async () => {
    const house = await BusHouse.boot({
      allowedCommands: ['join_channel', 'status', 'broken', 'odd'],
      channelsPerClient: 1,
      hooks: {
        onPublish: (_, { body }) => {
          if (body === 'rude') throw new TroupeError('hook.rejected', 'be polite', { rule: 'manners' })
          if (body === 'later') return Promise.reject(new TroupeError('hook.rejected', 'too late'))
          if (body === 'bug') throw new Error('secret')
        },
      },
      commands: [
        command('broken', () => {
          throw new Error('secret')
        }),
        command('odd', () => 1n),
      ],
    })
    const ada = house.connect('ada', { account: { permissions: ['*', '!channel:secret', '!command:status'] } })
    await ada.join('news')
    ada.say(publishing('secret', 1), publishing('$telemetry', 1), publishing('news', 'rude'), publishing('news', 'later'))
    ada.say(publishing('news', 'bug'), { type: 'request.bad', ref: 0, refusal: { code: 'message.malformed', message: 'what?' } })
    for (const name of ['status', 'ping', 'nothing', 'broken']) ada.say(commanding(name))
    ada.sink.sending = (output) => void JSON.stringify(output)
    ada.say(commanding('odd'), commanding('join_channel', { channel: 'more' }), commanding('join_channel', {}))
    await quiet()
    const told = ada.refusals.map(({ code, message, rule }) => `${code} | ${message} | ${rule ?? ''}`)
    expect(told).toEqual([
      'access.denied | the account may not do this: !channel:secret | !channel:secret',
      'channel.bad_name | the name cannot be that of a channel: it begins with ~ or $ | ',
      'hook.rejected | be polite | manners',
      'hook.rejected | too late | ',
      'command.failed | the command failed | ',
      'message.malformed | what? | ',
      'access.denied | the account may not do this: !command:status | !command:status',
      'access.denied | the account may not do this: ping | bus.allowedCommands',
      'command.unknown | there is no such command: nothing | ',
      'command.failed | the command failed | ',
      'command.failed | the command failed | ',
      'channel.too_many | the client is in as many channels as it may be | bus.channelsPerClient 1',
      'command.bad_parameters | the parameters of the command are not right: channel: required | ',
    ])
    expect(ada.owed).toBe(0)
    expect(house.observed.filter((one) => one === 'refused command.failed')).toHaveLength(3)
  })

  it('[CC5] is dealt with frame by frame, each exactly once, whatever becomes of its requests', async () => {
    const { command: slowly, open } = slow()
    const house = await BusHouse.boot({
      commands: [slowly, command('fails', () => Promise.reject(new TroupeError('command.failed', 'no')))],
      hooks: { onPublish: (_, { body }) => (body === 'no' ? Promise.reject(new TroupeError('hook.rejected')) : undefined) },
    })
    const ada = house.connect('ada')
    ada.say()
    ada.say({ type: 'request.heartbeat' })
    ada.say({ type: 'request.bad', ref: 0, refusal: { code: 'message.malformed', message: '' } }, { type: 'request.heartbeat' })
    ada.say(publishing('$no', 1), publishing('news', 'no'), publishing('news', 1), commanding('none'), commanding('fails'))
    await quiet()
    expect(ada.sink.handledMessages).toBe(8)
    house.disk.hold()
    ada.say(publishing('news', 2), commanding('ping'))
    ada.say(commanding('slow'), publishing('news', 3))
    await quiet()
    expect(ada.sink.handledMessages).toBe(8)
    house.disk.refuse('storage.full')
    house.disk.release()
    await quiet()
    expect(ada.sink.handledMessages).toBe(10)
    open(null)
    await quiet()
    expect(ada.owed).toBe(0)
    expect(ada.refusals.map(({ code }) => code)).toContain('storage.full')
  })

  it('[CC6] is limited by connection and by user; what is too much is refused with the time to wait, and counts for nothing', async () => {
    const house = await BusHouse.boot({ requestsPerMinute: 3, userRequests: new SlidingWindows(5, 60_000) })
    const [one, two] = ['ada1', 'ada2'].map((id) => house.connect(id, { account: { user: 'ada', isAnonymous: false } })) as [
      BusClient,
      BusClient,
    ]
    for (let n = 0; n < 5; n++) {
      one.say(commanding('ping'))
      two.say(commanding('ping'), { type: 'request.heartbeat' })
      await quiet()
    }
    const refused = [...one.refusals, ...two.refusals]
    expect(refused.map(({ code, rule, retryAfterMs }) => [code, rule, retryAfterMs])).toEqual([
      ['rate.limited', 'requests of one connection', 60_000],
      ['rate.limited', 'requests of one connection', 60_000],
      ['rate.limited', 'requests of one user', 60_000],
      ['rate.limited', 'requests of one connection', 60_000],
      ['rate.limited', 'requests of one connection', 60_000],
    ])
    await house.clock.advance(60_000)
    expect(await one.run('ping')).toMatchObject({ pong: true })
  })

  it('[CC7] and publishes is heard by itself as its protocol has it: as a member, never, or a few times where it is none', async () => {
    const house = await BusHouse.boot({ echoBudget: 2 })
    const heard = async (id: string, echo: 'members' | 'budget' | 'never', acknowledges = false) => {
      const client = house.connect(id, { manners: { echo, acknowledges } })
      for (const text of ['a', 'b', 'c']) await client.publish('news', text)
      await client.join('home')
      client.news()
      for (const text of ['d', 'e']) await client.publish('home', text)
      return [client.heard.filter((one) => one.startsWith('news ')).length, client.news()]
    }
    expect(await heard('budget', 'budget')).toEqual([2, ['home 1 "d"', 'home 2 "e"']])
    expect(await heard('member', 'members')).toEqual([0, ['home 3 "d"', 'home 4 "e"']])
    expect(await heard('never', 'never', true)).toEqual([0, ['ack home 5', 'ack home 6']])
  })

  it('[CC7] and is repeated, or comes while it joins, is no echo: who becomes a member hears it once', async () => {
    const house = await BusHouse.boot()
    const ada = house.connect('ada')
    house.disk.hold()
    ada.say(publishing('news', 'a'), commanding('join_channel', { channel: 'news' }))
    await quiet()
    house.disk.release()
    await quiet()
    await ada.publish('other', 'b', { id: 'm' })
    await ada.publish('other', 'b', { id: 'm' })
    expect(ada.heard).toEqual(['answer join_channel', 'news 1 "a"', 'other 1 "b"'])
  })

  it('[CC7] and is stored while a hook looks at its join is no echo either', async () => {
    const waiting = gate()
    const house = await BusHouse.boot({ hooks: { onJoin: () => waiting.passed } })
    const ada = house.connect('ada')
    ada.say(publishing('news', 'a'), commanding('join_channel', { channel: 'news' }))
    await quiet()
    waiting.open()
    await quiet()
    await ada.publish('news', 'b')
    expect(ada.heard).toEqual(['answer join_channel', 'news 2 "b"'])
  })

  it('[CC8] in a channel that it must join first is refused before any hook sees it', async () => {
    const seen: unknown[] = []
    const house = await BusHouse.boot({ hooks: { onPublish: (_, { body }) => void seen.push(body) } })
    const ada = house.connect('ada', { manners: { mustJoinToPublish: true } })
    await ada.publish('news', 1)
    await ada.join('news')
    await ada.publish('news', 2)
    await ada.run('leave_channel', { channel: 'news' })
    await ada.publish('news', 3)
    expect([ada.refusals.map(({ code }) => code), seen]).toEqual([['channel.not_joined', 'channel.not_joined'], [2]])
  })
})

describe('the answer to a command', () => {
  it('[CC9] is the next thing that a client hears: messages, presence, acks, refusals and heartbeats wait, in their order', async () => {
    const { command, open } = slow()
    const house = await BusHouse.boot({ commands: [command] })
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    const carl = house.connect('carl', { manners: { heartbeatMs: 100 } })
    await carl.join('news')
    await Promise.all([carl.publish('news', 1, {}, true), carl.publish('$no', 1)])
    for (const one of [ada, bob, carl]) one.news()
    house.disk.hold()
    carl.say(publishing('news', 2, {}, true))
    await quiet()
    carl.say(commanding('slow'))
    house.disk.release()
    await quiet()
    await bob.run('leave_channel', { channel: 'news' })
    await house.clock.advance(150)
    await bob.publish('news', 3)
    await house.clock.advance(100)
    expect(carl.news()).toEqual([])
    open('done')
    await quiet()
    expect(carl.news()).toEqual(['answer slow', 'news 2 2', 'ack news 2', 'bob left news', 'heartbeat', 'news 3 3', 'heartbeat'])
  })

  it('[CC10] that takes longer than a second no longer holds back what other channels say', async () => {
    const { passed, open } = gate()
    const house = await BusHouse.boot({
      commands: [
        command('visit', async (_, session) => {
          await session.join('home')
          await passed
        }),
      ],
    })
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    ada.say(commanding('visit'))
    await quiet()
    await bob.publish('news', 1)
    await bob.publish('home', 2)
    await house.clock.advance(999)
    expect(ada.news()).toEqual([])
    await house.clock.advance(1)
    expect(ada.news()).toEqual(['news 1 1'])
    await bob.publish('news', 3)
    expect(ada.news()).toEqual(['news 2 3'])
    open()
    await quiet()
    expect(ada.news()).toEqual(['answer visit', 'home 1 2'])
  })

  it('[CC11] does not make a client cost memory without a bound: it is disconnected and comes back', async () => {
    const { command } = slow()
    const house = await BusHouse.boot({ commands: [command], bus: { maxWindowMs: 0 } })
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    ada.say(commanding('slow'))
    for (let n = 0; n < 1_000; n++) await bob.publish('news', n)
    expect(ada.sink.closing).toBeUndefined()
    await bob.publish('news', 1_000)
    expect(ada.sink.closing).toEqual({ code: 'connection.slow', detail: 'while a command was answered' })
    expect(ada.isThere).toBe(false)
  }, 20_000)

  it('[CC12] that is no JSON is a refusal, and a door that fails ends its client and nobody else', async () => {
    const house = await BusHouse.boot({ commands: [command('odd', () => 1n)] })
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    ada.sink.sending = (output) => void JSON.stringify(output)
    expect(await ada.run('odd')).toMatchObject({ code: 'command.failed' })
    ada.sink.sending = ({ type }) => {
      if (type === 'output.acknowledged') throw new Error('no word for it')
    }
    ada.say(publishing('news', 1, {}, true))
    await quiet()
    expect([ada.isThere, ada.sink.closing?.code, bob.news()]).toEqual([false, 'channel.unavailable', ['news 1 1']])
  })
})

describe('a channel that a client is in', () => {
  it('[CC13] is heard from the join on, what was missed before what is new', async () => {
    const house = await BusHouse.boot()
    const [bob] = await house.members(['bob'], 'news')
    for (const text of texts(3)) await bob.publish('news', text)
    const ada = house.connect('ada')
    const joined = await ada.run('join_channel', { channel: 'news', recover: { epoch: 'epoch3', sequence: 1 } })
    expect(joined).toMatchObject({ recovered: true, sequence: 3, messages: [{ body: 'm2' }, { body: 'm3' }], channels: ['news'] })
    await bob.publish('news', 'm4')
    expect(ada.heard).toEqual(['answer join_channel', 'news 4 "m4"'])
  })

  it('[CC14] and joins again loses nothing, whatever is published at the same time', async () => {
    const house = await BusHouse.boot({
      commands: [command('look', async (_, session) => (await session.join('news')).messages)],
    })
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    for (const again of ['join_channel', 'look']) {
      // Both are in the mailbox of the channel before the client hears of either.
      bob.say(publishing('news', again))
      ada.say(commanding(again, { channel: 'news' }))
      await house.clock.advance(100)
    }
    expect(ada.news()).toEqual(['answer join_channel', 'news 1 "join_channel"', 'answer look', 'news 2 "look"'])
    house.disk.hold()
    bob.say(publishing('news', 'x'))
    await quiet()
    ada.say(commanding('join_channel', { channel: 'news' }))
    house.disk.release()
    await house.clock.advance(100)
    expect(ada.news()).toEqual(['answer join_channel', 'news 3 "x"'])
  })

  it('[CC14] and is told where it is, not where the channel is: what lies between follows', async () => {
    const { passed, open } = gate()
    const house = await BusHouse.boot({ commands: [command('look', (_, session) => passed.then(() => session.join('news')))] })
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    const look = ada.run('look')
    await bob.publish('news', 1)
    open()
    await quiet()
    expect(await look).toBeUndefined() // not answered when it was quiet
    const answer = ada.sink.outputs.find((output) => output.type === 'output.answer' && output.command === 'look')
    expect(answer).toMatchObject({ data: { offset: 0, messages: [], isNew: false } })
    expect(ada.news()).toEqual(['answer look', 'news 1 1'])
  })

  it('[CC15] and stops is joined again from where the client is', async () => {
    const house = await BusHouse.boot()
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    await bob.publish('news', 1)
    house.system.stop('channel/news')
    bob.say(publishing('news', 2))
    await quiet()
    await bob.publish('news', 3)
    expect(messages(ada)).toEqual(['news 1 1', 'news 2 2', 'news 3 3'])
    expect(await house.present('news')).toEqual({ users: ['ada', 'bob'], connections: 2 })
  })

  it('[CC15] also when it stops after it has answered and before the client hears it, at whatever moment', async () => {
    const house = await BusHouse.boot()
    const [bob] = await house.members(['bob'])
    const ada = house.connect('ada', { manners: { hasPresence: false } })
    for (let turns = 0; turns < 20; turns++) {
      const channel = `after${turns}`
      await bob.publish(channel, 0)
      ada.say(commanding('join_channel', { channel, rewind: { since: 0 } }))
      for (let turn = 0; turn < turns; turn++) await Promise.resolve()
      house.system.stop(`channel/${channel}`)
      await quiet()
      await bob.publish(channel, 1)
      const { channels } = await ada.run('status')
      // Refused, where the channel stopped before it answered.
      expect([channel, messages(ada)]).toEqual([channel, channels.includes(channel) ? [`${channel} 2 1`] : []])
    }
    const { channels } = await ada.run('status')
    expect(channels.length).toBeGreaterThan(10)
  })

  it('[CC15] while a command is answered, what was missed comes after the answer and before what is new', async () => {
    const { command, open } = slow()
    const house = await BusHouse.boot({ commands: [command], bus: { replayMessages: 300 } })
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    ada.say(commanding('slow'))
    await quiet()
    house.system.stop('channel/news')
    await bob.publish('news', 1)
    await bob.publish('news', 2)
    await house.clock.advance(100)
    open(null)
    await quiet()
    await bob.publish('news', 3)
    const told = ada.news()
    expect([told[0], ...told.filter((one) => one.startsWith('news '))]).toEqual(['answer slow', 'news 1 1', 'news 2 2', 'news 3 3'])
  })

  it('[CC16] and cannot be reached is tried until it can, and nothing is lost, nor does a command that fails to join it end that', async () => {
    const house = await BusHouse.boot()
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    await bob.publish('news', 1)
    house.breakReads(true)
    house.system.stop('channel/news')
    await house.clock.advance(2_500)
    expect(await ada.run('join_channel', { channel: 'news' })).toMatchObject({ code: 'journal.corrupt' })
    ada.news()
    house.breakReads(false)
    await bob.publish('news', 2)
    await house.clock.advance(1_000)
    await bob.publish('news', 3)
    expect(ada.news()).toEqual(['news 2 2', 'news 3 3'])
    expect(house.logged.filter((text) => text === 'a channel could not be joined')).toHaveLength(3)
  })

  it('[CC17] from which too much was missed says where it goes on', async () => {
    const house = await BusHouse.boot({ bus: { replayMessages: 2 } })
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    await bob.publish('news', 'm1')
    house.system.tell('channel/news', { type: 'channel.leave' }, ada.address) // it hears nothing, and does not know
    for (const text of texts(3, 2)) await bob.publish('news', text)
    house.system.stop('channel/news')
    await quiet()
    await bob.publish('news', 'm5')
    expect(ada.news().filter((one) => one.includes('news ') && !one.startsWith('bob'))).toEqual([
      'news 1 "m1"',
      'gap news 4',
      'news 5 "m5"',
    ])
  })

  it('[CC17] and begins another life while a command is answered does not pass for the one before', async () => {
    const { command, open } = slow()
    const house = await BusHouse.boot({ commands: [command] })
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    ada.say(commanding('slow'))
    await bob.publish('news', 'old')
    house.disk.remove('channel/news')
    house.system.stop('channel/news')
    await quiet()
    for (const text of texts(3)) await bob.publish('news', text)
    open(null)
    await quiet()
    await bob.publish('news', 'm4')
    const told = ada.news().filter((one) => !one.startsWith('bob'))
    expect(told).toEqual(['answer slow', 'news 1 "old"', 'gap news 3', 'news 4 "m4"'])
  })

  it('[CC18] and is deleted says so once, after what was published before, and is not made anew by those who were in it', async () => {
    const { command, open } = slow()
    const house = await BusHouse.boot({ commands: [command] })
    const [ada, bob, carl] = await house.members(['ada', 'bob', 'carl'], 'news', 'home')
    carl.say(commanding('slow'))
    await bob.publish('news', 1)
    await ada.run('delete_channel', { channel: 'news' })
    await house.clock.advance(3_000)
    expect(ada.news()).toEqual(['news 1 1', 'answer delete_channel', 'news deleted'])
    expect(bob.news()).toEqual(['news 1 1', 'news deleted'])
    expect(await bob.run('list_channels')).toMatchObject({ channels: [{ name: 'home' }] })
    expect(await bob.run('leave_channel', { channel: 'news' })).toMatchObject({ left: false, channels: ['home'] })
    open(null)
    await quiet()
    expect(carl.news()).toEqual(['news 1 1', 'news deleted', 'answer slow'])
    expect([house.isThere('channel/news'), house.logged]).toEqual([false, []])
  })

  it('[CC18] also while it is being joined again', async () => {
    const house = await BusHouse.boot()
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    await bob.publish('news', 1)
    ada.say(commanding('join_channel', { channel: 'news' }))
    bob.say(commanding('delete_channel', { channel: 'news' }))
    await house.clock.advance(3_000)
    expect(ada.news()).toEqual(['news 1 1', 'answer join_channel', 'news deleted'])
    expect(house.isThere('channel/news')).toBe(false)
    expect(await ada.run('list_channels')).toMatchObject({ channels: [] })
  })

  it('[CC18] also when it was deleted while it could not be reached', async () => {
    const house = await BusHouse.boot({ bus: { autoCreate: false } })
    const bob = house.connect('bob')
    await bob.run('create_channel', { channel: 'news' })
    const [ada] = await house.members(['ada'], 'news')
    await bob.publish('news', 1)
    ada.news()
    house.breakReads(true)
    house.system.stop('channel/news')
    await house.clock.advance(500)
    house.breakReads(false)
    await bob.run('delete_channel', { channel: 'news' })
    await house.clock.advance(3_000)
    expect(ada.news()).toEqual(['news deleted'])
    expect(await ada.run('status')).toMatchObject({ channels: [] })
  })

  it('[CC18] also while it is tried in vain', async () => {
    const house = await BusHouse.boot()
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    await bob.publish('news', 1)
    ada.news()
    house.breakReads(true)
    house.system.stop('channel/news')
    await house.clock.advance(500)
    const output = { type: 'output.closed', channel: 'news', isRoom: false, reason: 'deleted', at: 0 } as const
    ada.tell({ type: 'client.push', output }, 'channel/news')
    await house.clock.advance(3_000)
    expect([ada.news(), await ada.run('status')]).toMatchObject([['news deleted'], { channels: [] }])
  })

  it('[CC18] also for a command that leaves it in the same breath, or joins the next one of its name', async () => {
    const house = await BusHouse.boot({
      commands: [
        command('clear', async (_, session) => {
          await session.delete('news')
          await session.leave('news')
        }),
        command('renew', async (_, session) => {
          await session.delete('home')
          await session.join('home')
        }),
      ],
    })
    const [ada, bob] = await house.members(['ada', 'bob'], 'news', 'home')
    await ada.run('clear')
    await ada.run('renew')
    await house.clock.advance(3_000)
    expect(bob.news()).toEqual(['news deleted', 'home deleted'])
    expect(await bob.run('list_channels')).toMatchObject({ channels: [{ name: 'home' }] })
    await bob.publish('home', 1)
    expect(ada.news()).toEqual(['answer clear', 'answer renew', 'home 1 1'])
    expect(await house.present('home')).toEqual({ users: ['ada'], connections: 1 })
  })

  it('[CC19] and leaves stays left, though it is being joined again', async () => {
    const house = await BusHouse.boot()
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    await bob.publish('news', 1)
    ada.news()
    house.system.stop('channel/news')
    ada.say(commanding('leave_channel', { channel: 'news' }), commanding('status'))
    await quiet()
    expect(await ada.run('status')).toMatchObject({ channels: [] })
    house.system.stop('channel/news')
    await bob.publish('news', 2)
    expect(ada.news()).toEqual(['answer leave_channel', 'answer status', 'answer status'])
    expect(await house.present('news')).toEqual({ users: ['bob'], connections: 1 })
    await bob.run('leave_channel', { channel: 'news' })
    const handled = house.system.handled().get('client')
    house.system.stop('channel/news')
    await quiet()
    expect(house.system.handled().get('client')).toBe(handled) // nobody hears of it any more
  })

  it('[CC19] and what it said before is not heard after the leaving is answered', async () => {
    const { passed, open } = gate()
    const house = await BusHouse.boot({ commands: [command('go', (_, session) => passed.then(() => session.leave('news')))] })
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    ada.say(commanding('go'))
    await bob.publish('news', 1)
    open()
    await quiet()
    expect(ada.news()).toEqual(['answer go'])
  })

  it('[CC19] a join that is not answered in time is undone when it is', async () => {
    const house = await BusHouse.boot()
    const [bob] = await house.members(['bob'], 'home')
    await bob.publish('news', 1)
    house.system.stop('channel/news')
    const waiting = gate()
    const { head } = house.journals
    house.journals.head = (journal) => waiting.passed.then(() => head.call(house.journals, journal))
    const ada = house.connect('ada')
    ada.say(commanding('join_channel', { channel: 'news' }))
    await house.clock.advance(30_000)
    expect(ada.heard).toEqual(['refused join_channel channel.unavailable'])
    waiting.open()
    await quiet()
    expect(await house.present('news')).toEqual({ users: [], connections: 0 })
  })

  it('[CC20] is that one and no other: what does not come from it is not heard', async () => {
    const house = await BusHouse.boot()
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    const message = { channel: 'news', offset: 1, epoch: 'e', time: 0, id: 'i', user: 'x', sender: 'x', client: '', body: 'no', kind: 'm' }
    const output = { type: 'output.messages', channel: 'news', messages: [message] } as const
    for (const from of [undefined, 'channel/~other/news', 'channel/old']) ada.tell({ type: 'client.push', output }, from)
    await quiet()
    await bob.publish('news', 'yes')
    expect(ada.news()).toEqual(['news 1 "yes"'])
  })

  it('[CC21] that takes it for a member though it is none is told so', async () => {
    const house = await BusHouse.boot()
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    const join = { type: 'channel.join', user: 'ada', status: 'online', isPresent: true }
    await house.system.ask('channel/old', join).catch(() => {})
    house.system.tell('channel/old', join, ada.address)
    await bob.publish('old', 1)
    expect(await house.present('old')).toEqual({ users: [], connections: 0 })
    expect(ada.news()).toEqual([])
  })

  it('[CC22] tells of the others and not of oneself, and only those who want to hear of them', async () => {
    const house = await BusHouse.boot()
    const [ada] = await house.members(['ada'], 'news')
    const reader = house.connect('reader', { manners: { hasPresence: false } })
    await reader.join('news')
    const [bob] = await house.members(['bob'], 'news')
    await bob.run('set_status', { status: 'away' })
    await bob.close()
    await house.clock.advance(5_000)
    expect(ada.news()).toEqual(['bob joined news', 'bob away news', 'bob left news'])
    expect(reader.heard).toEqual(['answer join_channel'])
  })

  it('[CC23] never hears its own messages where its protocol has it so, not even when it was gone for a while', async () => {
    const house = await BusHouse.boot()
    const ada = house.connect('ada', { manners: { echo: 'never' } })
    await ada.join('news')
    house.system.stop('channel/news')
    ada.say(publishing('news', 'own'))
    await quiet()
    const [bob] = await house.members(['bob'], 'news')
    await bob.publish('news', 'other')
    expect(ada.heard.slice(1)).toEqual(['bob joined news', 'news 2 "other"'])
  })
})

describe('private messages', () => {
  const inbox = (n: number, body: unknown) => `private_ada ${n} ${JSON.stringify(body)}`

  it('[CC24] come to every connection of a user, those from before first, and once where they were read', async () => {
    const house = await BusHouse.boot()
    const bob = house.connect('bob')
    await bob.publish('private_ada', 'early')
    const [ada] = await house.members(['ada'], 'news')
    const other = house.connect('other', { account: { user: 'ada', isAnonymous: false } })
    await bob.publish('private_ada', 'late')
    await other.close()
    await house.clock.advance(500)
    expect(ada.heard).toEqual(['answer join_channel', inbox(1, 'early'), inbox(2, 'late')])
    expect(other.heard).toEqual([inbox(1, 'early'), inbox(2, 'late')])
    await ada.close()
    const again = house.connect('again', { account: { user: 'ada', isAnonymous: false } })
    await house.clock.advance(100)
    expect(again.heard).toEqual([])
  })

  it('[CC24] that are told while a command is answered come after it, the oldest first', async () => {
    const { passed, open } = gate()
    const become = command('become', async (_, session) => {
      await session.rename('ada')
      await passed
    })
    const house = await BusHouse.boot({ commands: [become] })
    const bob = house.connect('bob')
    for (const text of ['a', 'b']) await bob.publish('private_ada', text)
    const ada = house.connect('x')
    ada.say(commanding('become'))
    await quiet()
    await bob.publish('private_ada', 'c')
    open()
    await quiet()
    expect(ada.heard).toEqual(['answer become', inbox(1, 'a'), inbox(2, 'b'), inbox(3, 'c')])
  })

  it('[CC25] are not taken for read while the network has not taken them, or takes nothing any more', async () => {
    const house = await BusHouse.boot()
    const bob = house.connect('bob')
    const arrive = (id: string) => house.connect(id, { account: { user: 'ada', isAnonymous: false } })
    const slowReader = arrive('slow')
    await quiet()
    slowReader.sink.isFrozen = true
    await bob.publish('private_ada', 'a')
    await house.clock.advance(2_000)
    slowReader.tell({ type: 'connection.gone' })
    const closing = arrive('closing')
    await quiet()
    expect(closing.heard).toEqual([inbox(1, 'a')])
    closing.sink.isClosing = true
    await bob.publish('private_ada', 'b')
    await house.clock.advance(2_000)
    closing.tell({ type: 'connection.gone' })
    const last = arrive('last')
    await quiet()
    expect(last.heard).toEqual([inbox(1, 'a'), inbox(2, 'b')])
    last.sink.isFrozen = true
    await bob.publish('private_ada', 'c')
    await house.clock.advance(1_000)
    last.sink.thaw()
    await house.clock.advance(500)
    last.tell({ type: 'connection.gone' })
    const nothing = arrive('nothing')
    await quiet()
    expect(nothing.heard).toEqual([])
  })

  it('[CC25] are not taken for read while the client answers no ping that came after them', async () => {
    const house = await BusHouse.boot()
    const bob = house.connect('bob')
    const arrive = (id: string) => house.connect(id, { account: { user: 'ada', isAnonymous: false } })
    const cut = arrive('cut')
    cut.sink.pinged = () => {}
    await quiet()
    await bob.publish('private_ada', 'a')
    await house.clock.advance(10_000)
    expect([cut.heard, cut.sink.closing?.code]).toEqual([[inbox(1, 'a')], 'cut'])
    const next = arrive('next')
    await house.clock.advance(1_000)
    await bob.publish('private_ada', 'b') // not yet looked at when it closes
    await next.close()
    const last = arrive('last')
    await quiet()
    expect([next.heard, last.heard]).toEqual([[inbox(1, 'a'), inbox(2, 'b')], [inbox(2, 'b')]])
  })

  it('[CC25] are not taken for read for the answer to an earlier ping', async () => {
    const house = await BusHouse.boot()
    const bob = house.connect('bob')
    const arrive = (id: string) => house.connect(id, { account: { user: 'ada', isAnonymous: false } })
    const cut = arrive('cut')
    cut.sink.pinged = () => {}
    await house.clock.advance(25_000)
    await bob.publish('private_ada', 'a')
    await house.clock.advance(600)
    cut.tell({ type: 'connection.pong' })
    await quiet()
    cut.tell({ type: 'connection.gone' })
    const next = arrive('next')
    await quiet()
    expect(next.heard).toEqual([inbox(1, 'a')])
  })

  it('[CC26] are waited for when the inbox cannot be opened at first', async () => {
    const house = await BusHouse.boot()
    const bob = house.connect('bob')
    house.disk.refuse('storage.full')
    const ada = house.connect('ada', { account: { isAnonymous: false } })
    await house.clock.advance(3_000)
    house.disk.refuse(undefined)
    await house.clock.advance(2_000)
    await bob.publish('private_ada', 'a')
    expect(ada.heard).toEqual([inbox(1, 'a')])
  })

  it('[CC27] are for those who have the name now: whoever takes another while the inbox is opened does not hear the former', async () => {
    const house = await BusHouse.boot()
    await house.connect('early').publish('private_ada', 'secret')
    house.system.stop('channel/private_ada')
    const eve = house.connect('x')
    eve.say(commanding('authenticate', { username: 'ada', password: '' }), commanding('authenticate', { username: 'eve', password: '' }))
    await quiet()
    await house.connect('bob').publish('private_ada', 'another secret')
    await house.connect('bob2').publish('private_eve', 'for eve')
    expect(eve.heard).toEqual(['answer authenticate', 'answer authenticate', 'private_eve 1 "for eve"'])
    expect(await house.present('private_ada')).toMatchObject({ connections: 0 })
  })

  it('[CC28] still come once when the inbox is joined by hand; it cannot be left, is no channel of the client, and others cannot read it', async () => {
    const house = await BusHouse.boot({ channelsPerClient: 1 })
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    await bob.publish('private_ada', 'a')
    expect(await ada.run('join_channel', { channel: 'private_ada', rewind: 5 })).toMatchObject({
      messages: [{ body: 'a' }],
      channels: ['news'],
    })
    expect(await ada.run('leave_channel', { channel: 'private_ada' })).toMatchObject({ left: false })
    expect(await bob.run('join_channel', { channel: 'private_ada' })).toMatchObject({ code: 'access.denied' })
    await bob.publish('private_ada', 'b')
    await house.clock.advance(500)
    expect(ada.news()).toEqual([inbox(1, 'a'), 'answer join_channel', 'answer leave_channel', inbox(2, 'b')])
    await ada.close()
    const again = house.connect('again', { account: { user: 'ada', isAnonymous: false } })
    await house.clock.advance(100)
    expect(again.heard).toEqual([])
  })

  it('[CC29] come again after the user has deleted all of them', async () => {
    const house = await BusHouse.boot()
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    await bob.publish('private_ada', 'a')
    await ada.run('delete_channel', { channel: 'private_ada' })
    await house.clock.advance(2_000)
    await bob.publish('private_ada', 'b')
    expect(ada.news()).toEqual([inbox(1, 'a'), 'answer delete_channel', 'private_ada deleted', inbox(1, 'b')])
  })
})

describe('who a client is', () => {
  it('[CC30] is the name that it first speaks in, for whoever did not log in; what is no name changes nothing', async () => {
    const house = await BusHouse.boot()
    const ada = house.connect('x')
    await ada.join('news')
    const [bob] = await house.members(['bob'], 'news')
    for (const sender of ['~root/bob', 'zero\u200bwidth', 'y'.repeat(200)]) await ada.publish('news', 'hm', { sender })
    await ada.publish('news', 1, { sender: 'ada' })
    await ada.publish('news', 2, { sender: 'somebody' })
    await ada.publish('news', 3)
    expect(bob.news().slice(3)).toEqual(['x left news', 'ada joined news', 'news 4 1', 'news 5 2', 'news 6 3'])
    expect(await ada.run('status')).toMatchObject({ user: 'ada' })
    expect(await house.present('news')).toEqual({ users: ['ada', 'bob'], connections: 2 })
    await bob.publish('private_ada', 'hi')
    expect(ada.heard.at(-1)).toBe('private_ada 1 "hi"')
  })

  it('[CC30] or the one that it gives itself; an account keeps its own', async () => {
    const house = await BusHouse.boot(logins({ token: admin }))
    const ada = house.connect('x')
    for (const username of ['~a', 'a\u202eb', 'a\u0000', '\u00e9'.repeat(65)])
      expect(await ada.run('set_status', { status: 'online', username })).toMatchObject({ code: 'command.bad_parameters' })
    expect(await ada.run('set_status', { status: 'online', username: 'Ame\u0301lie' })).toMatchObject({ user: 'Am\u00e9lie' })
    await ada.run('authenticate', { token: 'token' })
    expect(await ada.run('set_status', { status: 'online', username: 'bob' })).toMatchObject({ code: 'access.denied' })
    await ada.publish('news', 1, { sender: 'bob' })
    expect(await ada.run('status')).toMatchObject({ user: 'ada' })
  })

  it('[CC31] changes with a login; what the new account may not read is left, and the client is told after the answer', async () => {
    const house = await BusHouse.boot(logins({ narrow: { ...admin, permissions: ['channel:news', 'command:*'] }, other: { tenant: 't' } }))
    const ada = house.connect('x')
    await ada.join('news', 'home')
    const [bob] = await house.members(['bob'], 'news', 'home')
    ada.news()
    await ada.run('authenticate', { token: 'narrow' })
    expect(ada.news()).toEqual(['answer authenticate', 'home forbidden'])
    expect(bob.news()).toEqual(['x left home', 'x left news', 'ada joined news'])
    await bob.publish('private_ada', 'hi')
    expect(ada.news()).toEqual(['private_ada 1 "hi"'])
    await ada.run('authenticate', { token: 'other' })
    await bob.publish('private_ada', 'not for the ada of another tenant')
    await bob.publish('news', 1)
    expect(ada.news()).toEqual(['answer authenticate', 'news forbidden'])
    expect(house.roster.get(ada.address)).toMatchObject({ tenant: 't' })
    expect(await house.present('news')).toEqual({ users: ['bob'], connections: 1 })
  })

  it('[CC31] a join that is under way then is left with the others', async () => {
    const house = await BusHouse.boot({
      ...logins({ narrow: { ...admin, permissions: ['command:*'] } }),
      commands: [
        command('both', async (_, session) => {
          const joining = session.join('news').then(
            () => 'joined',
            ({ code }) => code,
          )
          await session.authenticate({ type: 'token', token: 'narrow' })
          return joining
        }),
      ],
    })
    const ada = house.connect('x')
    expect(await ada.run('both')).toBe('channel.not_joined')
    expect(ada.heard).toEqual(['answer both', 'news forbidden'])
    expect(await house.present('news')).toEqual({ users: [], connections: 0 })
  })

  it('[CC31] so that nobody reads the private messages of who it was, where it had joined them by hand', async () => {
    const house = await BusHouse.boot(logins({ eve: { user: 'eve' } }))
    const ada = house.connect('x', { manners: { hasInbox: false }, account: { user: 'ada', isAnonymous: false } })
    await ada.join('private_ada')
    await ada.run('authenticate', { token: 'eve' })
    await house.connect('bob').publish('private_ada', 'secret')
    expect(ada.heard).toEqual(['answer join_channel', 'answer authenticate', 'private_ada forbidden'])
  })

  it('[CC32] decides what it sees of the server, from then on', async () => {
    const house = await BusHouse.boot(logins({ none: { permissions: ['command:*'] }, admin: { permissions: ['*', 'admin'] } }))
    const ada = house.connect('x')
    await ada.run('subscribe_telemetry', { events: ['connected'] })
    const connect = async (id: string, tenant: string) => {
      house.connect(id, { account: { tenant, isAnonymous: false } })
      await house.clock.advance(200)
      return ada.news().filter((one) => one.startsWith('telemetry'))
    }
    expect([await connect('a', ''), await connect('b', 't')]).toEqual([['telemetry connected a'], []])
    await ada.run('authenticate', { token: 'admin' })
    expect([await connect('c', ''), await connect('d', 't')]).toEqual([['telemetry connected c'], ['telemetry connected d']])
    await ada.run('authenticate', { token: 'none' })
    expect(await connect('e', '')).toEqual([])
    expect(house.tap.isOn).toBe(false)
  })

  it('[CC33] is checked by hooks when it comes with credentials and when it shows them later', async () => {
    const house = await BusHouse.boot({
      ...logins({ token: { user: 'bob' } }),
      hooks: {
        onAuthenticate: async (_, account) => (account.user === 'bob' ? { ...account, user: 'robert' } : undefined),
        onConnect: ({ account }) => {
          if (account.user === 'mallory') throw new TroupeError('access.denied', 'not you')
        },
      },
    })
    const early = house.connect('a', { account: { user: 'bob', isAnonymous: false }, hasLoggedIn: true })
    await quiet()
    expect(await early.run('status')).toMatchObject({ user: 'robert' })
    const late = house.connect('b')
    await late.run('authenticate', { token: 'token' })
    expect([...house.roster.values()].map(({ user }) => user)).toEqual(['robert', 'robert'])
    const mallory = house.connect('c', { account: { user: 'mallory' } })
    await quiet()
    expect([mallory.heard, mallory.sink.closing?.code, mallory.isThere]).toEqual([['refused access.denied'], 'access.denied', false])
  })

  it('[CC34] must be shown in time where a login is required, and until then nothing but that is possible', async () => {
    const house = await BusHouse.boot({ ...logins({ token: {} }), isLoginRequired: true })
    const [late, never] = [house.connect('late'), house.connect('never')]
    late.say(publishing('news', 1), commanding('status'), commanding('nothing'), commanding('ping'))
    await quiet()
    await house.clock.advance(9_999)
    await late.run('authenticate', { token: 'wrong' })
    await late.run('authenticate', { token: 'token' })
    await house.clock.advance(1)
    expect(never.sink.closing?.code).toBe('auth.required')
    expect(late.heard).toEqual([
      'refused auth.required',
      'refused status auth.required',
      'refused nothing auth.required',
      'answer ping',
      'refused authenticate auth.failed',
      'answer authenticate',
    ])
    expect(await late.run('status')).toMatchObject({ user: 'ada' })
    expect(house.observed.filter((one) => one.startsWith('login'))).toEqual(['login auth.failed', 'login ok'])
  })

  it('[CC35] ends with its account; one with another time takes its place', async () => {
    const house = await BusHouse.boot(logins({ longer: { expiresAt: 1_000_000 + 5_000 }, endless: {} }))
    const arrive = (id: string) => house.connect(id, { account: { isAnonymous: false, expiresAt: 1_000_000 + 1_000 } })
    const [short, longer, endless] = [arrive('short'), arrive('longer'), arrive('endless')]
    await longer.run('authenticate', { token: 'longer' })
    await endless.run('authenticate', { token: 'endless' })
    await house.clock.advance(1_000)
    expect([short.sink.closing?.code, longer.isThere, endless.isThere]).toEqual(['auth.expired', true, true])
    await house.clock.advance(10_000)
    expect([longer.sink.closing?.code, endless.isThere, house.roster.size]).toEqual(['auth.expired', true, 1])
  })
})

describe('the status of a client', () => {
  const arrive = (house: BusHouse, id: string) => house.connect(id, { account: { user: 'ada', isAnonymous: false } })

  it('[CC36] is that of its user, on all connections, whichever set it, and in the channels that are being joined, too', async () => {
    const house = await BusHouse.boot()
    const [one, two] = [arrive(house, 'one'), arrive(house, 'two')]
    await one.join('news')
    house.disk.hold()
    two.say(commanding('join_channel', { channel: 'home' }))
    await one.run('set_status', { status: 'away' })
    house.disk.release()
    await quiet()
    expect([await house.present('news'), await house.present('home')]).toEqual([
      { users: ['ada away'], connections: 1 },
      { users: ['ada away'], connections: 1 },
    ])
    const three = arrive(house, 'three')
    await three.join('news')
    expect([await three.run('status'), await house.present('news')]).toMatchObject([{ status: 'away' }, { users: ['ada away'] }])
    // Both at once: the last one holds for all.
    one.say(commanding('set_status', { status: 'online' }))
    two.say(commanding('set_status', { status: 'busy' }))
    await quiet()
    for (const each of [one, two, three]) expect(await each.run('status')).toMatchObject({ status: 'busy' })
  })

  it('[CC36] also when the actor of the user was stopped meanwhile', async () => {
    const house = await BusHouse.boot()
    const [one, two] = [arrive(house, 'one'), arrive(house, 'two')]
    await quiet()
    house.system.stop('user/ada')
    await quiet()
    await one.run('set_status', { status: 'busy' })
    expect(await two.run('status')).toMatchObject({ status: 'busy' })
  })

  it('[CC37] is not that of a user that it was for a moment', async () => {
    const names = command('names', async (_, session) => {
      await session.rename('ada')
      await session.rename('zoe')
    })
    const house = await BusHouse.boot({ commands: [names] })
    await arrive(house, 'one').run('set_status', { status: 'away' })
    const [bob] = await house.members(['bob'], 'news')
    const client = house.connect('x')
    await client.join('news')
    await client.run('names')
    expect(bob.news()).toEqual(['x joined news', 'x left news', 'ada joined news', 'ada left news', 'zoe joined news'])
  })

  it('[CC37] is not that of the user that it was', async () => {
    const house = await BusHouse.boot(logins({ eve: { user: 'eve' } }))
    const [one, two] = [arrive(house, 'one'), arrive(house, 'two')]
    one.say(commanding('authenticate', { token: 'eve' }))
    two.say(commanding('set_status', { status: 'busy' }))
    await quiet()
    two.say(commanding('set_status', { status: 'away' }))
    one.tell({ type: 'client.status', status: 'away' }, 'user/ada')
    await quiet()
    expect([await one.run('status'), await two.run('status')]).toMatchObject([{ user: 'eve', status: 'online' }, { status: 'away' }])
  })

  it('[CC38] is offline while nothing is heard of it, and what it was as soon as something is', async () => {
    const house = await BusHouse.boot({ silentMs: 5_000 })
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    await house.clock.advance(4_000)
    bob.say({ type: 'request.heartbeat' })
    ada.news()
    await house.clock.advance(2_000)
    expect(bob.news()).toEqual(['ada offline news'])
    expect((await house.present('news')).users).toEqual(['ada offline', 'bob'])
    ada.say({ type: 'request.heartbeat' })
    await quiet()
    expect(bob.news()).toEqual(['ada online news'])
  })
})

describe('the end of a client', () => {
  it('[CC39] waits for what it said before: a login, a command and a message sent in one breath are done', async () => {
    const house = await BusHouse.boot(logins({ token: {} }))
    const [bob] = await house.members(['bob'], 'news')
    const ada = house.connect('x', { account: { permissions: [] } })
    ada.say(commanding('authenticate', { token: 'token' }))
    ada.say(commanding('join_channel', { channel: 'news' }), publishing('news', 'bye'))
    await ada.close()
    await house.clock.advance(5_000)
    expect(bob.news()).toEqual(['ada joined news', 'news 1 "bye"', 'ada left news'])
    expect([ada.isThere, ada.heard]).toEqual([false, []])
  })

  it('[CC39] and does not make anew what is deleted meanwhile', async () => {
    const { command } = slow()
    const house = await BusHouse.boot({ commands: [command] })
    const [ada, bob] = await house.members(['ada', 'bob'], 'news')
    ada.say(commanding('slow'))
    await ada.close()
    await bob.run('delete_channel', { channel: 'news' })
    await house.clock.advance(2_000)
    expect([await bob.run('list_channels'), house.logged]).toMatchObject([{ channels: [] }, []])
  })

  it('[CC39] although it has private messages that nobody can read any more', async () => {
    const { command } = slow()
    const house = await BusHouse.boot({ commands: [command] })
    const ada = house.connect('ada', { account: { isAnonymous: false } })
    await house.connect('bob').publish('private_ada', 'a')
    ada.sink.pinged = () => {}
    ada.say(commanding('slow'))
    await ada.close()
    await house.clock.advance(20_000)
    expect(ada.isThere).toBe(true)
  })

  it('[CC39] but not for ever', async () => {
    const { command } = slow()
    const house = await BusHouse.boot({ commands: [command] })
    const ada = house.connect('ada')
    ada.say(commanding('slow'))
    await ada.close()
    ada.sink.pinged = () => {}
    expect(ada.isThere).toBe(true)
    await house.clock.advance(33_000)
    expect(ada.isThere).toBe(false)
  })

  it('[CC40] is told to those hooks that let it in', async () => {
    const seen: string[] = []
    const waiting = gate()
    const house = await BusHouse.boot({
      hooks: {
        onConnect: ({ account }) => {
          seen.push(`${account.user} comes`)
          if (account.user === 'mallory') throw new TroupeError('hook.rejected')
          return account.user === 'late' ? waiting.passed : undefined
        },
        onLeave: ({ account }, channel) => void seen.push(`${account.user} leaves ${channel}`),
        onDisconnect: ({ account }) => void seen.push(`${account.user} goes`),
      },
    })
    const ada = house.connect('ada')
    house.connect('mallory')
    const late = house.connect('late')
    await ada.join('news', 'home')
    await ada.run('leave_channel', { channel: 'news' })
    late.sink.closing = undefined
    late.tell({ type: 'connection.close', code: 'auth.revoked', detail: '' })
    await ada.close()
    expect(seen).toEqual(['ada comes', 'mallory comes', 'late comes', 'ada leaves news', 'ada goes'])
    waiting.open()
    await quiet()
    expect(seen.at(-1)).toBe('late goes')
    expect(house.roster.size).toBe(0)
  })

  it('[CC41] in the middle of anything leaves nothing behind', async () => {
    const late = gate()
    const house = await BusHouse.boot({
      ...logins({ token: {} }),
      authenticate: async () => {
        await late.passed
        return { user: 'eve', tenant: '', isAnonymous: false, permissions: ['*'] }
      },
      hooks: {
        onJoin: ({ account }, channel) => (channel === 'guarded' && account.user !== 'bob' ? late.passed : undefined),
        onAuthenticate: (_, account) => (account.user === 'early' ? late.passed.then(() => ({ ...account, user: 'earl' })) : undefined),
      },
    })
    const bob = house.connect('bob', { manners: { hasInbox: false } })
    await bob.join('guarded')
    await bob.publish('deep', 1)
    house.disk.hold()
    const requests = [
      commanding('authenticate', { token: 'token' }),
      commanding('join_channel', { channel: 'guarded' }),
      commanding('join_channel', { channel: 'new' }),
      commanding('join_channel', { channel: 'deep', rewind: { since: 0 } }),
      commanding('set_status', { status: 'away', username: 'zoe' }),
    ]
    const clients = requests.map((request, n) => {
      const client = house.connect(`c${n}`)
      client.say(request)
      return client
    })
    clients.push(house.connect('c', { account: { user: 'early', isAnonymous: false }, hasLoggedIn: true }))
    await quiet()
    for (const client of clients) client.tell({ type: 'connection.close', code: 'auth.revoked', detail: '' })
    await quiet()
    late.open()
    house.disk.release()
    await house.clock.advance(10_000)
    expect([house.roster.size, house.system.counts().get('client'), house.system.counts().get('user')]).toEqual([1, 1, 0])
    expect([bob.heard.slice(2), house.observed.filter((one) => one === 'login ok')]).toEqual([[], []])
    for (const channel of ['new', 'deep']) expect(await house.present(channel)).toEqual({ users: [], connections: 0 })
    for (const channel of ['new', 'deep', 'guarded', 'private_eve', 'private_zoe']) house.system.stop(`channel/${channel}`)
    await bob.close()
    await house.clock.advance(200_000)
    expect([house.logged, [...house.system.counts()].filter(([kind, count]) => count > 0 && kind !== 'directory')]).toEqual([[], []])
  })
})
