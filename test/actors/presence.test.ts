import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Status } from '../../actors/output.ts'
import { Presence, type PresenceChange } from '../../actors/presence.ts'
import { ChannelHouse } from './channelHouse.ts'
import { quiet } from './house.ts'

const graceMs = 5_000

/** `ada joined`, `ada away`, `ada left (lost)` */
const told = (changes: readonly PresenceChange[]): string[] =>
  changes.map(({ change, user, status, reason }) =>
    change === 'status' ? `${user} ${status}` : `${user} ${change}${reason === undefined ? '' : ` (${reason})`}`,
  )

const present = (user: string, status: Status = 'online', isPresent = true) => ({ user, client: `client of ${user}`, status, isPresent })

describe('presence', () => {
  it('[PR1] a user comes with the first of its connections and leaves with the last', () => {
    const presence = new Presence(graceMs)
    expect(told(presence.join('c/1', present('ada'), 0))).toEqual(['ada joined'])
    expect(told(presence.join('c/2', present('ada'), 1))).toEqual([])
    expect(presence.members()).toEqual([{ user: 'ada', status: 'online', connections: 2, joinedAt: 0, lastSeen: 1 }])
    expect(told(presence.leave('c/1', 2))).toEqual([])
    expect(told(presence.leave('c/2', 3))).toEqual(['ada left (left)'])
    expect(told(presence.leave('c/2', 4))).toEqual([])
    expect(presence.members()).toEqual([])
  })

  it('[PR2] a user is as present as the most present of its connections: online, busy, away, offline', () => {
    const presence = new Presence(graceMs)
    const seen: Status[] = []
    const note = (changes: PresenceChange[]) => {
      for (const { status, before } of changes) seen.push(before, status)
    }
    presence.join('c/1', present('ada', 'away'), 0)
    note(presence.join('c/2', present('ada', 'offline'), 0))
    expect(seen).toEqual([])
    note(presence.join('c/2', present('ada', 'busy'), 0))
    note(presence.join('c/1', present('ada', 'online'), 0))
    note(presence.leave('c/1', 0))
    note(presence.join('c/2', present('ada', 'offline'), 0))
    expect(seen).toEqual(['away', 'busy', 'busy', 'online', 'online', 'busy', 'busy', 'offline'])
  })

  it('[PR3] a user whose last connection was lost is listed as offline for the grace, then leaves as lost', () => {
    const presence = new Presence(graceMs)
    presence.join('c/1', present('ada', 'busy'), 0)
    expect(told(presence.lose('c/1', 100, 100))).toEqual([])
    expect(presence.members()).toEqual([{ user: 'ada', status: 'offline', connections: 0, joinedAt: 0, lastSeen: 100 }])
    expect(presence.nextGrace).toBe(5_100)
    expect(told(presence.expire(5_099))).toEqual([])
    expect(presence.expire(5_100)).toEqual([
      { change: 'left', user: 'ada', client: 'client of ada', status: 'offline', before: 'busy', reason: 'lost' },
    ])
    expect([presence.members(), presence.nextGrace]).toEqual([[], undefined])
  })

  it('[PR4] back within the grace nothing is told, unless the status is another', () => {
    const presence = new Presence(graceMs)
    presence.join('c/1', present('ada'), 0)
    presence.lose('c/1', 100, 100)
    expect(told(presence.join('c/2', present('ada'), 5_000))).toEqual([])
    presence.lose('c/2', 5_000, 5_000)
    expect(told(presence.join('c/3', present('ada', 'away'), 5_001))).toEqual(['ada away'])
    expect(told(presence.expire(99_999))).toEqual([])
  })

  it('[PR21] back within the grace, after somebody saw it listed as offline, it is told', () => {
    const presence = new Presence(graceMs)
    presence.join('c/1', present('ada'), 0)
    presence.lose('c/1', 100, 100)
    presence.members()
    const back = presence.join('c/2', present('ada'), 200)
    expect(back).toMatchObject([{ change: 'status', user: 'ada', before: 'online', status: 'online' }])
    presence.lose('c/2', 300, 300)
    expect(told(presence.join('c/3', present('ada'), 400))).toEqual([])
  })

  it('[PR5] without a grace who is lost has left', () => {
    const presence = new Presence(0)
    presence.join('c/1', present('ada'), 0)
    expect(told(presence.lose('c/1', 1, 1))).toEqual(['ada left (lost)'])
  })

  it('[PR6] a connection that goes by another name leaves as the one and comes as the other', () => {
    const presence = new Presence(graceMs)
    presence.join('c/1', present('client_1'), 0)
    expect(told(presence.join('c/1', present('ada'), 1))).toEqual(['client_1 left (left)', 'ada joined'])
    presence.join('c/2', present('ada'), 1)
    expect(told(presence.join('c/2', present('bob'), 1))).toEqual(['bob joined'])
  })

  it('[PR7] readers are connections, and neither listed nor told', () => {
    const presence = new Presence(graceMs)
    expect(told(presence.join('c/1', present('ada', 'online', false), 0))).toEqual([])
    expect([presence.connectionCount, presence.userCount, [...presence.listeners]]).toEqual([1, 0, []])
    expect(told(presence.join('c/1', present('ada'), 0))).toEqual(['ada joined'])
    expect([...presence.listeners]).toEqual(['c/1'])
    expect(told(presence.join('c/1', present('ada', 'online', false), 0))).toEqual(['ada left (left)'])
    expect(told(presence.lose('c/1', 0, 0))).toEqual([])
  })

  it('[PR8] who was present in the last process has the grace to come back', () => {
    const before = new Presence(graceMs)
    for (const user of ['ada', 'bob', 'eve']) before.join(`c/${user}`, present(user), 0)
    before.lose('c/eve', 900, 900)
    const presence = new Presence(graceMs)
    presence.restore(before.save(), 1_000)
    expect(presence.members()).toMatchObject([
      { user: 'ada', status: 'online', connections: 0, joinedAt: 0 },
      { user: 'bob', status: 'online' },
      { user: 'eve', status: 'online' },
    ])
    expect(told(presence.join('c/9', present('ada'), 5_999))).toEqual([])
    expect(told(presence.expire(6_000))).toEqual(['bob left (lost)', 'eve left (lost)'])
    expect(presence.members()).toMatchObject([{ user: 'ada', status: 'online', connections: 1, joinedAt: 0 }])
  })

  it('[PR9] whatever happens, those who only hear the changes know who is present', () => {
    const connection = fc.constantFrom('c/1', 'c/2', 'c/3', 'c/4')
    const user = fc.constantFrom('ada', 'bob')
    const status = fc.constantFrom<Status>('online', 'busy', 'away', 'offline')
    const step = fc.oneof(
      fc.record({ do: fc.constant('join' as const), connection, user, status, isPresent: fc.boolean() }),
      fc.record({ do: fc.constantFrom('leave' as const, 'lose' as const), connection }),
      fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1_000, graceMs) }),
    )
    let heard = 0
    fc.assert(
      fc.property(fc.array(step, { minLength: 30, maxLength: 60 }), (steps) => {
        const presence = new Presence(graceMs)
        const known = new Map<string, Status>()
        let now = 0
        for (const each of steps) {
          let changes: PresenceChange[] = []
          if (each.do === 'wait') changes = presence.expire((now += each.ms))
          else if (each.do === 'join') changes = presence.join(each.connection, { ...each, client: each.connection }, now)
          else changes = each.do === 'leave' ? presence.leave(each.connection, now) : presence.lose(each.connection, now, now)
          for (const { change, user: name, status: is, before } of changes) {
            heard++
            expect(before).toBe(known.get(name) ?? 'offline')
            expect(known.has(name)).toBe(change !== 'joined')
            if (change === 'left') known.delete(name)
            else known.set(name, is)
          }
          const members = presence.members()
          expect(new Set(known.keys())).toEqual(new Set(members.map((member) => member.user)))
          for (const member of members) if (member.connections > 0) expect(known.get(member.user)).toBe(member.status)
        }
        presence.expire(now + graceMs)
        expect(presence.members().every(({ connections }) => connections > 0)).toBe(true)
      }),
      { seed: 9, numRuns: 300 },
    )
    expect(heard).toBeGreaterThan(1_000)
  })
})

