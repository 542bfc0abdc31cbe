import { describe, expect, it } from 'vitest'
import { defineActor } from '../../actors/system/definition.ts'
import type { Scope } from '../../actors/system/scope.ts'
import { decide, type SupervisionOptions } from '../../actors/system/supervisor.ts'
import { codeOf, codes, house, quiet, track } from './house.ts'

type Work = { type: 'work'; n: number } | { type: 'fail' } | { type: 'get' }

interface Log {
  readonly seen: number[]
  births: number
  readonly ends: number[]
}

const worker = (log: Log, supervision: SupervisionOptions = {}) =>
  defineActor<{ done: number }, Work>({
    kind: 'worker',
    state: () => {
      log.births++
      return { done: 0 }
    },
    handlers: {
      work: (state, { n }) => {
        log.seen.push(n)
        state.done++
      },
      fail: () => {
        throw new Error('poison')
      },
      get: ({ done }) => done,
    },
    stopped: ({ done }) => {
      log.ends.push(done)
    },
    supervision,
  })

const newLog = (): Log => ({ seen: [], births: 0, ends: [] })

describe('the verdict on a failure', () => {
  it('[SV1] waits 50 ms, doubled for each recent failure, at most 1 s; half of it is chance', () => {
    const failures = (count: number) => Array.from({ length: count }, () => 10_000)
    const wait = (count: number, jitter: number) => decide({ restarts: 99 }, failures(count), 10_000, jitter)
    expect([0, 1, 2, 5, 20].map((count) => wait(count, 1))).toEqual(
      [50, 100, 200, 1_000, 1_000].map((restartAfterMs) => ({ restartAfterMs })),
    )
    expect(wait(1, 0)).toEqual({ restartAfterMs: 50 })
  })

  it('[SV2] is to stop at the fourth failure within 5 s, and at the first when told so', () => {
    expect(decide({}, [0, 1, 2], 4_999, 0)).toBe('stop')
    expect(decide({}, [0, 1, 2], 5_000, 0)).not.toBe('stop')
    expect(decide({ onFailure: 'stop' }, [], 0, 0)).toBe('stop')
  })
})

