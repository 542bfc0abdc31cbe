/** The clock of the machine is set, back or on, while actors wait: for an answer, a timer, their idle time, the end of a token. */
import { describe, expect, it } from 'vitest'
import { assign, createMachine } from 'xstate'
import { SlidingWindows } from '../../actors/rate.ts'
import { defineActor } from '../../actors/system/definition.ts'
import { type Delivery, webhookKind } from '../../actors/webhook.ts'
import { BusHouse, publishing } from './busHouse.ts'
import { DocumentHouse, updateOf } from './documentHouse.ts'
import { house, Machine, quiet, track } from './house.ts'

const hourMs = 3_600_000
const bothWays = [
  ['back', -hourMs],
  ['on', hourMs],
] as const

/** A durable actor with one timer; `rings` is when it rang. */
const definePulse = (idleMs = 120_000) => {
  const rings: number[] = []
  const pulse = defineActor<null, { type: 'set'; ms: number } | { type: 'beat' } | { type: 'look' }, string>({
    kind: 'pulse',
    state: () => null,
    handlers: {
      set: (_state, { ms }, scope) => scope.after('beat', ms, { type: 'beat' }),
      beat: (_state, _message, scope) => {
        rings.push(scope.monotonic() - 1_000_000)
      },
      look: () => {},
    },
    durable: { version: 1, apply: () => {} },
    passivation: { idleMs },
  })
  return { rings, pulse }
}

describe.each(bothWays)('a clock that is set %s by an hour', (_, setMs) => {
  it('[CLK1] makes nobody wait longer, or shorter, for an answer, a timer or its idle time', async () => {
    const rings: string[] = []
    const waiter = defineActor<null, { type: 'never' } | { type: 'arm' } | { type: 'ring' }>({
      kind: 'waiter',
      state: () => null,
      handlers: {
        never: () => new Promise(() => {}),
        arm: (_state, _message, scope) => scope.after('ring', 3_000, { type: 'ring' }),
        ring: () => rings.push('ring'),
      },
      passivation: { idleMs: 1_000 },
    })
    const { system, clock } = house([waiter])
    const answer = track(system.ask('waiter/deaf', { type: 'never' }, { timeoutMs: 3_000 }))
    system.tell('waiter/armed', { type: 'arm' })
    await clock.advance(1_000)
    clock.set(setMs)
    system.tell('waiter/idle', { type: 'ring' })
    await clock.advance(1_990)
    expect([answer.state, rings, system.counts().get('waiter')]).toEqual(['open', ['ring'], 2])
    await clock.advance(20)
    expect([answer.value, rings]).toEqual(['actor.ask_timeout', ['ring', 'ring']])
  })

  it('[CLK1] leaves the rate at which a client may speak as it is', async () => {
    const bus = await BusHouse.boot({ requestsPerMinute: 3, userRequests: new SlidingWindows(5, 60_000) })
    const client = bus.connect('ada')
    const speak = async (count: number) => {
      for (let i = 0; i < count; i++) client.say(publishing('news', 'x'))
      await quiet()
      return client.refusals.map(({ code, retryAfterMs }) => `${code} ${retryAfterMs}`)
    }
    expect(await speak(3)).toEqual([])
    await bus.clock.advance(10_000)
    bus.clock.set(setMs)
    expect(await speak(1)).toEqual(['rate.limited 50000'])
    await bus.clock.advance(50_000)
    expect(await speak(1)).toHaveLength(1)
  })

  it('[CLK1] keeps those who were lost present for their grace', async () => {
    const bus = await BusHouse.boot()
    const [ada, bob] = await bus.members(['ada', 'bob'], 'news')
    await ada.close()
    await bus.clock.advance(1_000)
    bus.clock.set(setMs)
    bob.news()
    await bus.clock.advance(3_900)
    expect(bob.news()).toEqual([])
    await bus.clock.advance(200)
    expect(bob.news()).toHaveLength(1)
  })

  it('[CLK4] rings a durable timer in its time, and after no longer than that when the process was another one then', async () => {
    const { rings, pulse } = definePulse()
    const machine: Machine = await Machine.boot([pulse])
    await machine.system.ask('pulse/a', { type: 'set', ms: 4_000 })
    machine.clock.set(setMs)
    await machine.clock.advance(3_999)
    expect(rings).toEqual([])
    await machine.clock.advance(1)
    expect(rings).toEqual([4_000])
    await machine.system.ask('pulse/a', { type: 'set', ms: 4_000 })
    machine.clock.set(setMs)
    await machine.crash()
    await machine.system.ask('pulse/a', { type: 'look' })
    await machine.clock.advance(4_000)
    expect(rings).toHaveLength(2)
  })

  it('[CLK4] wakes for a durable timer that another process has set, without a message', async () => {
    const { rings, pulse } = definePulse()
    const machine: Machine = await Machine.boot([pulse])
    await machine.system.ask('pulse/a', { type: 'set', ms: 4_000 })
    machine.clock.set(setMs)
    await machine.crash()
    await machine.clock.advance(4_100)
    expect(rings).toHaveLength(1)
  })

  it('[CLK4] lets a machine that is on disk go on in time, though times on disk never go back', async () => {
    const lamp = defineActor({
      kind: 'lamp',
      logic: createMachine({
        context: { turns: 0 },
        initial: 'off',
        states: {
          off: { on: { press: 'on' } },
          on: { after: { 2000: { target: 'off', actions: assign({ turns: ({ context }) => context.turns + 1 }) } } },
        },
      }),
      durable: { version: 1 },
    })
    const machine = await Machine.boot([lamp])
    for (let turns = 1; turns <= 2; turns++) {
      await machine.system.ask('lamp/a', { type: 'press' })
      machine.clock.set(setMs)
      await machine.clock.advance(2_100)
      expect(machine.system.inspect('lamp/a')).toMatchObject({ value: 'off', context: { turns } })
    }
  })

  it('[CLK5] tells webhooks of what happened before, and tries again after as long as ever', async () => {
    const taken: Delivery[] = []
    const kind = webhookKind({
      deliver: async (_name, delivery) => {
        taken.push(delivery)
        return taken.length === 1 ? 'failed' : 'delivered'
      },
    })
    const machine = await Machine.boot([kind])
    const event = { type: 'document.changed', document: 'plan', tenant: '', at: machine.clock.now(), users: [] }
    machine.system.tell('webhook/site', { type: 'webhook.note', event })
    await machine.clock.advance(100)
    machine.clock.set(setMs)
    await machine.clock.advance(2_000)
    expect(taken).toHaveLength(1)
    machine.clock.set(setMs)
    await machine.clock.advance(1_100)
    expect(taken).toHaveLength(2)
  })

  it('[CLK5] delivers after a restart what waited before it, without another event', async () => {
    const taken: Delivery[] = []
    const deliver = async (_name: string, delivery: Delivery) => {
      taken.push(delivery)
      return 'delivered' as const
    }
    const machine = await Machine.boot([webhookKind({ deliver })])
    const event = { type: 'document.changed', document: 'plan', tenant: '', at: machine.clock.now(), users: [] }
    machine.system.tell('webhook/site', { type: 'webhook.note', event })
    await machine.clock.advance(100)
    machine.clock.set(setMs)
    await machine.crash()
    await machine.clock.advance(2_100)
    expect(taken).toHaveLength(1)
  })

  it('[CLK5] does not keep the sweep of documents from its daily round', async () => {
    const documents = await DocumentHouse.open({ deletedMs: 0, idleMs: 1_000 })
    const { clock } = documents.world
    documents.sweep()
    await clock.advance(10_000)
    clock.set(100 * 24 * setMs)
    await documents.append('late', updateOf('x'))
    await documents.life('late', { type: 'document.remove', by: '' })
    await documents.reboot()
    documents.sweep()
    await clock.advance(10_000)
    expect(await documents.journals.list('document/')).toEqual([])
  })

  it('[CLK3] gives no entry of a journal a time before that of the entry before it', async () => {
    const documents = await DocumentHouse.open()
    const times: number[] = []
    for (const word of ['one', 'two', 'three']) {
      await documents.append('plan', updateOf(word))
      documents.world.clock.set(setMs)
    }
    for (const { time } of await documents.journals.read('document/plan')) times.push(time)
    expect(times).toEqual([...times].sort((a, b) => a - b))
    expect(times).toHaveLength(3)
  })
})

