import { describe, expect, it, vi } from 'vitest'
import type { PublishOptions } from '../../actors/command.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { Hooks } from '../../actors/hooks.ts'
import { combineChecks, combineHooks } from '../../src/extend/hooks.ts'
import { quiet, SimulatedClock } from '../support/world.ts'
import { clientOf, listeningLog } from './client.ts'

const ada = clientOf('ada')
const message: PublishOptions = { channel: 'general', body: 'hello' }
const never = () => new Promise<void>(() => undefined)

/** The hooks of plugins `first`, `second`, … as one. */
const combine = (...hooks: Hooks[]) => {
  const { log, lines } = listeningLog()
  const clock = new SimulatedClock()
  const names = ['first', 'second', 'third']
  const combined = combineHooks(
    hooks.map((each, i) => ({ name: names[i] ?? '', hooks: each })),
    { clock, log, timeoutMs: 5_000 },
  )
  return { clock, lines, combined }
}

const append =
  (text: string) =>
  (_: unknown, { channel, body }: PublishOptions) => ({ channel, body: `${body}${text}` })

describe('hooks of several plugins', () => {
  it('are called in the order of the plugins', () => {
    const called: string[] = []
    const hooks = (name: string): Hooks => ({ onJoin: ({ account }, channel) => void called.push(`${name} ${account.user} ${channel}`) })
    combine(hooks('a'), {}, hooks('b')).combined.onJoin?.(ada, 'general')
    expect(called).toEqual(['a ada general', 'b ada general'])
  })

  it('see what the ones before made of a message or an account', async () => {
    const { combined } = combine(
      { onPublish: append(' 1'), onAuthenticate: (_, account) => ({ ...account, user: 'bob' }) },
      { onPublish: async (client, given) => append(' 2')(client, given), onAuthenticate: () => undefined },
      { onPublish: append(' 3'), onAuthenticate: async (_, account) => ({ ...account, tenant: `of-${account.user}` }) },
    )
    expect(await combined.onPublish?.(ada, message)).toEqual({ channel: 'general', body: 'hello 1 2 3' })
    expect(await combined.onAuthenticate?.(ada, ada.account)).toMatchObject({ user: 'bob', tenant: 'of-bob' })
  })

  it('that say nothing leave a message the same object', () => {
    expect(combine({ onPublish: () => undefined }, { onPublish: () => undefined }).combined.onPublish?.(ada, message)).toBe(message)
  })

  it('make no promise as long as none of them does', () => {
    const { combined } = combine(
      { onPublish: append('!'), onJoin: () => undefined },
      { onConnect: () => undefined, onPublish: append('?') },
    )
    expect(combined.onPublish?.(ada, message)).toEqual({ channel: 'general', body: 'hello!?' })
    expect(combined.onJoin?.(ada, 'general')).toBeUndefined()
    expect(combined.onConnect?.(ada)).toBeUndefined()
  })

  it('that nobody has are not there', () => {
    expect(Object.keys(combine({ onPublish: append('!') }, { onLeave: () => undefined }).combined)).toEqual(['onPublish', 'onLeave'])
    expect(combine().combined).toEqual({})
  })

  it('keep their `this`', () => {
    class Counting implements Hooks {
      joined = 0
      onJoin(): void {
        this.joined++
      }
    }
    const hooks = new Counting()
    combine(hooks as Hooks).combined.onJoin?.(ada, 'general')
    expect(hooks.joined).toBe(1)
  })
})