describe('an actor that fails', () => {
  it('[SV3] comes back after its backoff with fresh state, and finds its mailbox in order', async () => {
    const log = newLog()
    const { system, clock } = house([worker(log)])
    system.tell('worker/a', { type: 'work', n: 1 })
    system.tell('worker/a', { type: 'fail' })
    for (const n of [2, 3]) system.tell('worker/a', { type: 'work', n })
    await quiet()
    system.tell('worker/a', { type: 'work', n: 4 })
    await clock.advance(24)
    expect(log).toMatchObject({ seen: [1], births: 1, ends: [1] })
    await clock.advance(26)
    expect(log).toMatchObject({ seen: [1, 2, 3, 4], births: 2 })
    expect(await system.ask('worker/a', { type: 'get' })).toBe(3)
  })

  it('[SV4] has the poison message among the dead letters once', async () => {
    const { system, clock } = house([worker(newLog())])
    const code = codeOf(system.ask('worker/a', { type: 'fail' }))
    await clock.advance(1_000)
    expect(await code).toBe('actor.failed')
    expect(system.deadLetters()).toMatchObject([{ address: 'worker/a', message: { type: 'fail' }, code: 'actor.failed' }])
  })

  it('[SV5] more than 3 times in 5 s is stopped, tells its watchers, refuses what waits, and makes the system unhealthy', async () => {
    const log = newLog()
    const { system, clock } = house([worker(log)])
    const reasons: string[] = []
    system.watch('worker/a', ({ reason }) => reasons.push(reason))
    for (let i = 0; i < 4; i++) system.tell('worker/a', { type: 'fail' })
    const waiting = track(system.ask('worker/a', { type: 'get' }))
    await clock.advance(1_000)
    expect(log.births).toBe(4)
    expect(reasons).toEqual(['failed'])
    expect(waiting).toEqual({ state: 'broken', value: 'actor.stopped' })
    expect(system.health()).toEqual({ isHealthy: false, failed: ['worker/a'] })
    expect(await codeOf(system.ask('worker/a', { type: 'get' }))).toBe('actor.stopped')
    expect(system.tell('worker/b', { type: 'get' })).toBe(true)
  })

  it('[SV6] restart(address) brings it back, with the input that it had; its later failures count anew', async () => {
    const inputs: unknown[] = []
    const fragile = defineActor<null, { type: 'fail' }>({
      kind: 'fragile',
      state: (_, input) => {
        inputs.push(input)
        return null
      },
      handlers: {
        fail: () => {
          throw new Error('poison')
        },
      },
      activation: 'explicit',
    })
    const { system, clock } = house([fragile])
    system.begin('fragile/a', 'input')
    for (let i = 0; i < 4; i++) system.tell('fragile/a', { type: 'fail' })
    await clock.advance(1_000)
    expect(system.restart('fragile/b')).toBe(false)
    expect(system.restart('fragile/a')).toBe(true)
    system.tell('fragile/a', { type: 'fail' })
    await clock.advance(1_000)
    expect(inputs).toEqual(['input', 'input', 'input', 'input', 'input', 'input'])
    expect(system.health().isHealthy).toBe(true)
  })

  it('[SV7] with a long interval never stops for good, however long it lives', async () => {
    const log = newLog()
    const { system, clock } = house([worker(log)])
    for (let i = 0; i < 40; i++) {
      system.tell('worker/a', { type: 'fail' })
      await clock.advance(2_000)
    }
    expect(log.births).toBe(41)
    expect(system.health().isHealthy).toBe(true)
  })

  it('[SV7] a limit above 16 restarts is kept', async () => {
    const log = newLog()
    const { system, clock } = house([worker(log, { restarts: 20, backoffMs: 1, maxBackoffMs: 1 })])
    for (let i = 0; i < 30; i++) system.tell('worker/a', { type: 'fail' })
    await clock.advance(1_000)
    expect(log.births).toBe(21)
  })

  it('[SV8] with onFailure `stop` is stopped at once and may come again with the next message', async () => {
    const log = newLog()
    const { system } = house([worker(log, { onFailure: 'stop' })])
    system.tell('worker/a', { type: 'fail' })
    await quiet()
    expect(system.health().isHealthy).toBe(true)
    expect(await system.ask('worker/a', { type: 'get' })).toBe(0)
    expect(log.births).toBe(2)
  })

  it('[SV9] at every message leaves no work undone: each message is a dead letter, once', async () => {
    const { system, clock } = house([worker(newLog(), { restarts: 1_000, backoffMs: 1, maxBackoffMs: 1 })])
    for (let i = 0; i < 200; i++) system.tell('worker/a', { type: 'fail' })
    await clock.advance(1_000)
    expect(codes(system)).toEqual(Array.from({ length: 200 }, () => 'actor.failed'))
  })

  it('[SV10] in the message in which it stopped itself is not restarted', async () => {
    let births = 0
    const { system, clock } = house([
      defineActor<null, { type: 'end' }>({
        kind: 'last',
        state: () => {
          births++
          return null
        },
        handlers: {
          end: (_, __, scope) => {
            scope.stop()
            throw new Error('late')
          },
        },
      }),
    ])
    system.tell('last/a', { type: 'end' })
    await clock.advance(5_000)
    expect(births).toBe(1)
    expect(system.counts().get('last')).toBe(0)
    expect(clock.pending).toBe(0)
  })
})

describe('an actor that cannot be activated', () => {
  const stubborn = (tries: { left: number }, isAsync: boolean) =>
    defineActor<string, { type: 'get' }>({
      kind: 'stubborn',
      state: () => {
        if (--tries.left < 0) return isAsync ? Promise.resolve('up') : 'up'
        if (isAsync) return Promise.reject(new Error('down'))
        throw new Error('down')
      },
      handlers: { get: (state) => state },
    })

  it.each([false, true])('[SV11] is tried again without losing what waits (promise: %s)', async (isAsync) => {
    const { system, clock } = house([stubborn({ left: 3 }, isAsync)])
    const answer = track(system.ask('stubborn/a', { type: 'get' }))
    await clock.advance(1_000)
    expect(answer).toEqual({ state: 'kept', value: 'up' })
    expect(codes(system)).toEqual([])
  })

  it.each([false, true])('[SV11] is stopped at the fourth failure (promise: %s)', async (isAsync) => {
    const { system, clock } = house([stubborn({ left: 4 }, isAsync)])
    const answer = track(system.ask('stubborn/a', { type: 'get' }))
    await clock.advance(1_000)
    expect(answer).toEqual({ state: 'broken', value: 'actor.stopped' })
    expect(system.health().failed).toEqual(['stubborn/a'])
    expect(system.restart('stubborn/a')).toBe(true)
    await clock.advance(1_000)
    expect(await system.ask('stubborn/a', { type: 'get' })).toBe('up')
  })
})