describe('a durable timer', () => {
  it('[CLK4] of an actor that is idle meanwhile waits no longer on a clock that was set back', async () => {
    const { rings, pulse } = definePulse(1_000)
    const machine = await Machine.boot([pulse])
    await machine.system.ask('pulse/a', { type: 'set', ms: 600_000 })
    machine.clock.set(-hourMs)
    await machine.crash()
    const began = machine.clock.monotonic()
    await machine.clock.advance(600_100)
    expect(rings).toHaveLength(1)
    expect(rings[0]).toBeLessThanOrEqual(began - 1_000_000 + 600_100)
    await machine.clock.advance(10_000)
    expect(machine.system.counts().get('pulse')).toBe(0)
  })

  it('[CLK4] rings within a minute when a clock that was behind at the start is put right', async () => {
    const { rings, pulse } = definePulse(1_000)
    const machine = await Machine.boot([pulse])
    await machine.system.ask('pulse/a', { type: 'set', ms: hourMs })
    await machine.clock.advance(0.9 * hourMs)
    machine.clock.set(-0.5 * hourMs)
    await machine.crash()
    await machine.clock.advance(0.1 * hourMs)
    expect(rings).toEqual([])
    machine.clock.set(0.5 * hourMs)
    await machine.clock.advance(61_000)
    expect(rings).toHaveLength(1)
  })

  it('[CLK4] wakes thousands of actors one after the other', async () => {
    const { rings, pulse } = definePulse()
    const machine = await Machine.boot([pulse])
    for (let i = 0; i < 200; i++) machine.system.tell(`pulse/${i}`, { type: 'set', ms: 1_000 })
    await machine.system.quiesce()
    machine.clock.set(-hourMs)
    await machine.crash()
    await machine.clock.advance(100)
    expect(machine.system.counts().get('pulse')).toBeLessThanOrEqual(101)
    await machine.clock.advance(1_200)
    expect(rings).toHaveLength(200)
  })
})

describe('the account of a client', () => {
  const start = 1_000_000
  const arrive = async () => {
    const bus = await BusHouse.boot()
    return { bus, client: bus.connect('ada', { account: { isAnonymous: false, expiresAt: start + 90_000 } }) }
  }

  it('[CLK2] ends when a clock that was set back says so', async () => {
    const { bus, client } = await arrive()
    bus.clock.set(-30_000)
    await bus.clock.advance(119_000)
    expect(client.isThere).toBe(true)
    await bus.clock.advance(1_000)
    expect(client.sink.closing?.code).toBe('auth.expired')
  })

  it('[CLK2] ends within a minute when a clock that is set on says so', async () => {
    const { bus, client } = await arrive()
    await bus.clock.advance(1_000)
    bus.clock.set(hourMs)
    await bus.clock.advance(60_000)
    expect(client.sink.closing?.code).toBe('auth.expired')
  })
})
