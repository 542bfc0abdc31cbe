import { describe, expect, it } from 'vitest'
import { createMachine, fromPromise, sendTo } from 'xstate'
import { defineActor, type Message } from '../../actors/system/definition.ts'
import { type Any, codeOf, codes, house, Machine, quiet, track } from './house.ts'

const room = (extra: object = {}) =>
  defineActor<
    { n: number },
    | { type: 'add' }
    | { type: 'get' }
    | { type: 'wait'; promise: Promise<unknown> }
    | { type: 'arm' }
    | { type: 'spawn' }
    | { type: 'leave' }
  >({
    kind: 'room',
    state: () => ({ n: 0 }),
    handlers: {
      add: (state) => ++state.n,
      get: ({ n }) => n,
      wait: (_, { promise }) => promise,
      arm: (_, __, scope) => scope.after('t', 10_000, { type: 'add' }),
      spawn: (_, __, scope) => scope.spawn('room/child'),
      leave: (_, __, scope) => scope.passivate(),
    },
    passivation: { idleMs: 1_000 },
    ...extra,
  })

const count = (system: { counts(): Map<string, number> }, kind = 'room') => system.counts().get(kind)

describe('passivation', () => {
  it('[PV1] takes an actor out of memory after its idle time, not before', async () => {
    const { system, clock } = house([room()])
    system.tell('room/a', { type: 'add' })
    await clock.advance(900)
    await system.ask('room/a', { type: 'add' })
    await clock.advance(990)
    expect(count(system)).toBe(1)
    await clock.advance(300)
    expect(count(system)).toBe(0)
    expect(codes(system)).toEqual([])
  })

  it('[PV2] is off for kinds without a journal unless asked for, and on after 120 s for durable ones', async () => {
    const { system, clock } = house([room({ passivation: undefined })])
    await system.ask('room/a', { type: 'add' })
    await clock.advance(10_000_000)
    expect(await system.ask('room/a', { type: 'get' })).toBe(1)
    const machine = await Machine.boot([
      defineActor<null, Message, never>({ kind: 'log', state: () => null, handlers: {}, durable: { version: 1, apply: () => {} } }),
    ])
    machine.system.begin('log/a')
    await machine.clock.advance(119_000)
    expect(count(machine.system, 'log')).toBe(1)
    await machine.clock.advance(32_000)
    expect(count(machine.system, 'log')).toBe(0)
  })

  it('[PV3] takes the least recently used ones first when there are more than maxActive', async () => {
    const { system, clock } = house([room()], { maxActive: 3 })
    for (const id of ['a', 'b', 'c']) {
      await system.ask(`room/${id}`, { type: 'add' })
      await clock.advance(1)
    }
    await system.ask('room/a', { type: 'add' })
    await system.ask('room/d', { type: 'add' })
    await quiet()
    expect(
      system
        .actors()
        .map(({ address }) => address)
        .toSorted(),
    ).toEqual(['room/a', 'room/c', 'room/d'])
  })

  it('[PV4] passes over those that cannot leave, and still keeps to maxActive', async () => {
    const { system } = house([room()], { maxActive: 5 })
    for (let i = 0; i < 4; i++) await system.ask(`room/stay${i}`, { type: 'arm' })
    for (let i = 0; i < 50; i++) await system.ask(`room/go${i}`, { type: 'add' })
    expect(count(system)).toBeLessThanOrEqual(5)
    expect(system.actors('room/stay')).toHaveLength(4)
  })

  it('[PV5] waits while a promise of a handler is open', async () => {
    let done = (_: unknown): void => {}
    const { system, clock } = house([room()])
    system.tell('room/a', { type: 'wait', promise: new Promise((resolve) => (done = resolve)) })
    await clock.advance(10_000)
    expect(count(system)).toBe(1)
    done(1)
    await clock.advance(2_000)
    expect(count(system)).toBe(0)
  })

  it('[PV6] waits while a timer runs that has no journal', async () => {
    const { system, clock } = house([room()])
    system.tell('room/a', { type: 'arm' })
    await clock.advance(10_500)
    expect(system.inspect('room/a')).toEqual({ n: 1 })
    await clock.advance(2_000)
    expect(count(system)).toBe(0)
  })

  it('[PV7] waits while children live', async () => {
    const { system, clock } = house([room({ passivation: { idleMs: 1_000 }, canPassivate: () => true })])
    system.tell('room/a', { type: 'spawn' })
    await quiet()
    system.tell('room/child', { type: 'arm' })
    await clock.advance(9_000)
    expect(count(system)).toBe(2)
    await clock.advance(10_000)
    expect(count(system)).toBe(0)
  })

  it('[PV8] waits while canPassivate is false', async () => {
    let may = false
    const { system, clock } = house([room({ canPassivate: () => may })])
    system.tell('room/a', { type: 'add' })
    await clock.advance(10_000)
    expect(count(system)).toBe(1)
    may = true
    await clock.advance(1_000)
    expect(count(system)).toBe(0)
  })

  it('[PV9] waits while a machine has a child at work or an event on its way', async () => {
    let done = (_: unknown): void => {}
    const call = fromPromise(() => new Promise((resolve) => (done = resolve)))
    const { system, clock } = house([
      defineActor({
        kind: 'caller',
        logic: createMachine({
          invoke: { src: call, onDone: { actions: sendTo(({ self }) => self, { type: 'late' }, { delay: 5_000 }) } },
          on: { late: {} },
        }),
        passivation: { idleMs: 1_000 },
      }),
    ])
    system.begin('caller/a')
    await clock.advance(10_000)
    expect(count(system, 'caller')).toBe(1)
    done(1)
    await clock.advance(4_500)
    expect(count(system, 'caller')).toBe(1)
    await clock.advance(3_000)
    expect(count(system, 'caller')).toBe(0)
  })

  it('[PV10] a message in the middle of beforePassivation keeps the actor alive and is answered with its state', async () => {
    let saved = (): void => {}
    const { system, clock } = house([room({ beforePassivation: () => new Promise<void>((resolve) => (saved = resolve)) })])
    await system.ask('room/a', { type: 'add' })
    await clock.advance(1_500)
    const answer = track(system.ask('room/a', { type: 'add' }))
    await quiet()
    expect(answer.state).toBe('open')
    saved()
    await quiet()
    expect(answer.value).toBe(2)
    await clock.advance(1_500)
    saved()
    await quiet()
    expect(count(system)).toBe(0)
    expect(await system.ask('room/a', { type: 'add' })).toBe(1)
  })

  it('[PV11] a message that comes right after the actor left finds a new one; none is lost in either order', async () => {
    const { system, clock } = house([room({ beforePassivation: () => quiet(1) })])
    let answers = 0
    for (let turn = 0; turn < 40; turn++) {
      system.tell('room/a', { type: 'add' })
      await clock.advance(1_000)
      for (let i = 0; i < turn % 5; i++) await quiet(1)
      if ((await system.ask('room/a', { type: 'add' })) !== undefined) answers++
    }
    expect(answers).toBe(40)
    expect(codes(system)).toEqual([])
  })

  it('[PV12] a message that beforePassivation or stopped sends to its own actor is not lost without a word', async () => {
    const hook = (_: unknown, scope: { tell(address: string, message: Any): void; address: string }) =>
      scope.tell(scope.address, { type: 'add' })
    const { system, clock } = house([room({ stopped: hook })])
    await system.ask('room/a', { type: 'add' })
    await clock.advance(2_000)
    expect(codes(system)).toEqual(['actor.stopped'])
  })

  it('[PV13] scope.passivate leaves as soon as the actor may, without idle time', async () => {
    const { system } = house([room({ passivation: undefined })])
    await system.ask('room/a', { type: 'leave' })
    await quiet()
    expect(count(system)).toBe(0)
  })

  it('[PV14] does not count as stopping: watchers are told nothing, and their watch goes on', async () => {
    const reasons: string[] = []
    const { system, clock } = house([room()])
    system.watch('room/a', ({ reason }) => reasons.push(reason))
    await system.ask('room/a', { type: 'add' })
    await clock.advance(2_000)
    expect(reasons).toEqual([])
    await system.ask('room/a', { type: 'add' })
    system.stop('room/a')
    expect(reasons).toEqual(['stopped'])
  })

  it('[PV15] stopping an actor in the middle of passivation stops it', async () => {
    const reasons: string[] = []
    let saved = (): void => {}
    const { system, clock } = house([room({ beforePassivation: () => new Promise<void>((resolve) => (saved = resolve)) })])
    system.watch('room/a', ({ reason }) => reasons.push(reason))
    await system.ask('room/a', { type: 'add' })
    await clock.advance(1_500)
    system.stop('room/a')
    saved()
    await quiet()
    expect(reasons).toEqual(['stopped'])
    expect(count(system)).toBe(0)
  })

  it('[PV16] an actor is listed as idle once, through failures, passivations and evictions', async () => {
    const { system, clock } = house([room({ beforePassivation: () => quiet(1) })], { maxActive: 10 })
    for (let round = 0; round < 30; round++) {
      for (let i = 0; i < 15; i++) system.tell(`room/${(round * 7 + i) % 25}`, { type: 'add' })
      if (round % 3 === 0) await clock.advance(400)
      if (round % 5 === 0) system.stop(`room/${round % 25}`)
      await quiet(2)
    }
    await clock.advance(5_000)
    expect(count(system)).toBe(0)
    for (let i = 0; i < 10; i++) await system.ask(`room/x${i}`, { type: 'add' })
    expect(count(system)).toBe(10)
  })
})