describe('presence in a channel', () => {
  const boot = async () => {
    const house = await ChannelHouse.boot({ graceMs })
    await house.join('eve', 'news')
    await house.publish('eve', 'news', 'first')
    house.hears('eve').length = 0
    return house
  }

  it('[PR10] those who are present are told who comes, changes and goes, with the offset; readers are not', async () => {
    const house = await boot()
    await house.join('rob', 'news', { isPresent: false })
    await house.join('ada', 'news', { status: 'busy' })
    await house.ask('ada', 'channel/news', { type: 'channel.status', status: 'away' } as never)
    await house.leave('ada', 'news')
    const common = { type: 'output.presence', channel: 'news', user: 'ada', client: 'ada', offset: 1, at: house.clock.now() }
    expect(house.presence('eve')).toMatchObject([
      { ...common, change: 'joined', status: 'busy', before: 'offline' },
      { ...common, change: 'status', status: 'away', before: 'busy' },
      { ...common, change: 'left', status: 'offline', before: 'away', reason: 'left' },
    ])
    expect(new Set(house.presence('eve').map(({ id }) => id)).size).toBe(3)
    expect(house.presence('rob')).toEqual([])
    expect((await house.describe('news')).connections).toBe(2)
    expect(await house.members('news')).toMatchObject([{ user: 'eve', connections: 1 }])
  })

  it('[PR11] a connection that is lost and comes back within the grace is not noticed; one that does not has left', async () => {
    const house = await boot()
    await house.join('ada', 'news')
    house.lose('ada')
    await house.clock.advance(4_000)
    const back = await house.join('ada2', 'news')
    expect([back.isNew, back.isAnnounced]).toEqual([true, false])
    house.lose('ada2')
    await house.clock.advance(4_999)
    expect(await house.members('news')).toMatchObject([{ user: 'eve' }, { user: 'ada', status: 'offline', connections: 0 }])
    expect(house.news('eve')).toEqual(['ada joined'])
    await house.clock.advance(1)
    expect(house.news('eve')).toEqual(['ada joined', 'ada left (lost)'])
  })

  it('[PR12] publishing is a sign of life', async () => {
    const house = await boot()
    await house.clock.advance(7_000)
    await house.publish('eve', 'news', 1)
    expect(await house.members('news')).toMatchObject([{ user: 'eve', lastSeen: house.clock.now(), joinedAt: house.clock.now() - 7_000 }])
  })

  it('[PR13] a restart in good order: who comes back in time is not announced again, who does not has left', async () => {
    const house = await boot()
    for (const client of ['ada', 'bob']) await house.join(client, 'news')
    house.lose('bob')
    await quiet()
    await house.reboot()
    await house.clock.advance(60_000)
    house.hears('eve').length = 0
    const eve = await house.join('eve', 'news')
    expect(eve.isAnnounced).toBe(false)
    expect(eve.members).toMatchObject([
      { user: 'eve', status: 'online' },
      { user: 'ada', status: 'online', connections: 0 },
      { user: 'bob', status: 'online', connections: 0 },
    ])
    await house.clock.advance(3_000)
    await house.join('ada', 'news')
    await house.clock.advance(2_000)
    expect(house.news('eve')).toEqual(['bob left (lost)'])
    expect(await house.members('news')).toMatchObject([{ user: 'eve' }, { user: 'ada', status: 'online' }])
  })

  it('[PR14] after a crash nobody is there until he comes back, and nobody who left is announced once more', async () => {
    const house = await boot()
    await house.join('ada', 'news')
    await house.reboot()
    await house.join('eve', 'news')
    await house.clock.advance(6_000)
    await house.crash()
    house.hears('eve').length = 0
    expect((await house.join('eve', 'news')).members).toMatchObject([{ user: 'eve', connections: 1 }])
    await house.clock.advance(60_000)
    expect(house.news('eve')).toEqual([])
    expect(await house.members('news')).toHaveLength(1)
  })

  it('[PR15] a crash right after the restart: whoever the old list names leaves within the grace', async () => {
    const house = await boot()
    await house.join('ada', 'news')
    await house.reboot()
    await house.join('eve', 'news')
    await house.crash()
    house.hears('eve').length = 0
    await house.join('eve', 'news')
    await house.clock.advance(graceMs)
    expect(house.news('eve')).toEqual(['ada left (lost)'])
    expect(await house.members('news')).toHaveLength(1)
  })
})

