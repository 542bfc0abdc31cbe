import { describe, expect, it } from 'vitest'
import type { Account } from '../../actors/account.ts'
import type { DirectoryRequest, Draft } from '../../actors/channelMessages.ts'
import { type AccessOptions, ClientAccess, type Prepared, refusalOf } from '../../actors/clientAccess.ts'
import type { PublishOptions } from '../../actors/command.ts'
import { isTroupeError, TroupeError } from '../../actors/errors.ts'
import type { ChannelInfo } from '../../actors/output.ts'

const account = (more: Partial<Account> = {}): Account => ({ user: 'ada', tenant: '', isAnonymous: false, permissions: ['*'], ...more })

interface Asked {
  readonly address: string
  readonly message: { readonly type: string; readonly [field: string]: unknown }
}

/** `asked`: what channels and the directory were asked; `answer`: what they say. */
const stage = (more: Partial<Account> = {}, options: Partial<AccessOptions> = {}, answer: (asked: Asked) => unknown = () => undefined) => {
  const asked: Asked[] = []
  const access = new ClientAccess(
    { client: 'c1', account: account(more), door: 'bus' },
    {
      hooks: {},
      trustsSender: true,
      roomTtlMs: 60_000,
      ask: async (address, message) => {
        const question = { address, message } as Asked
        asked.push(question)
        return answer(question)
      },
      ...options,
    },
  )
  return { access, asked, sent: () => asked.map(({ address, message }) => `${message.type} ${address}`) }
}

const codeOf = (run: () => unknown): string => {
  try {
    return `no error, but ${JSON.stringify(run())}`
  } catch (error) {
    return isTroupeError(error) ? error.code : String(error)
  }
}

const laterCodeOf = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error) => (isTroupeError(error) ? error.code : String(error)),
  )

describe('the name of a channel', () => {
  it('is normalised, so that two that look alike are one', () => {
    expect(stage().access.admit('caf\u0065\u0301', 'read')).toBe('caf\u00e9')
  })

  it.each([
    ['nothing', ''],
    ['a tilde', '~acme/news'],
    ['a dollar', '$telemetry'],
    ['a control character', 'a\nb'],
    ['an invisible character', 'ne\u200bws'],
    ['a direction mark', 'news\u202e'],
    ['half a character', 'a\ud800'],
    ['more than 255 bytes', '\u00e9'.repeat(128)],
  ])('is none with %s', (_, name) => {
    expect(codeOf(() => stage().access.admit(name, 'write'))).toBe('channel.bad_name')
  })

  it('has room for that of its tenant', () => {
    const { access } = stage({ tenant: 'acme' })
    expect(codeOf(() => access.admit('n'.repeat(255), 'read'))).toBe('channel.bad_name')
    expect(access.addressOf(access.admit('n'.repeat(249), 'read'))).toBe(`channel/~acme/${'n'.repeat(249)}`)
  })
})

describe('a channel', () => {
  it('may be read, written, created or deleted by those with that permission, and the refusal names the rule', () => {
    const { access } = stage({ permissions: ['channel:news:read', 'channel:bot/*:write', '!channel:bot/x'] })
    expect(access.admit('news', 'read')).toBe('news')
    expect(access.admit('bot/1', 'write')).toBe('bot/1')
    const rules = [() => access.admit('news', 'write'), () => access.admit('bot/x', 'write'), () => access.admit('home', 'delete')].map(
      (run) => {
        try {
          return run()
        } catch (error) {
          return refusalOf(error).rule
        }
      },
    )
    expect(rules).toEqual(['needs channel:news:write', '!channel:bot/x', 'needs channel:home:delete'])
  })

  it('of private messages is read, created and deleted by its user alone, whatever others may; anybody may write to it', () => {
    const { access } = stage()
    for (const action of ['read', 'create', 'delete'] as const) {
      expect(codeOf(() => access.admit('private_bob', action))).toBe('access.denied')
      expect(access.admit('private_ada', action)).toBe('private_ada')
    }
    expect(access.admit('private_bob', 'write')).toBe('private_bob')
  })

  it('may be stayed in by whoever may read it, and an inbox by its user', () => {
    const { access } = stage({ permissions: ['channel:*:read', '!channel:secret'] })
    expect(['news', 'secret', 'private_ada', 'private_bob'].map((name) => access.mayStayIn(name))).toEqual([true, false, true, false])
    access.party = { ...access.party, account: account({ user: 'bob' }) }
    expect(access.mayStayIn('private_ada')).toBe(false)
  })
})

