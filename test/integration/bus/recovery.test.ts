/** Clients of the bus that come back, and what waits for those who are not there. */
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { openRawWebSocket } from '../../support/attacks.ts'
import { type BusClient, connected, type Frame, named } from '../../support/bus.ts'
import { expectOneOrder, Publisher, Subscriber, tally } from '../../support/pressure.ts'
import { serve } from '../../support/service.ts'
import { until } from '../../support/wait.ts'
import { SeededRandom } from '../../support/world.ts'

const seed = Number(process.env.SEED ?? 20_261_121)

describe('a client that comes back', () => {
  const { server, restart } = serve('bus.replayMessages=10')
  const fill = async (client: BusClient, channel: string, count: number) => {
    for (let n = 0; n < count; n++) client.send({ type: 'message', channel, content: { n } })
    await client.settled()
    await until(async () => (await client.command('channel_info', { channel })).data.sequence >= count, 'the messages')
  }
  const heardAfter = (client: BusClient, channel: string) => client.messages(channel).map(({ sequence }) => sequence)

  it('[BV1] gets exactly what it missed, before anything new, and is told so', async () => {
    const writer = await connected(server())
    const first = await connected(server())
    await first.join('missed')
    await writer.publish('missed', 1)
    const { epoch } = (await first.command('channel_info', { channel: 'missed' })).data
    first.terminate()
    for (let n = 2; n <= 8; n++) await writer.publish('missed', n)
    const second = await connected(server())
    writer.send({ type: 'message', channel: 'missed', content: 9 })
    const { data } = await second.join('missed', { recover: { epoch, sequence: 1 } })
    expect(data).toMatchObject({ recovered: true, epoch, replayed: data.sequence - 1 })
    await until(() => second.messages('missed').length === 8, 'the rest')
    expect(heardAfter(second, 'missed')).toEqual([2, 3, 4, 5, 6, 7, 8, 9])
    const up = await connected(server())
    expect((await up.join('missed', { recover: { epoch, sequence: 9 } })).data).toMatchObject({ recovered: true, replayed: 0 })
  })

  it('[BV2] is told when that cannot be had, and gets no part of it', async () => {
    const writer = await connected(server())
    await fill(writer, 'gone', 30)
    const { epoch } = (await writer.command('channel_info', { channel: 'gone' })).data
    const positions = {
      'more than is replayed': { epoch, sequence: 19 },
      'another epoch': { epoch: 'another', sequence: 25 },
      'the future': { epoch, sequence: 31 },
    }
    for (const [what, recover] of Object.entries(positions)) {
      const client = await connected(server())
      expect([what, (await client.join('gone', { recover })).data]).toMatchObject([
        what,
        { recovered: false, replayed: 0, sequence: 30, epoch },
      ])
      await client.settled()
      expect(client.messages()).toEqual([])
    }
    const client = await connected(server())
    expect((await client.join('gone', { recover: { epoch, sequence: 20 } })).data).toMatchObject({ recovered: true, replayed: 10 })
    await writer.command('delete_channel', { channel: 'gone' })
    await fill(writer, 'gone', 25)
    const anew = await connected(server())
    expect((await anew.join('gone', { recover: { epoch, sequence: 20 } })).data.recovered).toBe(false)
  })

  it('[BV3] may ask for the last messages instead, by number or by time', async () => {
    const writer = await connected(server())
    for (let n = 0; n < 6; n++) await writer.publish('rewound', { n })
    const [a, b] = await Promise.all([connected(server()), connected(server())])
    expect((await a.join('rewound', { rewind: 4 })).data).toMatchObject({ recovered: null, replayed: 4 })
    await a.settled()
    expect(heardAfter(a, 'rewound')).toEqual([3, 4, 5, 6])
    const { messages } = (await b.command('history', { channel: 'rewound' })).data
    const at = messages[3].timestamp
    const since = messages.filter(({ timestamp }: Frame) => (timestamp as string) >= at)
    expect((await b.join('rewound', { rewind: { since: at } })).data.replayed).toBe(since.length)
    await b.settled()
    expect(b.contents('rewound')).toEqual(since.map(({ content }: Frame) => content))
  })

  it.each(['SIGTERM', 'SIGKILL'] as const)('[BV4] over %s finds the same epoch and goes on where it was, and so do ids', async (signal) => {
    const channel = `restart-${signal}`
    const before = await connected(server())
    await before.join(channel)
    const first = await before.publish(channel, { n: 1 }, { id: 'one', sender: 'ada' })
    const second = await before.publish(channel, { n: 2 }, { id: 'two', sender: 'ada' })
    await restart(signal)
    if (signal === 'SIGTERM') expect((await before.closed).code).toBe(1012)
    const after = await connected(server())
    expect(await after.publish(channel, { n: 2 }, { id: 'two', sender: 'ada' })).toMatchObject({
      repeated: true,
      sequence: second.sequence,
      epoch: first.epoch,
    })
    expect(await after.publish(channel, { n: 3 }, { id: 'three', sender: 'ada' })).toMatchObject({ repeated: false, sequence: 3 })
    const { data } = await after.join(channel, { recover: { epoch: first.epoch, sequence: first.sequence } })
    expect(data).toMatchObject({ recovered: true, replayed: 2, epoch: first.epoch })
    await until(() => after.messages(channel).filter(({ content }) => (content as { n: number }).n === 3).length > 0, 'the third')
  })
})

