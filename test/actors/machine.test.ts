import { describe, expect, it } from 'vitest'
import { assign, createMachine, fromCallback, fromPromise, fromTransition, raise, sendTo, setup, spawnChild } from 'xstate'
import { defineActor } from '../../actors/system/definition.ts'
import { reply, tell } from '../../actors/system/scope.ts'
import { type Any, codeOf, codes, house, quiet, track } from './house.ts'

const boom = () => {
  throw new Error('boom')
}

describe('a machine', () => {
  const door = defineActor({
    kind: 'door',
    logic: setup({
      types: { context: {} as { opened: number }, events: {} as { type: 'open' | 'close' | 'count' | 'ring' } },
    }).createMachine({
      context: { opened: 0 },
      initial: 'closed',
      on: {
        count: { actions: reply(({ context }: { context: { opened: number } }) => context.opened) },
        ring: { actions: tell('bell/a', { type: 'ring' }) },
      },
      states: {
        closed: { on: { open: { target: 'open', actions: assign({ opened: ({ context }) => context.opened + 1 }) } } },
        open: { on: { close: 'closed' } },
      },
    }),
  })

  it('[MC1] answers an ask with its state, or with what `reply` gives', async () => {
    const { system } = house([door])
    expect(await system.ask('door/a', { type: 'open' })).toEqual({ status: 'active', value: 'open', context: { opened: 1 } })
    expect(await system.ask('door/a', { type: 'count' })).toBe(1)
  })

  it('[MC2] sends to other actors with `tell`, in its own name', async () => {
    const rung: unknown[] = []
    const bell = defineActor<null, { type: 'ring' }>({
      kind: 'bell',
      state: () => null,
      handlers: { ring: (_, __, scope) => rung.push(scope.from) },
    })
    const { system } = house([door, bell])
    system.tell('door/a', { type: 'ring' })
    await quiet()
    expect(rung).toEqual(['door/a'])
  })

  it('[MC3] a message that its state does not handle is a dead letter and rejects the ask; so is one with a name of XState', async () => {
    const { system } = house([door])
    expect(await codeOf(system.ask('door/a', { type: 'close' }))).toBe('actor.unhandled')
    expect(await codeOf(system.ask('door/a', { type: 'xstate.stop' }))).toBe('actor.unhandled')
    system.tell('door/a', { type: 'xstate.done.actor.x' })
    expect(await system.ask('door/a', { type: 'open' })).toMatchObject({ value: 'open' })
    expect(codes(system)).toEqual(['actor.unhandled', 'actor.unhandled', 'actor.unhandled'])
  })

  it('[MC4] that reaches its final state answers, tells its watchers `done`, and begins anew with the next message', async () => {
    const { system } = house([
      defineActor({
        kind: 'once',
        logic: createMachine({ initial: 'on', states: { on: { on: { end: 'off' } }, off: { type: 'final' } } }),
      }),
    ])
    const reasons: string[] = []
    system.watch('once/a', ({ reason }) => reasons.push(reason))
    expect(await system.ask('once/a', { type: 'end' })).toMatchObject({ status: 'done', value: 'off' })
    expect(reasons).toEqual(['done'])
    expect(await system.ask('once/a', { type: 'end' })).toMatchObject({ status: 'done' })
  })

  it('[MC5] `after` fires by the clock of the system, through the mailbox, and not after the state was left', async () => {
    const order: string[] = []
    const { system, clock } = house([
      defineActor({
        kind: 'lamp',
        logic: createMachine({
          initial: 'on',
          states: {
            on: {
              after: { 1000: { target: 'off', actions: () => order.push('after') } },
              on: { note: { actions: () => order.push('note') }, again: { target: 'on', reenter: true } },
            },
            off: {},
          },
        }),
      }),
    ])
    system.begin('lamp/a')
    await clock.advance(999)
    await system.ask('lamp/a', { type: 'again' })
    await clock.advance(999)
    expect(system.inspect('lamp/a')).toMatchObject({ value: 'on' })
    clock.pass(1)
    system.tell('lamp/a', { type: 'note' })
    clock.step()
    expect(order).toEqual([])
    await quiet()
    expect(order).toEqual(['note', 'after'])
    expect(system.inspect('lamp/a')).toMatchObject({ value: 'off' })
  })

  it('[MC6] what it sends itself (raise with delay, sendTo, a promise it invokes) waits its turn in the mailbox', async () => {
    const order: string[] = []
    const note = ({ event }: { event: { type: string } }) => order.push(event.type)
    const { system, clock } = house([
      defineActor({
        kind: 'self',
        logic: createMachine({
          initial: 'idle',
          on: { other: { actions: note }, mine: { actions: note }, late: { actions: note } },
          states: {
            idle: {
              on: {
                go: {
                  target: 'busy',
                  actions: [
                    sendTo(({ self }) => self, { type: 'mine' }),
                    raise({ type: 'late' }, { delay: 10 }),
                    raise({ type: 'late' }, { delay: 20 }),
                  ],
                },
              },
            },
            busy: { invoke: { src: fromPromise(async () => 5), onDone: { target: 'idle', actions: note } } },
          },
        }),
      }),
    ])
    system.tell('self/a', { type: 'go' })
    system.tell('self/a', { type: 'other' })
    await quiet()
    expect(order).toEqual(['other', 'mine', 'xstate.done.actor.0.self/a.busy'.replace('self/a', '(machine)')])
    await clock.advance(100)
    expect(order.slice(3)).toEqual(['late', 'late'])
  })

  it('[MC7] an answer of a child of an earlier incarnation does not reach the next one', async () => {
    let handledAfter = 0
    for (let turns = 0; turns < 12; turns++) {
      let resolve = (_: string): void => {}
      const order: unknown[] = []
      const { system, clock } = house([
        defineActor({
          kind: 'caller',
          logic: createMachine({
            invoke: {
              id: 'call',
              src: fromPromise<string>(() => new Promise((r) => (resolve = r))),
              onDone: { actions: ({ event }) => order.push((event as unknown as { output: unknown }).output) },
            },
            on: { fail: { actions: [() => order.push('failed'), boom] } },
          }),
        }),
      ])
      system.begin('caller/a')
      await quiet()
      resolve('of the first')
      // The answer takes some microtasks; in one of these runs it waits behind the failure.
      for (let i = 0; i < turns; i++) await null
      system.tell('caller/a', { type: 'fail' })
      await clock.advance(1_000)
      expect(['of the first,failed', 'failed']).toContain(order.join())
      if (order[0] === 'failed') handledAfter++
      resolve('of the second')
      await quiet()
      expect(order.at(-1)).toBe('of the second')
    }
    expect(handledAfter).toBeGreaterThan(0)
  })

  it('[MC8] logic made with fromTransition and fromPromise works too', async () => {
    const { system } = house([
      defineActor({
        kind: 'sum',
        logic: fromTransition((state: { n: number }, { by }: Any & { by: number }) => ({ n: state.n + by }), { n: 0 }),
      }),
      defineActor({ kind: 'job', logic: fromPromise(async () => 1) }),
    ])
    const reasons: string[] = []
    system.watch('job/a', ({ reason }) => reasons.push(reason))
    system.begin('job/a')
    expect(await system.ask('sum/a', { type: 'add', by: 2 })).toEqual({ n: 2 })
    expect(await system.ask('sum/a', { type: 'add', by: 3 })).toEqual({ n: 5 })
    await quiet()
    expect(reasons).toEqual(['done'])
  })

  it('[MC9] gets the input of `begin`, or else that of its definition', async () => {
    const logic = setup({ types: { context: {} as { input: unknown } } }).createMachine({
      context: ({ input }) => ({ input }),
      on: { look: {} },
    })
    const { system } = house([defineActor({ kind: 'made', logic, input: (id) => `default ${id}` })])
    system.begin('made/a', 'given')
    expect(await system.ask('made/a', { type: 'look' })).toMatchObject({ context: { input: 'given' } })
    expect(await system.ask('made/b', { type: 'look' })).toMatchObject({ context: { input: 'default b' } })
  })

  it('[MC10] two actors whose machines contain the same systemId live side by side', async () => {
    const { system } = house([
      defineActor({
        kind: 'twin',
        logic: createMachine({
          invoke: { id: 'inner', systemId: 'inner', src: fromPromise(() => new Promise(() => {})) },
          on: { look: {} },
        }),
      }),
    ])
    expect(await system.ask('twin/a', { type: 'look' })).toMatchObject({ status: 'active' })
    expect(await system.ask('twin/b', { type: 'look' })).toMatchObject({ status: 'active' })
    expect(codes(system)).toEqual([])
  })

  it('[MC11] 10 000 of them with `after` timers are stopped in time that grows with their number alone', async () => {
    const { system, clock } = house([
      defineActor({ kind: 'timed', logic: createMachine({ initial: 'a', states: { a: { after: { 60000: 'b' } }, b: {} } }) }),
    ])
    for (let i = 0; i < 10_000; i++) system.begin(`timed/${i}`)
    await system.quiesce()
    const before = process.cpuUsage()
    for (let i = 0; i < 10_000; i++) system.stop(`timed/${i}`)
    const { user } = process.cpuUsage(before) // not the clock: what else the machine does is no matter
    expect(user / 1_000).toBeLessThan(4_000) // each of them looking at all others: a minute
    expect(clock.pending).toBe(0)
  })
})

