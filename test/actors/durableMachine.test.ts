import { describe, expect, it } from 'vitest'
import { assign, createMachine, fromPromise, fromTransition, raise, setup } from 'xstate'
import { defineActor, type Resume } from '../../actors/system/definition.ts'
import { reply, tell } from '../../actors/system/scope.ts'
import { SeededRandom } from '../support/world.ts'
import { type Any, codeOf, codes, house, Machine, quiet, track } from './house.ts'

const boom = () => {
  throw new Error('boom')
}

interface Sum {
  readonly n: number
}
const add = assign<Sum, Any, undefined, Any, never>(({ context, event }) => ({ n: context.n + Number(event.by) }))

const sum = (extra: object = {}) =>
  defineActor({
    kind: 'sum',
    logic: setup({ types: { context: {} as Sum, events: {} as Any } }).createMachine({
      context: { n: 0 },
      initial: 'open',
      states: { open: {}, shut: { type: 'final' } },
      on: {
        add: { actions: add as never },
        addAndThrow: { actions: [add as never, boom] },
        throwInAssign: { actions: assign(boom) as never },
        get: { actions: reply(({ context }: { context: Sum }) => context.n) },
        shut: '.shut',
      },
    }),
    durable: { version: 1 },
    ...extra,
  })

const ask = (machine: Machine, type: string, fields: object = {}) => machine.system.ask('sum/a', { type, ...fields })

