/** Presence and rooms over the wire, and over restarts. */
import { describe, expect, it } from 'vitest'
import { type BusClient, connected, isoTime, named } from '../../support/bus.ts'
import { serve } from '../../support/service.ts'
import { until } from '../../support/wait.ts'

const aTime = expect.stringMatching(isoTime)

describe('presence', () => {
  const graceMs = 400
  const { server, restart } = serve(`bus.graceMs=${graceMs}`, 'bus.silentMs=1200', 'limits.pingMs=30000')
  const summary = (client: BusClient) =>
    client.events().map(({ content }) => [content.type, content.user, ...('status' in content ? [content.status] : [])])
  /** Signs of life, so that nobody counts as silent. */
  const lively = (...clients: BusClient[]): (() => void) => {
    const timer = setInterval(() => {
      for (const client of clients) if (client.socket.readyState === client.socket.OPEN) client.send({ type: 'heartbeat' })
    }, 300)
    return () => clearInterval(timer)
  }

  it('[BP1] tells the others, and not oneself, who comes, how somebody is, and who leaves', async () => {
    const [ada, bob] = await Promise.all([named(server(), 'ada'), named(server(), 'bob')])
    const stop = lively(ada, bob)
    await ada.join('presence')
    expect((await bob.join('presence')).data.members.map(({ user }: { user: string }) => user).sort()).toEqual(['ada', 'bob'])
    await bob.command('set_status', { status: 'away' })
    await bob.command('set_status', { status: 'away' })
    await bob.command('leave_channel', { channel: 'presence' })
    await until(() => ada.events('user_left').length > 0, 'the end')
    expect(ada.events().map(({ content }) => content)).toMatchObject([
      { type: 'user_joined', user: 'bob', channel: 'presence', status: 'online' },
      { type: 'user_status', user: 'bob', channel: 'presence', status: 'away' },
      { type: 'user_left', user: 'bob', channel: 'presence' },
    ])
    expect(ada.events()[0]).toMatchObject({ type: 'event', timestamp: aTime, channel: 'presence' })
    expect(bob.events()).toEqual([])
    stop()
  })

  it('[BP2] counts a user with two connections once, and as gone only when both are', async () => {
    const watcher = await named(server(), 'watcher')
    await watcher.join('twice')
    const [first, second] = await Promise.all([named(server(), 'cora'), named(server(), 'cora')])
    const stop = lively(watcher, first, second)
    for (const client of [first, second]) await client.join('twice')
    const { members } = (await watcher.command('members', { channel: 'twice' })).data
    expect(members.find(({ user }: { user: string }) => user === 'cora')).toMatchObject({ connections: 2, status: 'online' })
    await first.command('set_status', { status: 'busy' })
    await until(() => watcher.events('user_status').length > 0, 'the status')
    expect((await second.command('status')).data.status).toBe('busy')
    first.terminate()
    await second.command('leave_channel', { channel: 'twice' })
    await until(() => watcher.events('user_left').length > 0, 'the end')
    expect(summary(watcher).map(([type, user]) => [type, user])).toEqual([
      ['user_joined', 'cora'],
      ['user_status', 'cora'],
      ['user_left', 'cora'],
    ])
    stop()
  })

  it('[BP3] says nothing of a connection that comes back within the grace, and `lost` when it does not', async () => {
    const watcher = await named(server(), 'watcher')
    await watcher.join('grace')
    const first = await named(server(), 'dora')
    const stop = lively(watcher)
    await first.join('grace')
    await until(() => watcher.events('user_joined').length === 1, 'Dora')
    first.terminate()
    const second = await named(server(), 'dora')
    await second.join('grace')
    second.terminate()
    await until(() => watcher.events('user_left').length === 1, 'the end of Dora')
    expect(watcher.events().map(({ content }) => [content.type, content.reason])).toEqual([
      ['user_joined', undefined],
      ['user_left', 'lost'],
    ])
    const { members } = (await watcher.command('members', { channel: 'grace' })).data
    expect(members.map(({ user }: { user: string }) => user)).toEqual(['watcher'])
    stop()
  })

  it('[BP4] takes a client that gives no sign of life for offline, and one that does so again for online', async () => {
    const [watcher, silent] = await Promise.all([named(server(), 'watcher'), named(server(), 'silent')])
    const stop = lively(watcher)
    await watcher.join('silence')
    await silent.join('silence')
    await until(() => watcher.events('user_offline').length === 1, 'the silence')
    silent.send({ type: 'heartbeat' })
    await until(() => watcher.events('user_online').length === 1, 'the sign of life')
    expect(summary(watcher)).toEqual([
      ['user_joined', 'silent', 'online'],
      ['user_offline', 'silent', 'offline'],
      ['user_online', 'silent', 'online'],
    ])
    expect(silent.frames.filter(({ type }) => type !== 'command_response')).toEqual([])
    stop()
  })

  it.each(['SIGTERM', 'SIGKILL'] as const)('[BP5] after %s shows those who came back, and nobody else', async (signal) => {
    const channel = `deploy-${signal}`
    const before = await Promise.all(['ada', 'bob', 'cora'].map((name) => named(server(), name)))
    for (const client of before) await client.join(channel)
    await before[0]?.publish(channel, 'there is a history')
    await restart(signal)
    const [ada, bob] = await Promise.all(['ada', 'bob'].map((name) => named(server(), name)))
    if (ada === undefined || bob === undefined) throw new Error('unreachable')
    const stop = lively(ada, bob)
    await ada.join(channel)
    await bob.join(channel)
    const users = async () => (await ada.command('members', { channel })).data.members.map(({ user }: { user: string }) => user).sort()
    await until(async () => (await users()).join() === 'ada,bob', 'the members')
    const about = ada.events().map(({ content }) => `${content.type} ${content.user}`)
    // In good order the old process notes who is there: no storm. After a kill nobody knows, and Bob is new.
    expect(about).toEqual(signal === 'SIGTERM' ? ['user_left cora'] : ['user_joined bob'])
    stop()
  })

  it('[BP6] is not for those who joined nothing: they hear of nobody', async () => {
    const [outsider, insider] = await Promise.all([named(server(), 'outsider'), named(server(), 'insider')])
    await insider.join('closed')
    await insider.command('set_status', { status: 'away' })
    await outsider.settled()
    expect(outsider.events()).toEqual([])
  })
})

