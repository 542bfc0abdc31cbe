/** What listeners are told of the changes of one window. */
import { describe, expect, it } from 'vitest'
import type { PresenceOutput } from '../../actors/output.ts'
import { PresenceNews } from '../../actors/presenceNews.ts'

const change = (
  user: string,
  kind: PresenceOutput['change'],
  status: PresenceOutput['status'] = 'online',
  before: PresenceOutput['before'] = 'offline',
) => ({ type: 'output.presence', id: user, change: kind, channel: 'c', user, client: user, status, before, at: 0, offset: 0 }) as const
const told = (news: PresenceNews, listeners: readonly string[]) =>
  [...news.take('c', listeners)].map(([address, { changes }]) => [address, changes.map((one) => `${one.user} ${one.change} ${one.status}`)])

describe('news of who is present', () => {
  it('[PR18] of one window are told together, and what many are told is one object', () => {
    const news = new PresenceNews()
    for (const user of ['ann', 'bob']) news.add(change(user, 'joined'))
    const found = news.take('c', ['x', 'y'])
    expect(found.get('x')?.changes.map(({ user }) => user)).toEqual(['ann', 'bob'])
    expect(found.get('y')).toBe(found.get('x'))
    expect([...news.take('c', ['x']).values()].flatMap(({ changes }) => changes)).toEqual([])
  })

  it('[PR19] leave out for a newcomer what its list of members has already', () => {
    const news = new PresenceNews()
    for (const user of ['ann', 'bob', 'cid']) {
      news.add(change(user, 'joined'))
      news.arrived(user)
    }
    expect(told(news, ['ann', 'bob', 'cid', 'x'])).toEqual([
      ['ann', ['bob joined online', 'cid joined online']],
      ['bob', ['cid joined online']],
      ['x', ['ann joined online', 'bob joined online', 'cid joined online']],
    ])
  })

  it('[PR20] have only the last status of a user, unless a newcomer knows the one in between', () => {
    const news = new PresenceNews()
    news.add(change('ann', 'status', 'away', 'online'))
    news.add(change('ann', 'status', 'busy', 'away'))
    expect(news.take('c', ['x']).get('x')?.changes).toMatchObject([{ user: 'ann', status: 'busy', before: 'online' }])
    news.add(change('ann', 'status', 'away', 'busy'))
    news.arrived('y')
    news.add(change('ann', 'status', 'online', 'away'))
    expect(told(news, ['x', 'y'])).toEqual([
      ['x', ['ann status away', 'ann status online']],
      ['y', ['ann status online']],
    ])
  })

  it('[PR20] keep the order of a user who leaves and comes back', () => {
    const news = new PresenceNews()
    news.add(change('ann', 'status', 'away', 'online'))
    news.add(change('ann', 'left', 'offline', 'away'))
    news.add(change('ann', 'joined'))
    news.add(change('ann', 'status', 'busy', 'online'))
    expect(told(news, ['x'])).toEqual([['x', ['ann status away', 'ann left offline', 'ann joined online', 'ann status busy']]])
  })
})