describe('durable XState logic', () => {
  it('[DM1] sees a message only when it is on disk', async () => {
    const machine = await Machine.boot([sum()])
    await ask(machine, 'get')
    machine.disk.hold()
    const answer = track(ask(machine, 'add', { by: 2 }))
    await quiet()
    expect(answer.state).toBe('open')
    expect(machine.system.inspect('sum/a')).toMatchObject({ context: { n: 0 } })
    machine.disk.release()
    await quiet()
    expect(answer.value).toMatchObject({ value: 'open', context: { n: 2 } })
    expect(machine.disk.contents('sum/a')).toEqual([
      ['i', null],
      ['e', { type: 'get' }],
      ['e', { type: 'add', by: 2 }],
    ])
  })

  it('[DM2] has its state and context after a crash; what was not on disk is gone', async () => {
    const machine = await Machine.boot([sum()])
    for (const by of [1, 2, 3]) await ask(machine, 'add', { by })
    machine.disk.hold()
    machine.system.tell('sum/a', { type: 'add', by: 100 })
    await quiet()
    await machine.crash()
    machine.disk.release()
    expect(await ask(machine, 'get')).toBe(6)
  })

  it('[DM3] works for fromTransition, with snapshots on passivation and after `snapshotEvery`', async () => {
    const tally = defineActor({
      kind: 'sum',
      logic: fromTransition((state: Sum, event: Any) => ({ n: state.n + Number(event.by ?? 0) }), { n: 0 }),
      durable: { version: 1, snapshotEvery: 10 },
    })
    const machine = await Machine.boot([tally])
    for (let i = 0; i < 25; i++) await ask(machine, 'add', { by: 1 })
    expect((await machine.disk.open().snapshot('sum/a'))?.offset).toBeGreaterThanOrEqual(20)
    await machine.clock.advance(200_000)
    expect(machine.system.counts().get('sum')).toBe(0)
    expect((await machine.disk.open().snapshot('sum/a'))?.offset).toBe(26)
    await machine.crash()
    expect(await ask(machine, 'add', { by: 1 })).toEqual({ n: 26 })
  })

  it.each(['addAndThrow', 'throwInAssign'])(
    '[DM4] a poison message (%s) in the middle of a batch: the rest is handled and answered, the state is without it, after a crash too',
    async (poison) => {
      const machine = await Machine.boot([sum()])
      await ask(machine, 'add', { by: 1 })
      const answers = [
        ask(machine, 'add', { by: 10 }),
        ask(machine, poison, { by: 1_000 }),
        ask(machine, 'add', { by: 100 }),
        ask(machine, 'get'),
      ].map(track)
      await machine.clock.advance(1_000)
      expect(answers.map(({ state }) => state)).toEqual(['kept', 'broken', 'kept', 'kept'])
      expect(answers[1]?.value).toBe('actor.failed')
      expect(answers[3]?.value).toBe(111)
      expect(codes(machine.system)).toEqual(['actor.failed'])
      await ask(machine, 'add', { by: 5 })
      await machine.crash()
      expect(await ask(machine, 'get')).toBe(116)
    },
  )

  it('[DM5] stopped while messages are on their way to disk refuses them, and no later life handles them', async () => {
    const machine = await Machine.boot([sum()])
    await ask(machine, 'add', { by: 1 })
    machine.disk.hold()
    const answer = track(ask(machine, 'add', { by: 10 }))
    await quiet()
    machine.system.stop('sum/a')
    const next = track(ask(machine, 'get'))
    await quiet()
    machine.disk.release()
    await quiet()
    expect(answer).toEqual({ state: 'broken', value: 'actor.stopped' })
    expect(next).toEqual({ state: 'kept', value: 1 })
    await machine.crash()
    expect(await ask(machine, 'get')).toBe(1)
  })

  it('[DM6] failing for good in the middle of a batch refuses the rest of it, and no later life handles it', async () => {
    const machine = await Machine.boot([sum({ supervision: { restarts: 0 } })])
    await ask(machine, 'add', { by: 1 })
    const answers = [ask(machine, 'addAndThrow', { by: 10 }), ask(machine, 'add', { by: 100 })].map(track)
    await machine.clock.advance(1_000)
    expect(answers.map(({ value }) => value)).toEqual(['actor.failed', 'actor.stopped'])
    await machine.crash()
    expect(await ask(machine, 'get')).toBe(1)
  })

  it.each(['storage.full', 'storage.failed'] as const)(
    '[DM7] when the disk refuses (%s) the askers get its code, and later messages work',
    async (code) => {
      const machine = await Machine.boot([sum()])
      await ask(machine, 'add', { by: 1 })
      machine.disk.refuse(code)
      expect(await codeOf(ask(machine, 'add', { by: 2 }))).toBe(code)
      expect(await codeOf(machine.system.ask('sum/b', { type: 'get' }))).toBe(code)
      machine.disk.refuse(undefined)
      await machine.clock.advance(2_000)
      expect(await ask(machine, 'add', { by: 4 })).toMatchObject({ context: { n: 5 } })
      expect(await machine.system.ask('sum/b', { type: 'get' })).toBe(0)
      expect(machine.system.health().isHealthy).toBe(true)
    },
  )

  it('[DM8] a conflict with another writer refuses the batch, and the state takes the other messages in', async () => {
    const machine = await Machine.boot([sum()])
    await ask(machine, 'add', { by: 1 })
    await machine.disk.open().append('sum/a', [Buffer.from('["e",{"type":"add","by":50}]')])
    expect(await codeOf(ask(machine, 'add', { by: 2 }))).toBe('journal.conflict')
    await machine.clock.advance(1_000)
    expect(await ask(machine, 'get')).toBe(51)
  })

  it('[DM9] a message that is too large, or no JSON value, is refused alone', async () => {
    const machine = await Machine.boot([sum()], {}, { maxEntryBytes: 1_000 })
    const answers = [
      ask(machine, 'add', { by: 1 }),
      ask(machine, 'add', { by: 1, pad: 'x'.repeat(2_000) }),
      ask(machine, 'add', { by: 1n }),
      ask(machine, 'add', { by: 2 }),
      ask(machine, 'get'),
    ].map(track)
    await quiet()
    expect(answers.map(({ state, value }) => (state === 'broken' ? value : state))).toEqual([
      'kept',
      'journal.too_large',
      'actor.failed',
      'kept',
      'kept',
    ])
    expect(answers[4]?.value).toBe(3)
  })

  it('[DM10] a message that the machine has no transition for anywhere is refused without a write', async () => {
    const machine = await Machine.boot([sum()])
    await ask(machine, 'get')
    const { commits } = machine.disk
    expect(await codeOf(ask(machine, 'stranger'))).toBe('actor.unhandled')
    expect(await codeOf(ask(machine, 'xstate.after.1'))).toBe('actor.unhandled')
    expect(machine.disk.commits).toBe(commits)
  })

  it('[DM11] in its final state it stays final: a later message is refused, by the next process too', async () => {
    const machine = await Machine.boot([sum()])
    const reasons: string[] = []
    machine.system.watch('sum/a', ({ reason }) => reasons.push(reason))
    const answers = [ask(machine, 'shut'), ask(machine, 'add', { by: 1 })].map(track)
    await quiet()
    expect(answers.map(({ value }) => (value as { value?: string }).value ?? value)).toEqual(['shut', 'actor.stopped'])
    expect(reasons).toEqual(['done'])
    await machine.crash()
    expect(await codeOf(ask(machine, 'get'))).toBe('actor.stopped')
  })

  it('[DM12] the answer of an invoked promise is a message like others: on disk before the machine sees it', async () => {
    let calls = 0
    const job = defineActor({
      kind: 'job',
      logic: createMachine({
        initial: 'work',
        states: {
          work: { invoke: { src: 'call', id: 'call', onDone: 'done' } },
          done: { on: { look: {} } },
        },
      }).provide({
        actors: {
          call: fromPromise(async () => {
            calls++
            return 5
          }),
        },
      }),
      durable: { version: 1 },
    })
    const machine = await Machine.boot([job])
    machine.system.begin('job/a')
    await quiet()
    expect(machine.disk.contents('job/a')).toMatchObject([
      ['i', null],
      ['e', { type: 'xstate.done.actor.call', output: 5 }],
    ])
    await machine.crash()
    expect(await machine.system.ask('job/a', { type: 'look' })).toMatchObject({ value: 'done' })
    expect(calls).toBe(1)
  })

  it('[DM13] messages that come while it loads, commits, waits after a failure or passivates are handled once and in order (seeds 1 to 40)', async () => {
    let handled = 0
    for (let seed = 1; seed <= 40; seed++) {
      const random = new SeededRandom(seed)
      const list = defineActor({
        kind: 'list',
        logic: setup({ types: { context: {} as { seen: number[] }, events: {} as Any } }).createMachine({
          context: { seen: [] },
          on: {
            note: { actions: assign(({ context, event }) => ({ seen: [...context.seen, Number(event.n)] })) },
            poison: { actions: boom },
            get: { actions: reply(({ context }: { context: { seen: number[] } }) => context.seen) },
          },
        }),
        durable: { version: 1, snapshotEvery: 5 },
        passivation: { idleMs: 20 },
        supervision: { restarts: 1_000 },
      })
      const machine = await Machine.boot([list], {}, { flushMs: () => random.below(15) }, seed)
      const sent: number[] = []
      for (let n = 0; n < 60; n++) {
        if (random.chance(0.1)) machine.system.tell('list/a', { type: 'poison' })
        else if (machine.system.tell('list/a', { type: 'note', n })) sent.push(n)
        if (random.chance(0.5)) await machine.clock.advance(random.below(60))
      }
      await machine.clock.advance(60_000)
      await machine.crash()
      const seen = track(machine.system.ask('list/a', { type: 'get' }))
      await machine.clock.advance(1_000)
      expect(seen.value, `seed ${seed}`).toEqual(sent)
      handled += sent.length
    }
    expect(handled).toBeGreaterThan(1_500)
  })

  it('[DM14] a poison message that the disk did not let mark is left out all the same, and marked with the next message', async () => {
    const machine = await Machine.boot([sum()])
    await ask(machine, 'add', { by: 1 })
    machine.disk.hold()
    const poison = track(ask(machine, 'addAndThrow', { by: 1_000 }))
    await quiet()
    machine.disk.flush(1)
    await quiet()
    machine.disk.refuse('storage.full')
    machine.disk.release()
    await quiet()
    expect(poison.value).toBe('actor.failed')
    machine.disk.refuse(undefined)
    await machine.clock.advance(1_000)
    expect(await ask(machine, 'get')).toBe(1)
    await machine.crash()
    expect(await ask(machine, 'get')).toBe(1)
  })
})

