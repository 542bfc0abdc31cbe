import { describe, expect, it } from 'vitest'
import { type ErrorCode, TroupeError } from '../../actors/errors.ts'
import { idDefect, parseAddress } from '../../actors/system/address.ts'
import { defineActor } from '../../actors/system/definition.ts'
import { type Any, codeOf, codes, house, quiet } from './house.ts'

const counter = defineActor<{ n: number }, { type: 'add'; by: number } | { type: 'get' }>({
  kind: 'counter',
  state: () => ({ n: 0 }),
  handlers: {
    add: (state, { by }) => {
      state.n += by
      return state.n
    },
    get: (state) => state.n,
  },
})

describe('addresses', () => {
  it.each(['counter', 'counter/', '/a', 'Counter/a', '1counter/a', 'counter/a\u0000', 'counter/\ud800', `counter/${'ä'.repeat(128)}`])(
    '[AS1] refuses %j',
    (address) => {
      expect(() => parseAddress(address)).toThrowError(expect.objectContaining({ code: 'actor.bad_address' }))
    },
  )

  it('[AS1] takes an id of 255 bytes, with slashes in it', () => {
    expect(parseAddress(`counter/${'ä'.repeat(127)}/`)).toEqual({ kind: 'counter', id: `${'ä'.repeat(127)}/` })
    expect(idDefect('a'.repeat(256))).toContain('255 bytes')
  })

  it.each<[string, ErrorCode]>([
    ['counter', 'actor.bad_address'],
    ['stranger/a', 'actor.unknown_kind'],
  ])('[AS2] a message to %j is a dead letter with its code, and an ask rejects with it', async (address, code) => {
    const { system } = house([counter])
    expect(system.tell(address, { type: 'get' })).toBe(false)
    expect(await codeOf(system.ask(address, { type: 'get' }))).toBe(code)
    expect(codes(system)).toEqual([code, code])
  })
})

describe('definitions', () => {
  it.each([
    { kind: 'Bad' },
    { kind: 'x', logic: {} },
    { kind: 'x', mailbox: { limit: 0 } },
    { kind: 'x', durable: { version: 1.5 } },
    { kind: 'x', passivation: { idleMs: 0 } },
  ])('[AS3] refuses %j', (fault) => {
    const define = defineActor as (definition: unknown) => unknown
    expect(() => define({ state: () => 0, handlers: {}, ...fault })).toThrowError(expect.objectContaining({ code: 'actor.bad_definition' }))
  })

  it('[AS3] refuses a kind twice, and a durable one without journals', () => {
    expect(() => house([counter, counter])).toThrowError(/defined twice/)
    expect(() => house([{ ...counter, durable: { version: 1, apply: () => {} } }])).toThrowError(/no journals/)
  })
})

describe('tell', () => {
  it('[AS4] brings the actor to life and hands it messages in the order in which they were sent', async () => {
    const seen: number[] = []
    const { system } = house([
      defineActor<null, { type: 'n'; n: number }>({ kind: 'list', state: () => null, handlers: { n: (_, { n }) => seen.push(n) } }),
    ])
    for (let n = 0; n < 1_000; n++) expect(system.tell('list/a', { type: 'n', n })).toBe(true)
    expect(seen).toEqual([])
    await quiet()
    expect(seen).toEqual(Array.from({ length: 1_000 }, (_, n) => n))
  })

  it('[AS5] tells the handler who sent the message; nobody, when it came from outside', async () => {
    const senders: unknown[] = []
    const { system } = house([
      defineActor<null, { type: 'hello' }>({
        kind: 'ear',
        state: () => null,
        handlers: { hello: (_, __, scope) => senders.push(scope.from) },
      }),
      defineActor<null, { type: 'go' }>({
        kind: 'mouth',
        state: () => null,
        handlers: { go: (_, __, scope) => scope.tell('ear/a', { type: 'hello' }) },
      }),
    ])
    system.tell('mouth/a', { type: 'go' })
    system.tell('ear/a', { type: 'hello' })
    await quiet()
    expect(senders).toEqual([undefined, 'mouth/a'])
  })

  it.each(['constructor', 'toString', '__proto__', 'xstate.stop', 'xstate.init'])(
    '[AS6] a message of type %j, for which there is no handler, is a dead letter, and the actor goes on',
    async (type) => {
      const { system } = house([counter])
      await system.ask('counter/a', { type: 'add', by: 1 })
      expect(system.tell('counter/a', { type })).toBe(true)
      expect(await codeOf(system.ask('counter/a', { type }))).toBe('actor.unhandled')
      expect(codes(system)).toEqual(['actor.unhandled', 'actor.unhandled'])
      expect(await system.ask('counter/a', { type: 'get' })).toBe(1)
    },
  )

  it('[AS7] a chain of 1 000 000 hops needs no stack', async () => {
    const { system } = house([
      defineActor<null, { type: 'hop'; left: number }>({
        kind: 'hopper',
        state: () => null,
        handlers: { hop: (_, { left }, scope) => left > 0 && scope.tell(`hopper/${left % 1_000}`, { type: 'hop', left: left - 1 }) },
      }),
    ])
    system.tell('hopper/0', { type: 'hop', left: 1_000_000 })
    await system.quiesce()
    expect(system.handled().get('hopper')).toBe(1_000_001)
  })

  it('[AS8] keeps 100 000 idle actors, each with its own state', async () => {
    const { system } = house([counter])
    for (let i = 0; i < 100_000; i++) system.tell(`counter/${i}`, { type: 'add', by: i })
    await system.quiesce()
    expect(system.counts().get('counter')).toBe(100_000)
    expect(await system.ask('counter/99999', { type: 'get' })).toBe(99_999)
    expect(system.actors('counter/5', 3)).toHaveLength(3)
  })
})