describe('a user', () => {
  const status = (house: ChannelHouse, client: string, to: Status) =>
    house.ask(client, 'user/ada', { type: 'user.status', status: to } as never)

  it('[PR16] has one status on all its connections, and a new one begins with it', async () => {
    const house = await ChannelHouse.boot()
    const attach = (client: string) => house.ask(client, 'user/ada', { type: 'user.attach' })
    expect(await attach('ada1')).toBe('online')
    await attach('ada2')
    await status(house, 'ada1', 'busy')
    for (const client of ['ada1', 'ada2']) expect(house.hears(client)).toEqual([{ type: 'client.status', status: 'busy' }])
    expect(await attach('ada3')).toBe('busy')
  })

  it('[PR17] is forgotten with its last connection', async () => {
    const house = await ChannelHouse.boot()
    for (const client of ['ada1', 'ada2']) await house.ask(client, 'user/ada', { type: 'user.attach' })
    await status(house, 'ada1', 'away')
    await house.ask('ada1', 'user/ada', { type: 'user.detach' })
    expect(house.isThere('user/ada')).toBe(true)
    house.lose('ada2')
    await quiet()
    expect(house.isThere('user/ada')).toBe(false)
    expect(await house.ask('ada3', 'user/ada', { type: 'user.attach' })).toBe('online')
  })
})