describe('code of users that throws', () => {
  it.each(['stopped', 'canPassivate', 'beforePassivation'])('[SV12] in `%s` stops neither the system nor other actors', async (hook) => {
    const boom = () => {
      throw new Error(hook)
    }
    const { system, clock } = house([
      {
        ...defineActor<null, { type: 'get' }>({ kind: 'bad', state: () => null, handlers: { get: () => 1 }, passivation: { idleMs: 100 } }),
        [hook]: boom,
      },
    ])
    expect(await system.ask('bad/a', { type: 'get' })).toBe(1)
    await clock.advance(300)
    system.stop('bad/a')
    expect(await system.ask('bad/a', { type: 'get' })).toBe(1)
    expect(await system.ask('bad/b', { type: 'get' })).toBe(1)
  })

  it('[SV12] in a watch stops neither the system nor other watches', async () => {
    const { system, logged } = house([worker(newLog())])
    let told = 0
    system.watch('worker/a', () => {
      throw new Error('watch')
    })
    system.watch('worker/a', () => told++)
    system.tell('worker/a', { type: 'work', n: 1 })
    await quiet()
    system.stop('worker/a')
    expect(told).toBe(1)
    expect(logged).toEqual(['a watch threw'])
    expect(await system.ask('worker/a', { type: 'get' })).toBe(0)
  })
})

describe('children', () => {
  const family = (ends: string[]) => [
    defineActor<null, { type: 'spawn' } | { type: 'fail' } | { type: 'beat' }>({
      kind: 'node',
      state: () => null,
      handlers: {
        spawn: (_, __, scope) => {
          if (scope.id.length < 3) {
            scope.spawn(`node/${scope.id}c`)
            scope.tell(`node/${scope.id}c`, { type: 'spawn' })
          }
          scope.after('beat', 1_000, { type: 'beat' })
        },
        fail: () => {
          throw new Error('node')
        },
        beat: (_, __, scope: Scope) => scope.after('beat', 1_000, { type: 'beat' }),
      },
      stopped: (_, { id }) => {
        ends.push(id)
      },
    }),
  ]

  it.each(['stops', 'fails', 'is restarted until its limit'])(
    '[ST1] stop with their parent when it %s, grandchildren first',
    async (how) => {
      const ends: string[] = []
      const { system, clock } = house(family(ends))
      system.tell('node/r', { type: 'spawn' })
      await quiet()
      expect(system.counts().get('node')).toBe(3)
      if (how === 'stops') system.stop('node/r')
      else system.tell('node/r', { type: 'fail' })
      await quiet()
      expect(ends).toEqual(['rcc', 'rc', 'r'])
      expect(system.actors().filter(({ phase }) => phase === 'running')).toEqual([])
      await clock.advance(10_000)
      expect(system.counts().get('node')).toBe(how === 'stops' ? 0 : 1)
      expect(clock.pending).toBe(0)
    },
  )

  it('[ST2] of a stopped parent cannot be made', async () => {
    let late: unknown
    const { system } = house([
      defineActor<null, { type: 'go' }>({
        kind: 'parent',
        state: () => null,
        handlers: {
          go: async (_, __, scope) => {
            await quiet(2)
            try {
              scope.spawn('parent/child')
            } catch (error) {
              late = error
            }
          },
        },
      }),
    ])
    system.tell('parent/a', { type: 'go' })
    await quiet(1)
    system.stop('parent/a')
    await quiet()
    expect(late).toMatchObject({ code: 'actor.stopped' })
    expect(system.counts().get('parent')).toBe(0)
  })

  it('[ST3] a kind with activation `explicit` comes to life by spawn or begin only', async () => {
    const { system } = house([
      defineActor<unknown, { type: 'get' }>({
        kind: 'child',
        state: (_, input) => input,
        handlers: { get: (state) => state },
        activation: 'explicit',
      }),
    ])
    expect(await codeOf(system.ask('child/a', { type: 'get' }))).toBe('actor.stopped')
    system.begin('child/a', 5)
    expect(await system.ask('child/a', { type: 'get' })).toBe(5)
  })
})