describe('ask', () => {
  const speaker = defineActor<null, Any>({
    kind: 'speaker',
    state: () => null,
    handlers: {
      value: () => 7,
      promise: async (_: null, __: Any, scope: { ask(a: string, m: Any): Promise<unknown> }) =>
        scope.ask('counter/a', { type: 'add', by: 2 }),
      throws: () => {
        throw new Error('boom')
      },
      rejects: async () => {
        throw new TroupeError('storage.full')
      },
      self: (_: null, __: Any, scope: { ask(a: string, m: Any): Promise<unknown> }) => scope.ask('speaker/a', { type: 'value' }),
      never: () => new Promise(() => {}),
    } as never,
    supervision: { backoffMs: 1 },
  })

  it('[AK1] is answered by what the handler returns, or by what its promise brings', async () => {
    const { system } = house([speaker, counter])
    expect(await system.ask('speaker/a', { type: 'value' })).toBe(7)
    expect(await system.ask('speaker/a', { type: 'promise' })).toBe(2)
  })

  it('[AK2] rejects with what the handler threw or rejected: a TroupeError as it is, another as actor.failed with its cause', async () => {
    const { system, clock } = house([speaker])
    const failure = system.ask('speaker/a', { type: 'throws' }).catch((error) => error)
    await clock.advance(100)
    expect(await failure).toMatchObject({ code: 'actor.failed', cause: expect.objectContaining({ message: 'boom' }) })
    expect(await codeOf(system.ask('speaker/a', { type: 'rejects' }))).toBe('storage.full')
    expect(codes(system)).toEqual(['actor.failed'])
  })

  it('[AK6] a TroupeError that a promise brings is an answer, and a dead letter only where nobody asked', async () => {
    const { system, clock } = house([speaker])
    expect(await codeOf(system.ask('speaker/a', { type: 'rejects' }))).toBe('storage.full')
    expect(codes(system)).toEqual([])
    system.tell('speaker/a', { type: 'rejects' })
    await clock.advance(1)
    expect(codes(system)).toEqual(['storage.full'])
  })

  it('[AK3] of itself is refused at once', async () => {
    const { system } = house([speaker])
    expect(await codeOf(system.ask('speaker/a', { type: 'self' }))).toBe('actor.ask_self')
  })

  it('[AK4] ends after its timeout, not before, and each timeout by itself', async () => {
    const { system, clock } = house([speaker])
    const ends: string[] = []
    for (const timeoutMs of [100, undefined, 50, 100]) {
      const options = timeoutMs === undefined ? undefined : { timeoutMs }
      void codeOf(system.ask('speaker/a', { type: 'never' }, options)).then((code) =>
        ends.push(`${timeoutMs} ${code} at ${clock.now() - 1_000_000}`),
      )
    }
    await clock.advance(49)
    expect(ends).toEqual([])
    await clock.advance(10_000)
    expect(ends).toEqual([
      '50 actor.ask_timeout at 50',
      '100 actor.ask_timeout at 100',
      '100 actor.ask_timeout at 100',
      'undefined actor.ask_timeout at 5000',
    ])
    expect(clock.pending).toBe(0)
  })

  it('[AK5] a late answer to an ask that has ended goes nowhere', async () => {
    let answer = (_: number): void => {}
    const { system, clock } = house([
      defineActor<null, { type: 'slow' }>({
        kind: 'slow',
        state: () => null,
        handlers: { slow: () => new Promise((resolve) => (answer = resolve)) },
      }),
    ])
    const code = codeOf(system.ask('slow/a', { type: 'slow' }, { timeoutMs: 10 }))
    await clock.advance(10)
    answer(1)
    await quiet()
    expect(await code).toBe('actor.ask_timeout')
    expect(codes(system)).toEqual([])
  })
})