describe('a channel that fails', () => {
  const plugin = fileURLToPath(new URL('../../support/saboteurPlugin.mjs', import.meta.url))
  const { server } = serve('bus.replayMessages=1', `plugins=${plugin}`)

  it(`[BV5] comes back, and its members have every message in order, or are told what they missed (seed ${seed})`, async () => {
    const chance = new SeededRandom(seed)
    const channels = ['one', 'two', 'three']
    const [url, faults] = [`${server().ws}/`, [] as string[]]
    const publishers = Array.from({ length: 9 }, (_, index) => {
      const name = `publisher-${index}`
      const messages = Array.from({ length: 300 }, (_, n) => ({ channel: chance.pick(channels), id: `${name}-${n}` }))
      return new Publisher(name, url, { messages, ahead: 20, chance, faults })
    })
    const subscribers = Array.from({ length: 4 }, (_, index) => new Subscriber(`subscriber-${index}`, url, { channels, chance, faults }))
    for (const client of [...subscribers, ...publishers]) client.connect()
    const saboteur = await connected(server())
    let failures = 0
    try {
      await until(() => subscribers.every(({ tracks }) => [...tracks.values()].every(({ prefix }) => prefix > 0)), 'the first messages')
      for (; failures < 15; failures++) {
        const before = publishers.reduce((all, { acknowledged }) => all + acknowledged.size, 0)
        await saboteur.command('sabotage', { channel: chance.pick(channels) })
        const isOver = () =>
          publishers.every(({ isDone }) => isDone) ||
          publishers.reduce((all, { acknowledged }) => all + acknowledged.size, 0) > before + 20 + chance.below(100)
        await until(() => isOver() || faults.length > 0, 'the next messages')
      }
      await expectOneOrder(await connected(server()), channels, { publishers, subscribers, faults })
    } finally {
      for (const client of [...publishers, ...subscribers]) client.stop()
    }
    expect(subscribers.every(({ connections }) => connections === 1)).toBe(true)
    console.info('channels that fail:', { failures, ...tally(publishers, subscribers) })
  })
})

describe('a private message', () => {
  const { server, restart } = serve()

  it('[BX1] goes to all connections of its user and to nobody else, by channel or by recipient', async () => {
    const [ada, ...bobs] = await Promise.all([named(server(), 'ada'), named(server(), 'bob'), named(server(), 'bob')])
    const eve = await named(server(), 'eve')
    await ada.publish('private_bob', { text: 'one' })
    await ada.publish('lobby', { text: 'two' }, { metadata: { recipient: 'bob' } })
    for (const bob of bobs) {
      await until(() => bob.messages().length === 2, 'both messages')
      expect(bob.messages()).toMatchObject([
        { channel: 'private_bob', sender: 'ada', content: { text: 'one' } },
        { channel: 'private_bob', sender: 'ada', content: { text: 'two' }, metadata: { recipient: 'bob' } },
      ])
    }
    await eve.settled()
    expect(eve.messages()).toEqual([])
    for (const command of ['join_channel', 'history', 'members', 'channel_info', 'delete_channel']) {
      const answer = await eve.command(command, { channel: 'private_bob' })
      expect([command, answer.code, answer.rule]).toEqual([command, 'access.denied', expect.any(String)])
    }
    expect((await eve.command('list_channels')).data.channels.filter(({ name }: { name: string }) => name.startsWith('private_'))).toEqual(
      [],
    )
    expect((await bobs[0]?.command('history', { channel: 'private_bob' }))?.data.messages).toHaveLength(2)
  })

  it.each([
    ['is still in memory', undefined],
    ['was restarted', 'SIGKILL'],
  ] as const)('[BX2] waits for a user who is not there, in a server that %s, and comes once', async (_what, signal) => {
    const user = `cora-${signal}`
    const ada = await named(server(), 'ada')
    for (let n = 0; n < 3; n++) await ada.publish(`private_${user}`, { n })
    if (signal !== undefined) await restart(signal)
    const cora = await named(server(), user)
    await until(() => cora.messages().length === 3, 'what waited')
    expect(cora.contents()).toEqual([{ n: 0 }, { n: 1 }, { n: 2 }])
    await until(async () => {
      const again = await named(server(), user)
      await again.settled()
      await again.settled()
      const count = again.messages().length
      again.terminate()
      return count === 0
    }, 'the end of the repetition')
    await (await connected(server())).publish(`private_${user}`, { n: 3 })
    await until(() => cora.messages().length === 4, 'the next one')
  })

  it('[BX3] finds a user whose name is spelled in other characters that look the same', async () => {
    const zoe = await named(server(), 'zoe\u0301')
    const ada = await named(server(), 'ada')
    await ada.publish('private_zo\u00e9', 'one')
    await ada.publish('private_zoe\u0301', 'two')
    await until(() => zoe.messages().length === 2, 'both messages')
    expect(zoe.contents()).toEqual(['one', 'two'])
  })
})

describe('a private message to a connection that is dead', () => {
  const { server } = serve('limits.pingMs=1200', 'limits.pongMs=400')

  it('[BX4] is not taken for delivered because the network took it: it comes to the next one', async () => {
    const frozen = await openRawWebSocket(server().port, '/')
    const login = Buffer.from(JSON.stringify({ type: 'command', command: 'set_status', username: 'dora', status: 'online' }))
    frozen.socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | login.length, 0, 0, 0, 0]), login]))
    await until(() => frozen.received().includes('command_response'), 'its name')
    frozen.socket.pause()
    await (await named(server(), 'ada')).publish('private_dora', 'are you there?')
    await until(
      () => server().lines.some(({ msg }) => msg === 'a client that answers no ping is disconnected'),
      'the end of the frozen one',
    )
    const dora = await named(server(), 'dora')
    await until(() => dora.messages().length === 1, 'the message')
    frozen.socket.destroy()
  })
})