describe('a room', () => {
  const { server, restart } = serve()

  it('[BR1] is a channel with an end: its members are told, its history is gone, its name is free', async () => {
    const client = await connected(server())
    const made = (await client.command('create_room', { room: 'game', ttl: 1 })).data
    expect(made).toMatchObject({ room: 'game', channel: 'game', ttl: 1, expires_at: aTime })
    expect((await client.command('create_room', { room: 'game', ttl: 1 })).code).toBe('channel.exists')
    expect((await client.command('create_room', { room: 'other', ttl: -1 })).code).toBe('command.bad_parameters')
    const { data } = await client.join('game')
    expect(data).toMatchObject({ room: true, expires_at: made.expires_at })
    await client.publish('game', 'x')
    const rooms = async () => (await client.command('list_rooms')).data.rooms.map(({ name }: { name: string }) => name)
    expect(await rooms()).toContain('game')
    expect((await client.command('list_channels')).data.channels).toEqual([])
    const event = await client.frame(({ type }) => type === 'event')
    expect(event).toMatchObject({ channel: 'game', content: { type: 'room_expired' } })
    expect((event.timestamp as string) >= made.expires_at).toBe(true)
    expect(await rooms()).not.toContain('game')
    const again = await client.join('game')
    expect(again.data).toMatchObject({ room: false, sequence: 0 })
  })

  it.each(['SIGTERM', 'SIGKILL'] as const)('[BR2] keeps its deadline over %s, be it before or after the restart', async (signal) => {
    const over = async (ttl: number) => {
      const [soon, later] = [`soon-${signal}-${ttl}`, `later-${signal}-${ttl}`]
      const before = await connected(server())
      await before.command('create_room', { room: soon, ttl: 0.15 })
      const { data } = await before.command('create_room', { room: later, ttl })
      for (const channel of [soon, later]) await before.publish(channel, 'x')
      await restart(signal)
      const after = await connected(server())
      const joined = await after.join(later, { rewind: 10 })
      return { soon, later, after, data, joined, isLate: Date.now() >= Date.parse(data.expires_at) }
    }
    let found = await over(2)
    // A machine with much to do may need longer for the restart than the second room has: then there is one with more time.
    for (const ttl of [6, 18]) if (found.isLate) found = await over(ttl)
    const { soon, later, after, data, joined } = found
    expect(joined.data).toMatchObject({ expires_at: data.expires_at, replayed: 1 })
    await until(async () => (await after.command('channel_info', { channel: soon })).data?.sequence !== 1, 'the end of the first')
    const event = await after.frame(({ type }) => type === 'event')
    expect(event).toMatchObject({ channel: later, content: { type: 'room_expired' } })
    expect((event.timestamp as string) >= data.expires_at).toBe(true)
  })
})