describe('the sender of a message', () => {
  const senderOf = (more: Partial<Account>, sender?: string, trustsSender = true): Draft => {
    const { access } = stage(more, { trustsSender })
    return (access.prepare({ channel: 'news', body: 1, ...(sender === undefined ? {} : { sender }) }) as Prepared).draft
  }

  it('is the user, who may say so', () => {
    expect(senderOf({})).toMatchObject({ user: 'ada', sender: 'ada', client: 'c1', kind: 'message' })
    expect(senderOf({ permissions: ['channel:*'] }, 'ada')).toMatchObject({ sender: 'ada' })
  })

  it('is another one only by permission', () => {
    expect(codeOf(() => senderOf({ permissions: ['channel:*'] }, 'bob'))).toBe('access.denied')
    expect(senderOf({ permissions: ['channel:*', 'sender:bo*'] }, 'bob')).toMatchObject({ user: 'ada', sender: 'bob' })
  })

  it('is what somebody without an account says, where the protocol has it so and nobody proves names', () => {
    expect(senderOf({ isAnonymous: true }, 'zoe')).toMatchObject({ sender: 'zoe' })
    expect(senderOf({ isAnonymous: true }, 'zoe', false)).toMatchObject({ sender: 'ada' })
    expect(codeOf(() => senderOf({ isAnonymous: true, permissions: ['*', '!sender:*'] }, 'zoe'))).toBe('access.denied')
  })
})

describe('a message', () => {
  const message: PublishOptions = { channel: 'news', body: 1 }

  it('keeps everything that it came with', () => {
    const more = { id: 'm1', metadata: { a: 1 }, room: 'r', kind: 'event' }
    expect(stage().access.prepare({ ...message, ...more })).toEqual({
      channel: 'news',
      draft: { body: 1, user: 'ada', sender: 'ada', client: 'c1', ...more },
    })
  })

  it('goes to the channel of its tenant', async () => {
    const { access, asked } = stage({ tenant: 'acme' })
    await access.publish(message)
    expect(asked).toMatchObject([{ address: 'channel/~acme/news', message: { type: 'channel.publish', draft: { body: 1 } } }])
  })

  it('is seen by a hook when the channel is known to be allowed, with its normalised name', () => {
    const seen: string[] = []
    const hooks = { onPublish: (_: unknown, { channel }: PublishOptions) => void seen.push(channel) }
    const { access } = stage({ permissions: ['channel:caf\u00e9:write'] }, { hooks })
    access.prepare({ channel: 'cafe\u0301', body: 1 })
    expect(codeOf(() => access.prepare({ channel: 'home', body: 1 }))).toBe('access.denied')
    expect(seen).toEqual(['caf\u00e9'])
  })

  it.each(['at once', 'later'])('that a hook rewrites %s is checked again: channel, permission, sender, and being there', async (when) => {
    const rewrite = (given: PublishOptions, isIn?: AccessOptions['isIn']) => {
      const onPublish = (_: unknown, before: PublishOptions) => {
        const after = { ...before, ...given }
        return when === 'later' ? Promise.resolve(after) : after
      }
      const permissions = ['channel:*', '!channel:secret', 'sender:bot']
      return stage({ permissions }, { hooks: { onPublish }, ...(isIn === undefined ? {} : { isIn }) }).access
    }
    const prepared = await rewrite({ channel: 'cafe\u0301', body: 'b', sender: 'bot' }).prepare(message)
    expect(prepared).toMatchObject({ channel: 'caf\u00e9', draft: { body: 'b', sender: 'bot' } })
    const code = (access: ClientAccess) => laterCodeOf((async () => access.prepare(message))())
    expect(await code(rewrite({ channel: 'secret', body: 1 }))).toBe('access.denied')
    expect(await code(rewrite({ channel: '~other/news', body: 1 }))).toBe('channel.bad_name')
    expect(await code(rewrite({ channel: 'news', body: 1, sender: 'bob' }))).toBe('access.denied')
    expect(await code(rewrite({ channel: 'home', body: 1 }, (channel) => channel === 'news'))).toBe('channel.not_joined')
  })

  it('makes no promise where no hook makes one', () => {
    expect(stage().access.prepare(message)).not.toBeInstanceOf(Promise)
    expect(stage({}, { hooks: { onPublish: () => undefined } }).access.prepare(message)).not.toBeInstanceOf(Promise)
  })
})