describe('timers of a durable machine', () => {
  const rings: number[] = []
  const alarm = (resume?: Resume, extra: object = {}) =>
    defineActor({
      kind: 'alarm',
      logic: createMachine({
        initial: 'set',
        states: {
          set: { after: { 10000: 'rung' }, on: { poke: {}, again: { target: 'set', reenter: true }, cancel: 'off' } },
          rung: { entry: tell('bell/a', { type: 'ring' }), on: { poke: {}, again: 'set' } },
          off: { on: { poke: {} } },
        },
      }),
      durable: { version: 1, ...(resume === undefined ? {} : { resume }) },
      passivation: { idleMs: 1_000 },
      ...extra,
    })
  const boot = async (resume?: Resume) => {
    rings.length = 0
    const machine: Machine = await Machine.boot([
      alarm(resume),
      defineActor<null, { type: 'ring' }>({
        kind: 'bell',
        state: () => null,
        handlers: { ring: () => rings.push(machine.clock.now() - 1_000_000) },
      }),
    ])
    return machine
  }

  it.each<[Resume, number]>([
    ['deadline', 10_000],
    ['remaining', 20_000 + 10_000 - 4_000],
    ['restart', 20_000 + 10_000],
  ])('[TM1] goes on by %s after the process was away', async (resume, at) => {
    const machine = await boot(resume)
    machine.system.begin('alarm/a')
    await machine.clock.advance(4_000)
    machine.system.tell('alarm/a', { type: 'poke' })
    await machine.clock.advance(1_000)
    machine.disk.crash()
    machine.clock.forget()
    if (resume !== 'deadline') machine.clock.pass(15_000)
    await machine.boot()
    await machine.clock.advance(60_000)
    expect(rings).toEqual([at])
  })

  it('[TM2] whose deadline passed while the process was away fires at once, and once', async () => {
    const machine = await boot()
    machine.system.begin('alarm/a')
    await machine.clock.advance(1_000)
    machine.disk.crash()
    machine.clock.forget()
    machine.clock.pass(100_000)
    await machine.boot()
    await machine.clock.advance(60_000)
    expect(rings).toEqual([101_000])
    await machine.crash()
    await machine.clock.advance(60_000)
    expect(rings).toHaveLength(1)
  })

  it.each<Resume>(['deadline', 'remaining', 'restart'])('[TM3] is not changed by passivation (%s)', async (resume) => {
    const machine = await boot(resume)
    machine.system.begin('alarm/a')
    await machine.clock.advance(5_000)
    expect(machine.system.counts().get('alarm')).toBe(resume === 'deadline' ? 0 : 1)
    await machine.clock.advance(60_000)
    expect(rings).toEqual([10_000])
  })

  it('[TM4] wakes its actor after a restart of the process, passivated or not, without a message', async () => {
    const machine = await boot()
    for (const id of ['a', 'b', 'c']) machine.system.begin(`alarm/${id}`)
    await machine.clock.advance(5_000)
    await machine.reboot()
    expect(machine.system.counts().get('alarm')).toBe(0)
    await machine.clock.advance(60_000)
    expect(rings).toEqual([10_000, 10_000, 10_000])
  })

  it('[TM5] entered again starts anew, and one that was left does not fire', async () => {
    const machine = await boot()
    machine.system.begin('alarm/a')
    machine.system.begin('alarm/b')
    await machine.clock.advance(9_000)
    machine.system.tell('alarm/a', { type: 'again' })
    machine.system.tell('alarm/b', { type: 'cancel' })
    await machine.clock.advance(500)
    await machine.crash()
    await machine.clock.advance(60_000)
    expect(rings).toEqual([19_000])
  })

  it('[TM6] that rings while a message which cancels or restarts it waits before it does not fire too early', async () => {
    rings.length = 0
    const bell = defineActor<null, { type: 'ring' }>({ kind: 'bell', state: () => null, handlers: { ring: () => rings.push(0) } })
    const machine = await Machine.boot([alarm(undefined, { passivation: false }), bell])
    machine.system.begin('alarm/a')
    await machine.clock.advance(9_500)
    machine.clock.pass(500)
    machine.system.tell('alarm/a', { type: 'again' })
    machine.clock.step()
    await machine.clock.advance(9_999)
    expect(machine.system.inspect('alarm/a')).toMatchObject({ value: 'set' })
    await machine.clock.advance(1)
    expect(rings).toHaveLength(1)
  })

  it('[TM7] whose message the disk refuses is tried again, and fires once', async () => {
    const machine = await boot()
    machine.system.begin('alarm/a')
    await machine.clock.advance(9_000)
    machine.disk.refuse('storage.full')
    await machine.clock.advance(5_000)
    expect(rings).toEqual([])
    machine.disk.refuse(undefined)
    await machine.clock.advance(60_000)
    expect(rings).toHaveLength(1)
    expect(rings[0]).toBeLessThanOrEqual(15_000)
  })

  it('[TM8] two delayed events of one type both come, by name as well as without one', async () => {
    const beats: string[] = []
    const note = ({ event }: { event: Any }) => beats.push(String(event.n))
    const twice = (delay: number, n: number, id?: string) =>
      raise({ type: 'beat', n } as never, { delay, ...(id === undefined ? {} : { id }) })
    const heart = defineActor({
      kind: 'heart',
      logic: createMachine({
        entry: [twice(10, 1), twice(20, 2), twice(30, 3, 'named'), twice(40, 4, 'named')],
        on: { beat: { actions: note as never }, poke: {} },
      }),
      durable: { version: 1 },
    })
    const machine = await Machine.boot([heart])
    machine.system.begin('heart/a')
    await machine.clock.advance(5)
    await machine.crash()
    await machine.clock.advance(1_000)
    expect(beats).toEqual(['1', '2', '4'])
  })

  it('[TM9] keeps its resumed deadline when its actor fails and is read again', async () => {
    const machine = await Machine.boot([
      alarm('restart', {
        logic: createMachine({ initial: 'set', states: { set: { after: { 10000: 'rung' }, on: { fail: { actions: boom } } }, rung: {} } }),
      }),
    ])
    machine.system.begin('alarm/a')
    await machine.clock.advance(8_000)
    await machine.crash()
    await machine.clock.advance(9_000)
    machine.system.tell('alarm/a', { type: 'fail' })
    await machine.clock.advance(500)
    expect(machine.system.inspect('alarm/a')).toMatchObject({ value: 'set' })
    await machine.clock.advance(1_000)
    expect(machine.system.inspect('alarm/a')).toMatchObject({ value: 'rung' })
  })
})