describe('closing', () => {
  const saved: string[] = []
  const relay = defineActor<null, { type: 'pass'; left: number }, number>({
    kind: 'relay',
    state: () => null,
    handlers: {
      pass: (_, { left }, scope) => {
        void scope.persist(left)
        if (left > 0) scope.tell(`relay/${left - 1}`, { type: 'pass', left: left - 1 })
      },
    },
    durable: { version: 1, apply: () => {} },
  })

  it('[CL1] handles everything that was accepted and what follows from it, on disk, with snapshots', async () => {
    const machine = await Machine.boot([relay], {}, { flushMs: () => 5 })
    machine.system.tell('relay/9', { type: 'pass', left: 9 })
    const closed = track(machine.system.close())
    await machine.clock.advance(1_000)
    expect(closed.state).toBe('kept')
    for (let i = 0; i < 10; i++) {
      expect(machine.disk.contents(`relay/${i}`)).toEqual([['e', i]])
      expect(await machine.disk.open().snapshot(`relay/${i}`)).toMatchObject({ offset: 1 })
    }
    expect(machine.system.deadLetters()).toEqual([])
  })

  it('[CL2] from its first moment on takes nothing from outside: tell is false, ask, begin and spawn refuse with system.closed', async () => {
    const { system } = house([room()])
    await system.ask('room/a', { type: 'add' })
    const closed = system.close()
    for (let i = 0; i < 2; i++) {
      expect(system.tell('room/a', { type: 'add' })).toBe(false)
      expect(await codeOf(system.ask('room/a', { type: 'add' }))).toBe('system.closed')
      expect(() => system.begin('room/b')).toThrowError(expect.objectContaining({ code: 'system.closed' }))
      await closed
    }
    expect(new Set(codes(system))).toEqual(new Set(['system.closed']))
  })

  it('[CL3] leaves no alarm behind, whatever was going on', async () => {
    const machine = await Machine.boot([
      room({ passivation: undefined }),
      relay,
      defineActor({
        kind: 'timed',
        logic: createMachine({ after: { 10000: '.b' }, initial: 'a', states: { a: {}, b: {} } } as never) as never,
        durable: { version: 1 },
      }),
    ])
    machine.system.tell('room/a', { type: 'arm' })
    machine.system.tell('room/a', { type: 'spawn' })
    machine.system.begin('timed/a')
    machine.system.tell('relay/3', { type: 'pass', left: 3 })
    void codeOf(machine.system.ask('room/a', { type: 'get' }, { timeoutMs: 77_000 }))
    await quiet()
    await machine.system.close()
    expect(machine.clock.pending).toBe(0)
    expect([...machine.system.counts().values()]).toEqual([0, 0, 0])
  })

  it('[CL4] waits for promises of handlers and for actors that are about to restart', async () => {
    let done = (_: unknown): void => {}
    const { system, clock } = house([
      room(),
      defineActor<null, { type: 'fail' } | { type: 'note' }>({
        kind: 'weak',
        state: () => null,
        handlers: {
          fail: () => {
            throw new Error('weak')
          },
          note: () => saved.push('note'),
        },
      }),
    ])
    const answer = track(system.ask('room/a', { type: 'wait', promise: new Promise((resolve) => (done = resolve)) }))
    system.tell('weak/a', { type: 'fail' })
    system.tell('weak/a', { type: 'note' })
    const closed = track(system.close())
    await clock.advance(1_000)
    expect(saved).toEqual(['note'])
    expect(closed.state).toBe('open')
    done('late')
    await quiet()
    expect([closed.state, answer.value]).toEqual(['kept', 'late'])
  })

  it('[CL5] goes on without a handler that does not end in time', async () => {
    const { system, clock, logged } = house([room()], { closeWithinMs: 3_000 })
    const answer = track(system.ask('room/a', { type: 'wait', promise: new Promise(() => {}) }, { timeoutMs: 60_000 }))
    await quiet()
    const closed = track(system.close())
    await clock.advance(2_900)
    expect(closed.state).toBe('open')
    await clock.advance(200)
    expect(closed.state).toBe('kept')
    expect(answer.value).toBe('system.closed')
    expect(logged).toEqual(['the system is closed while actors are at work'])
    expect(clock.pending).toBe(0)
  })

  it('[CL6] runs beforePassivation of every kind, of children before their parents', async () => {
    const order: string[] = []
    const { system } = house([
      room({ passivation: undefined, beforePassivation: async (_: unknown, { id }: { id: string }) => order.push(id) }),
    ])
    system.tell('room/a', { type: 'spawn' })
    await quiet()
    await system.close()
    expect(order).toEqual(['child', 'a'])
  })

  it('[CL7] tells watches of callers that everybody has stopped', async () => {
    const told: string[] = []
    const { system } = house([room()])
    await system.ask('room/a', { type: 'add' })
    system.watch('room/a', ({ reason }) => told.push(reason))
    await system.close()
    expect(told).toEqual(['stopped'])
  })

  it('[CL8] twice is closing once', async () => {
    const { system } = house([room()])
    await system.ask('room/a', { type: 'add' })
    const first = system.close()
    expect(system.close()).toBe(first)
    await first
  })
})