describe('when something in a machine throws, nothing below it runs on', () => {
  const living = new Set<string>()
  const heart = (name: string) =>
    fromCallback(() => {
      living.add(name)
      return () => living.delete(name)
    })
  const grandchild = createMachine({ invoke: { src: heart('grandchild') } })
  const child = setup({ actors: { grandchild } }).createMachine({
    invoke: [{ src: heart('child') }, { src: 'grandchild', id: 'grandchild' }],
    on: { fail: { actions: boom } },
  })
  const parent = (how: 'invoke' | 'spawn', onError: object | undefined) =>
    defineActor({
      kind: 'parent',
      logic: setup({ actors: { child } }).createMachine({
        ...(how === 'invoke'
          ? { invoke: [{ src: heart('parent') }, { src: 'child', id: 'child', ...(onError === undefined ? {} : { onError }) }] }
          : { invoke: { src: heart('parent') }, entry: spawnChild('child', { id: 'child' }) }),
        on: { fail: { actions: boom }, failChild: { actions: sendTo('child', { type: 'fail' }) }, look: {} },
      } as never) as never,
      supervision: { onFailure: 'stop' },
    })

  it.each(['invoke', 'spawn'] as const)('[ST4] by its own fault (%s)', async (how) => {
    living.clear()
    const { system } = house([parent(how, undefined)])
    system.begin('parent/a')
    await quiet()
    expect([...living].toSorted()).toEqual(['child', 'grandchild', 'parent'])
    system.tell('parent/a', { type: 'fail' })
    await quiet()
    expect([...living]).toEqual([])
  })

  it.each(['invoke', 'spawn'] as const)('[ST4] by a child that nobody catches (%s)', async (how) => {
    living.clear()
    const { system } = house([parent(how, undefined)])
    system.begin('parent/a')
    await quiet()
    system.tell('parent/a', { type: 'failChild' })
    await quiet()
    expect([...living]).toEqual([])
    expect(system.counts().get('parent')).toBe(0)
  })

  it('[ST5] by a child whose error is handled with onError: only the child and what is below it ends', async () => {
    living.clear()
    const { system } = house([parent('invoke', { actions: () => {} })])
    system.begin('parent/a')
    await quiet()
    system.tell('parent/a', { type: 'failChild' })
    await quiet()
    expect([...living]).toEqual(['parent'])
    expect(await system.ask('parent/a', { type: 'look' })).toMatchObject({ status: 'active' })
  })

  it('[ST6] and stopping the actor ends everything below it', async () => {
    living.clear()
    const { system, clock } = house([parent('invoke', undefined)])
    system.begin('parent/a')
    await quiet()
    system.stop('parent/a')
    expect([...living]).toEqual([])
    expect(clock.pending).toBe(0)
  })

  it('[ST7] an entry action that throws is a failed activation', async () => {
    living.clear()
    const { system, clock } = house([
      defineActor({ kind: 'stillborn', logic: createMachine({ invoke: { src: heart('x') }, entry: boom, on: { look: {} } }) }),
    ])
    const answer = track(system.ask('stillborn/a', { type: 'look' }))
    await clock.advance(2_000)
    expect(answer).toEqual({ state: 'broken', value: 'actor.stopped' })
    expect(system.health().failed).toEqual(['stillborn/a'])
    expect([...living]).toEqual([])
  })
})