describe('watch', () => {
  type News = { type: 'actor.stopped'; address: string; reason: string }
  const watcher = (news: string[]) =>
    defineActor<null, { type: 'watch'; address: string } | { type: 'unwatch'; address: string } | News>({
      kind: 'watcher',
      state: () => null,
      handlers: {
        watch: (_, { address }, scope) => scope.watch(address),
        unwatch: (_, { address }, scope) => scope.unwatch(address),
        'actor.stopped': (_, { address, reason }, scope) => news.push(`${address} ${reason} from ${scope.from}`),
      },
    })

  it('[WA1] tells the watching actor once that the other has stopped, and why', async () => {
    const news: string[] = []
    const { system } = house([watcher(news), worker(newLog(), { onFailure: 'stop' })])
    for (const address of ['worker/a', 'worker/b', 'worker/c']) {
      system.tell('watcher/w', { type: 'watch', address })
      system.tell('watcher/w', { type: 'watch', address })
      system.tell(address, { type: 'work', n: 1 })
    }
    system.tell('watcher/w', { type: 'unwatch', address: 'worker/c' })
    await quiet()
    system.stop('worker/a')
    system.tell('worker/b', { type: 'fail' })
    system.stop('worker/c')
    await quiet()
    system.tell('worker/a', { type: 'work', n: 1 })
    await quiet()
    system.stop('worker/a')
    await quiet()
    expect(news).toEqual(['worker/a stopped from worker/a', 'worker/b failed from worker/b'])
  })

  it('[WA2] is forgotten with the watcher, and ends by the function that it returned', async () => {
    const news: string[] = []
    const { system } = house([watcher(news), worker(newLog())])
    let calls = 0
    const end = system.watch('worker/a', () => calls++)
    system.tell('watcher/w', { type: 'watch', address: 'worker/a' })
    system.tell('worker/a', { type: 'work', n: 1 })
    await quiet()
    end()
    system.stop('watcher/w')
    system.stop('worker/a')
    await quiet()
    expect({ news, calls, letters: system.deadLetters() }).toEqual({ news: [], calls: 0, letters: [] })
  })

  it('[WA3] of an actor that has failed for good is told at once', async () => {
    const { system, clock } = house([worker(newLog())])
    for (let i = 0; i < 4; i++) system.tell('worker/a', { type: 'fail' })
    await clock.advance(1_000)
    const reasons: string[] = []
    system.watch('worker/a', ({ reason }) => reasons.push(reason))
    expect(reasons).toEqual(['failed'])
  })
})

describe('dead letters', () => {
  it('[DL1] are kept with address, sender, message, code and time, the oldest goes first', async () => {
    const { system, clock } = house([worker(newLog())], { deadLetterLimit: 2 })
    for (const n of [1, 2, 3]) {
      system.tell('nobody/x', { type: 'n', n }, 'worker/a')
      await clock.advance(1)
    }
    expect(system.deadLetters()).toEqual(
      [2, 3].map((n) =>
        expect.objectContaining({
          id: n,
          at: 1_000_000 + n - 1,
          address: 'nobody/x',
          from: 'worker/a',
          message: { type: 'n', n },
          code: 'actor.unknown_kind',
        }),
      ),
    )
    expect(system.deadLettersByCode()).toEqual(new Map([['actor.unknown_kind', 3]]))
  })

  it('[DL2] replay sends a letter again and takes it from the list; refused again, it is a new letter', async () => {
    const log = newLog()
    const { system, clock } = house([worker(log)])
    for (let i = 0; i < 4; i++) system.tell('worker/a', { type: 'fail' })
    system.tell('worker/a', { type: 'work', n: 7 })
    await clock.advance(1_000)
    const id = system.deadLetters().at(-1)?.id ?? 0
    expect(system.replay(id)).toBe(false)
    expect(system.deadLetters().at(-1)?.id).toBe(id + 1)
    system.restart('worker/a')
    expect(system.replay(id + 1)).toBe(true)
    expect(system.replay(id + 1)).toBe(false)
    await quiet()
    expect(log.seen).toEqual([7])
    expect(system.deadLetters()).toHaveLength(4)
  })

  it('[DL3] do not hold what comes for a stopped actor of a kind with `late: drop`; its asker is told', async () => {
    const { system } = house([
      defineActor<null, { type: 'any' }>({
        kind: 'guest',
        activation: 'explicit',
        late: 'drop',
        state: () => null,
        handlers: { any() {} },
      }),
    ])
    system.begin('guest/a')
    expect(await codeOf(system.ask('guest/a', { type: 'any' }))).toBe('no error, but undefined')
    system.tell('guest/a', { type: 'any' })
    system.stop('guest/a')
    expect(system.tell('guest/a', { type: 'any' })).toBe(false)
    expect(await codeOf(system.ask('guest/a', { type: 'any' }))).toBe('actor.stopped')
    expect(system.deadLetters()).toEqual([])
    system.tell('guest', { type: 'any' })
    expect(system.deadLettersByCode()).toEqual(new Map([['actor.bad_address', 1]]))
  })
})