describe('asking about a channel', () => {
  it('does not make one: the directory is asked first, but for inboxes', async () => {
    const { access, sent } = stage()
    await access.history('news', {})
    await access.members('news')
    await access.describe('private_ada')
    expect(sent()).toEqual([
      'directory.info directory/default',
      'channel.history channel/news',
      'directory.info directory/default',
      'channel.members channel/news',
      'channel.info channel/private_ada',
    ])
  })

  it('needs the permission to read it', async () => {
    const { access, asked } = stage({ permissions: ['channel:*:write'] })
    for (const promise of [access.history('news', {}), access.members('news'), access.describe('news')])
      expect(await laterCodeOf(promise)).toBe('access.denied')
    expect(asked).toEqual([])
  })

  it('creates and deletes through the directory of the tenant, in the name of the user; a room has a time to live', async () => {
    const { access, asked } = stage({ tenant: 'acme' })
    await access.create('news', { description: 'all of it' })
    await access.create('room', { isRoom: true })
    await access.create('short', { isRoom: true, ttlMs: 5 })
    await access.delete('news')
    expect(asked.map(({ address, message: { type: _, ...message } }) => [address, message])).toEqual([
      ['directory/~acme', { name: 'news', description: 'all of it', by: 'ada', isRoom: false }],
      ['directory/~acme', { name: 'room', description: '', by: 'ada', isRoom: true, ttlMs: 60_000 }],
      ['directory/~acme', { name: 'short', description: '', by: 'ada', isRoom: true, ttlMs: 5 }],
      ['directory/~acme', { name: 'news' }],
    ])
  })
})

describe('the list of channels', () => {
  /** A directory of so many channels; `open` ones can be read by everybody. */
  const directory = (names: readonly string[]) => {
    const pages: DirectoryRequest[] = []
    const answer = ({ message }: Asked) => {
      const { after = '', limit = 100 } = message as { after?: string; limit?: number }
      pages.push(message as unknown as DirectoryRequest)
      const rest = names.filter((name) => name > after)
      const channels = rest.slice(0, limit).map((name) => ({ name }) as ChannelInfo)
      return { channels, hasMore: rest.length > limit }
    }
    return { pages, answer }
  }
  const numbers = (prefix: string, count: number) => Array.from({ length: count }, (_, n) => `${prefix}${String(n).padStart(5, '0')}`)

  it('shows only what may be read', async () => {
    const { answer } = directory(['a', 'b', 'c'])
    const { access } = stage({ permissions: ['channel:*:read', '!channel:b'] }, {}, answer)
    expect(await access.list({})).toEqual({ channels: [{ name: 'a' }, { name: 'c' }], hasMore: false })
  })

  it('can be read to its end page by page, however many channels in between may not be read', async () => {
    const { answer, pages } = directory([...numbers('a', 30), ...numbers('hidden', 5_000), ...numbers('z', 30)].sort())
    const { access } = stage({ permissions: ['channel:*:read', '!channel:hidden*'] }, {}, answer)
    const found: string[] = []
    let hasMore = true
    for (let turns = 0; hasMore && turns < 20; turns++) {
      const page = await access.list({ limit: 7, ...(found.length === 0 ? {} : { after: found.at(-1) as string }) })
      expect(page.channels.length).toBeLessThanOrEqual(7)
      found.push(...page.channels.map(({ name }) => name))
      hasMore = page.hasMore
    }
    expect(found).toEqual([...numbers('a', 30), ...numbers('z', 30)])
    expect(pages.length).toBeLessThan(25)
  })

  it('is empty and has an end where nothing may be read', async () => {
    const { answer } = directory(numbers('hidden', 2_500))
    const { access } = stage({ permissions: [] }, {}, answer)
    expect(await access.list({ limit: 10 })).toEqual({ channels: [], hasMore: false })
  })
})

describe('a refusal', () => {
  it('has the code, the text and the rule, and says nothing of what is inside', () => {
    expect(refusalOf(new TroupeError('rate.limited', 'slow down', { rule: 'r', retryAfterMs: 5 }))).toEqual({
      code: 'rate.limited',
      message: 'too many requests: slow down',
      rule: 'r',
      retryAfterMs: 5,
    })
    expect(refusalOf(new TroupeError('command.failed', 'not today'))).toMatchObject({ message: 'not today' })
    expect(refusalOf(new Error('password: 1234'))).toEqual({ code: 'command.failed', message: 'the command failed' })
  })

  it('speaks of a channel where the actor of one could not be reached', () => {
    for (const code of ['actor.ask_timeout', 'actor.mailbox_full', 'actor.stopped', 'actor.failed'] as const)
      expect(refusalOf(new TroupeError(code, 'channel/~acme/news'))).toEqual({
        code: 'channel.unavailable',
        message: 'the channel cannot be reached at the moment',
      })
  })
})