describe('timers of a durable table', () => {
  type Beat =
    | { type: 'set'; name: string; ms: number; resume?: Resume }
    | { type: 'cancel'; name: string }
    | { type: 'beat'; name: string }
    | { type: 'bad' }
    | { type: 'setBad'; ms: number }
  const make = (rings: string[], now: () => number) =>
    defineActor<{ beats: number }, Beat, string>({
      kind: 'pulse',
      state: () => ({ beats: 0 }),
      handlers: {
        set: (_, { name, ms, resume }, scope) => scope.after(name, ms, { type: 'beat', name }, resume === undefined ? {} : { resume }),
        cancel: (_, { name }, scope) => scope.cancel(name),
        beat: (_, { name }, scope) => {
          void scope.persist(name)
          rings.push(`${name} at ${now() - 1_000_000}`)
        },
        bad: () => boom(),
        setBad: (_, { ms }, scope) => scope.after('bad', ms, { type: 'bad' }),
      },
      durable: { version: 1, apply: (state) => void state.beats++ },
    })
  const boot = async (disk = {}) => {
    const rings: string[] = []
    const machine: Machine = await Machine.boot([make(rings, () => machine.clock.now())], {}, disk)
    return { machine, rings }
  }

  it('[TM10] survive a crash, fire once, and replace or cancel one another by name', async () => {
    const { machine, rings } = await boot()
    for (const [name, ms] of [
      ['a', 1_000],
      ['b', 2_000],
      ['c', 3_000],
      ['b', 4_000],
    ] as const)
      await machine.system.ask('pulse/p', { type: 'set', name, ms })
    await machine.system.ask('pulse/p', { type: 'cancel', name: 'c' })
    await machine.crash()
    await machine.clock.advance(2_500)
    await machine.crash()
    await machine.clock.advance(60_000)
    expect(rings).toEqual(['a at 1000', 'b at 4000'])
  })

  it.each<[Resume, number]>([
    ['deadline', 16_000],
    ['remaining', 16_000 + 9_000],
    ['restart', 16_000 + 10_000],
  ])('[TM1] goes on by %s after the process was away', async (resume, at) => {
    const { machine, rings } = await boot()
    await machine.system.ask('pulse/p', { type: 'set', name: 'x', ms: 10_000, resume })
    await machine.clock.advance(1_000)
    await machine.system.ask('pulse/p', { type: 'set', name: 'late', ms: 99_000 })
    machine.disk.crash()
    machine.clock.forget()
    machine.clock.pass(15_000)
    await machine.boot()
    await machine.clock.advance(30_000)
    expect(rings).toEqual([`x at ${at}`])
  })

  it('[TM11] an answer to whoever set a timer leaves when timer and wake-up are both on disk', async () => {
    const { machine } = await boot()
    machine.disk.hold()
    const set = track(machine.system.ask('pulse/p', { type: 'set', name: 'x', ms: 10_000 }))
    await quiet()
    expect(machine.disk.waiting).toBe(2)
    machine.disk.flush(1)
    await quiet()
    expect(set.state).toBe('open')
    machine.disk.flush(1)
    await quiet()
    expect(set.state).toBe('kept')
  })

  it('[TM12] a timer whose handler throws is a dead letter once, and does not come back after a restart', async () => {
    const { machine } = await boot()
    await machine.system.ask('pulse/p', { type: 'setBad', ms: 100 })
    await machine.clock.advance(5_000)
    expect(codes(machine.system)).toEqual(['actor.failed'])
    await machine.crash()
    await machine.clock.advance(60_000)
    expect(codes(machine.system)).toEqual([])
  })

  it('[TM13] a timer whose message the disk refuses fires again until its events are stored', async () => {
    const { machine } = await boot()
    await machine.system.ask('pulse/p', { type: 'set', name: 'x', ms: 100 })
    machine.disk.refuse('storage.full')
    await machine.clock.advance(5_000)
    machine.disk.refuse(undefined)
    await machine.clock.advance(5_000)
    expect(machine.system.inspect('pulse/p')).toEqual({ beats: 1 })
    await machine.crash()
    await machine.clock.advance(60_000)
    expect(machine.disk.contents('pulse/p').filter((record) => (record as string[])[0] === 'e')).toEqual([['e', 'x']])
    expect(machine.system.deadLetters()).toEqual([])
  })

  it('[TM14] a failed wake-up write is written later', async () => {
    const { machine, rings } = await boot()
    await machine.system.ask('pulse/p', { type: 'set', name: 'y', ms: 500_000 })
    await machine.system.ask('pulse/p', { type: 'cancel', name: 'y' })
    machine.disk.hold()
    const set = track(machine.system.ask('pulse/p', { type: 'set', name: 'x', ms: 50_000 }))
    await quiet()
    machine.disk.refuse('storage.full')
    machine.disk.flush(1)
    machine.disk.refuse(undefined)
    machine.disk.release()
    await quiet()
    expect(set.state).toBe('kept')
    await machine.clock.advance(2_000)
    await machine.crash()
    await machine.clock.advance(60_000)
    expect(rings).toEqual(['x at 50000'])
  })

  it('[TM16] of an actor that failed for good, the timers wake it in the next process', async () => {
    const { machine, rings } = await boot()
    await machine.system.ask('pulse/p', { type: 'set', name: 'x', ms: 50_000 })
    for (let i = 0; i < 4; i++) machine.system.tell('pulse/p', { type: 'bad' })
    await machine.clock.advance(2_000)
    expect(machine.system.health().failed).toEqual(['pulse/p'])
    await machine.reboot()
    await machine.clock.advance(60_000)
    expect(rings).toEqual(['x at 50000'])
  })

  it('[TM17] of an actor that was stopped on purpose wake nobody; they are there when a message brings it back', async () => {
    const { machine, rings } = await boot()
    await machine.system.ask('pulse/p', { type: 'set', name: 'x', ms: 5_000 })
    machine.system.stop('pulse/p')
    await machine.clock.advance(6_000)
    await machine.reboot()
    await machine.clock.advance(6_000)
    expect(rings).toEqual([])
    machine.system.begin('pulse/p')
    await machine.clock.advance(1)
    expect(rings).toEqual(['x at 12000'])
  })

  it('[TM15] timers of a table without a journal end with the incarnation', async () => {
    const rings: string[] = []
    const { system, clock } = house([{ ...make(rings, () => 0), durable: undefined }])
    system.tell('pulse/p', { type: 'set', name: 'x', ms: 1_000 })
    system.tell('pulse/p', { type: 'bad' })
    await clock.advance(10_000)
    expect(rings).toEqual([])
  })
})