describe('a hook that refuses', () => {
  it('keeps those after it from being called', async () => {
    const called: string[] = []
    const refuse = () => {
      throw new TroupeError('hook.rejected', 'not here')
    }
    const { combined } = combine(
      { onJoin: refuse, onPublish: async () => refuse() },
      {
        onJoin: () => void called.push('join'),
        onPublish: () => void called.push('publish'),
      },
    )
    expect(() => combined.onJoin?.(ada, 'general')).toThrow('not here')
    await expect(combined.onPublish?.(ada, message)).rejects.toThrow('not here')
    expect(called).toEqual([])
  })

  it('has its error passed on, with its own name as the rule unless it gave one', () => {
    const error = new TroupeError('rate.limited', 'ten a day', { rule: 'ten a day', retryAfterMs: 60_000 })
    const named = combine(
      {},
      {
        onPublish: () => {
          throw error
        },
      },
    )
    expect(() => named.combined.onPublish?.(ada, message)).toThrow(error)
    const unnamed = combine(
      {},
      {
        onPublish: () => {
          throw new TroupeError('rate.limited', 'slowly', { retryAfterMs: 1_000 })
        },
      },
    )
    expect(() => unnamed.combined.onPublish?.(ada, message)).toThrow(
      expect.objectContaining({ code: 'rate.limited', detail: 'slowly', rule: 'second.onPublish', retryAfterMs: 1_000 }),
    )
    expect(unnamed.lines).toEqual([])
  })

  it('by any other error shows only its name, and the log has the rest', async () => {
    const { combined, lines } = combine({
      onJoin: () => {
        throw new Error('password of the database: 1234')
      },
      onPublish: () => Promise.reject('a text'),
    })
    const refused = expect.objectContaining({ code: 'hook.rejected', message: expect.not.stringContaining('1234'), rule: 'first.onJoin' })
    expect(() => combined.onJoin?.(ada, 'general')).toThrow(refused)
    await expect(combined.onPublish?.(ada, message)).rejects.toMatchObject({ code: 'hook.rejected', rule: 'first.onPublish' })
    expect(lines).toEqual([
      { hook: 'first.onJoin', error: expect.stringMatching(/1234[\s\S]*hooks\.test\.ts/), text: 'a hook failed' },
      { hook: 'first.onPublish', error: 'a text', text: 'a hook failed' },
    ])
  })

  it.each([
    ['a number', 1],
    ['a message without a channel', { body: 'x' }],
    ['a message without content', { channel: 'general' }],
    ['null', null],
  ])('by returning %s instead of a message is refused, too', (_, returned) => {
    const { combined, lines } = combine({ onPublish: () => returned as never })
    expect(() => combined.onPublish?.(ada, message)).toThrow(expect.objectContaining({ code: 'hook.rejected', rule: 'first.onPublish' }))
    expect(lines.length).toBe(1)
  })
})

describe('a hook that does not come back', () => {
  it('has refused after the timeout', async () => {
    const { combined, clock, lines } = combine({ onPublish: never })
    const published = combined.onPublish?.(ada, message) as Promise<unknown>
    const refused = expect(published).rejects.toMatchObject({
      code: 'hook.rejected',
      detail: 'first.onPublish timed out',
      rule: 'first.onPublish',
    })
    await clock.advance(4_999)
    expect(lines).toEqual([])
    await clock.advance(1)
    await refused
    expect(lines).toEqual([{ hook: 'first.onPublish', timeoutMs: 5_000, text: 'a hook timed out' }])
  })

  it('has its late answer ignored, and its late error logged', async () => {
    let fail: (error: Error) => void = () => undefined
    let answer: (message: PublishOptions) => void = () => undefined
    const { combined, clock, lines } = combine({
      onJoin: () => new Promise((_, reject) => (fail = reject)),
      onPublish: () => new Promise<PublishOptions>((resolve) => (answer = resolve)),
    })
    const joined = expect(combined.onJoin?.(ada, 'general')).rejects.toThrow('timed out')
    const published = expect(combined.onPublish?.(ada, message)).rejects.toThrow('timed out')
    await clock.advance(5_000)
    await joined
    await published
    fail(new Error('too late'))
    answer(message)
    await quiet()
    expect(lines.map(({ text }) => text)).toEqual(['a hook timed out', 'a hook timed out', 'a hook failed'])
  })

  it('leaves no alarm behind when it does come back', async () => {
    const { combined, clock } = combine({
      onPublish: async () => undefined,
      onJoin: () => Promise.reject(new TroupeError('hook.rejected')),
    })
    expect(await combined.onPublish?.(ada, message)).toBe(message)
    await expect(combined.onJoin?.(ada, 'general')).rejects.toThrow()
    expect(clock.pending).toBe(0)
  })
})

describe('what happened already', () => {
  it('is told to every plugin, whatever the others throw, and cannot be refused', async () => {
    const heard: string[] = []
    const { combined, clock, lines } = combine(
      {
        onDisconnect: () => {
          throw new TroupeError('hook.rejected', 'stay')
        },
        onLeave: () => {
          throw new Error('broken')
        },
      },
      { onDisconnect: never, onLeave: () => void heard.push('left') },
      { onDisconnect: ({ account }) => void heard.push(`${account.user} is gone`) },
    )
    expect(combined.onLeave?.(ada, 'general')).toBeUndefined()
    expect(heard).toEqual(['left'])
    const told = combined.onDisconnect?.(ada)
    await clock.advance(5_000)
    await told
    expect(heard).toEqual(['left', 'ada is gone'])
    expect(lines.map(({ hook, text }) => `${hook}: ${text}`)).toEqual([
      'first.onLeave: a hook failed',
      'first.onLeave: a hook refused what had happened already',
      'first.onDisconnect: a hook refused what had happened already',
      'second.onDisconnect: a hook timed out',
      'second.onDisconnect: a hook refused what had happened already',
    ])
  })
})

describe('hooks for documents', () => {
  const change = { document: 'plans/a', tenant: '', user: 'ada', via: '', doc: {} as never, update: new Uint8Array(0) }
  const checks = (...hooks: Hooks[]) => {
    const { log, lines } = listeningLog()
    const parts = hooks.map((each, i) => ({ name: `plugin${i}`, hooks: each }))
    return { lines, validation: combineChecks(parts, { log }) }
  }

  it('about access see what the ones before made of it, and the name of the document stays', async () => {
    const { combined } = combine(
      { onDocumentAccess: (_, name, access) => (name === 'plans/a' && access === 'none' ? 'read' : undefined) },
      { onDocumentAccess: async (_, name, access) => (name === 'plans/a' && access === 'read' ? 'comment' : access) },
    )
    expect(await combined.onDocumentAccess?.(ada, 'plans/a', 'none')).toBe('comment')
    expect(await combined.onDocumentAccess?.(ada, 'plans/b', 'none')).toBe('none')
  })

  it('about access that return something else have refused', () => {
    const { combined } = combine({ onDocumentAccess: () => 'admin' as never })
    expect(() => combined.onDocumentAccess?.(ada, 'plans/a', 'write')).toThrow(expect.objectContaining({ code: 'hook.rejected' }))
  })

  it('about stateless messages: one that says so is enough, and all are called', async () => {
    const called: string[] = []
    const hook = (name: string, answer: boolean | void | Promise<boolean>): Hooks => ({
      onStateless: () => {
        called.push(name)
        return answer
      },
    })
    expect(
      await combine(hook('a', undefined), hook('b', Promise.resolve(true)), hook('c', false)).combined.onStateless?.(ada, 'd', ''),
    ).toBe(true)
    expect(called).toEqual(['a', 'b', 'c'])
    expect(combine(hook('a', undefined), hook('b', false)).combined.onStateless?.(ada, 'd', '')).toBe(false)
  })

  it('about changes cover what their patterns name; without any there are none', () => {
    const check = vi.fn()
    const { validation } = checks({ onDocumentChange: { documents: ['plans/*', 'x'], check } }, {})
    expect(['plans/a', 'x', 'plan', 'xx'].map((name) => validation?.covers(name))).toEqual([true, true, false, false])
    validation?.check(change)
    validation?.check({ ...change, document: 'notes' })
    expect(check.mock.calls).toEqual([[change]])
    expect(checks({}).validation).toBeUndefined()
    expect(checks({ onDocumentChange: check }).validation?.covers('anything')).toBe(true)
  })

  it('about changes that return a promise have refused: what it says would come too late', async () => {
    const { validation, lines } = checks({ onDocumentChange: async () => Promise.reject(new Error('late')) })
    expect(() => validation?.check(change)).toThrow(
      expect.objectContaining({ code: 'document.invalid', detail: 'plugin0.onDocumentChange is not synchronous' }),
    )
    await quiet()
    expect(lines.length).toBe(1)
  })

  it('about changes show the client what they throw as a TroupeError, and of anything else only their name', () => {
    const throwing = (error: unknown) =>
      checks({
        onDocumentChange: () => {
          throw error
        },
      }).validation
    expect(() => throwing(new TroupeError('document.invalid', 'two titles'))?.check(change)).toThrow(
      expect.objectContaining({ detail: 'two titles' }),
    )
    expect(() => throwing(new Error('secret'))?.check(change)).toThrow(
      expect.objectContaining({ code: 'document.invalid', detail: 'plugin0.onDocumentChange failed' }),
    )
  })
})
