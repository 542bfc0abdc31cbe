import { describe, expect, it } from 'vitest'
import type { Output, TelemetryEvent } from '../../actors/output.ts'
import { defineActor } from '../../actors/system/definition.ts'
import { deadLetterEvent, TelemetryBuffer, telemetryAddress, telemetryKind } from '../../actors/telemetry.ts'
import { quiet } from '../support/world.ts'
import { house } from './house.ts'

type WatcherMessage =
  | { type: 'client.push'; output: Output }
  | { type: 'look'; tenant?: string; seesAll?: boolean; events?: readonly string[] }
  | { type: 'lookAway' }

/** A server that clients look on at; `heard` is what each of them was told, one entry for each output. */
const stage = (maxEvents?: number) => {
  const tap = new TelemetryBuffer(maxEvents)
  const heard: Record<string, (readonly TelemetryEvent[])[]> = {}
  const outputs: Output[] = []
  const client = defineActor<null, WatcherMessage>({
    kind: 'client',
    activation: 'explicit',
    state: () => null,
    handlers: {
      'client.push': (_, { output }, scope) => {
        if (output.type !== 'output.telemetry') return
        outputs.push(output)
        heard[scope.id] = [...(heard[scope.id] ?? []), output.events]
      },
      look: (_, { tenant = '', seesAll = false, events }, scope) =>
        void scope.tell(telemetryAddress, { type: 'telemetry.watch', tenant, seesAll, events }),
      lookAway: (_, __, scope) => void scope.tell(telemetryAddress, { type: 'telemetry.unwatch' }),
    },
  })
  const made = house([client, telemetryKind({ tap })], { onDeadLetter: (letter) => tap.isOn && tap.emit(deadLetterEvent(letter)) })
  const look = async (id: string, how: Omit<Extract<WatcherMessage, { type: 'look' }>, 'type'> = {}) => {
    made.system.begin(`client/${id}`)
    made.system.tell(`client/${id}`, { type: 'look', ...how })
    await quiet()
  }
  return { ...made, tap, heard, outputs, look }
}

const event = (name: string, fields: { tenant?: string; n?: number } = {}): TelemetryEvent => ({
  event: name,
  at: 5,
  tenant: '',
  ...fields,
})
const names = (batches: (readonly TelemetryEvent[])[] | undefined) => batches?.map((batch) => batch.map(({ event }) => event))

describe('telemetry', () => {
  it('is off until somebody watches, so that nobody makes events for nobody, and off again when the last one has gone', async () => {
    const { system, clock, tap, heard, look } = stage()
    tap.emit(event('joined'))
    expect(tap.isOn).toBe(false)
    await look('a')
    await look('b')
    expect(tap.isOn).toBe(true)
    await clock.advance(500)
    expect(heard).toEqual({})
    system.tell('client/a', { type: 'lookAway' })
    await quiet()
    expect(tap.isOn).toBe(true)
    system.stop('client/b')
    await quiet()
    expect(tap.isOn).toBe(false)
    expect(clock.pending).toBe(0)
  })

  it('tells the events of a window together, in their order', async () => {
    const { clock, tap, heard, look } = stage()
    await look('a')
    tap.emit(event('joined', { n: 1 }))
    tap.emit(event('published', { n: 2 }))
    expect(heard).toEqual({})
    await clock.advance(100)
    tap.emit(event('left', { n: 3 }))
    await clock.advance(100)
    expect(heard.a).toEqual([[event('joined', { n: 1 }), event('published', { n: 2 })], [event('left', { n: 3 })]])
  })

  it('tells each watcher of its tenant and of the events that it asked for, and of all tenants who sees all', async () => {
    const { clock, tap, heard, look } = stage()
    await look('a')
    await look('b', { tenant: 'acme' })
    await look('c', { events: ['joined'] })
    await look('d', { tenant: 'acme', seesAll: true })
    for (const name of ['joined', 'left']) for (const tenant of ['', 'acme']) tap.emit(event(`${name}`, { tenant }))
    await clock.advance(100)
    expect(names(heard.a)).toEqual([['joined', 'left']])
    expect(heard.a?.[0]?.every(({ tenant }) => tenant === '')).toBe(true)
    expect(heard.b?.[0]?.map(({ tenant }) => tenant)).toEqual(['acme', 'acme'])
    expect(names(heard.c)).toEqual([['joined']])
    expect(heard.d?.[0]).toHaveLength(4)
  })

  it('takes the newest wish of a watcher for what it wants', async () => {
    const { clock, tap, heard, look } = stage()
    await look('a', { events: ['joined'] })
    await look('a', { events: ['left'] })
    tap.emit(event('joined'))
    tap.emit(event('left'))
    await clock.advance(100)
    expect(names(heard.a)).toEqual([['left']])
  })

  it('makes one output for all who see the same, so that it is encoded once', async () => {
    const { clock, tap, outputs, look } = stage()
    for (const id of ['a', 'b', 'c']) await look(id, { events: ['joined'] })
    await look('d')
    tap.emit(event('joined'))
    await clock.advance(100)
    expect(outputs).toHaveLength(4)
    expect(new Set(outputs).size).toBe(2)
  })

  it('keeps so many events of a window and says how many more there were, whatever was asked for', async () => {
    const { clock, tap, heard, look } = stage(3)
    await look('a', { events: ['joined'] })
    for (let n = 0; n < 8; n++) tap.emit(event(n === 1 ? 'joined' : 'published', { n }))
    await clock.advance(100)
    expect(heard.a).toEqual([[event('joined', { n: 1 }), { event: 'dropped', at: clock.now(), tenant: '', count: 5 }]])
    tap.emit(event('joined'))
    await clock.advance(100)
    expect(names(heard.a)?.at(-1)).toEqual(['joined'])
  })

  it('counts and keeps the events of each tenant for itself: a storm of one takes nothing from another, and is not told to it', async () => {
    const { clock, tap, heard, look } = stage(3)
    await look('a', { tenant: 'acme' })
    await look('b', { tenant: 'initech' })
    await look('c', { seesAll: true })
    for (let n = 0; n < 8; n++) tap.emit(event('published', { tenant: 'acme', n }))
    tap.emit(event('joined', { tenant: 'initech' }))
    await clock.advance(100)
    const dropped = { event: 'dropped', at: clock.now(), tenant: 'acme', count: 5 }
    expect(heard.a?.[0]?.at(-1)).toEqual(dropped)
    expect(heard.b).toEqual([[event('joined', { tenant: 'initech' })]])
    expect(heard.c?.[0]?.slice(3)).toEqual([event('joined', { tenant: 'initech' }), dropped])
  })

  it('takes events of programs, too', async () => {
    const { system, clock, heard, look } = stage()
    await look('a')
    system.tell(telemetryAddress, { type: 'telemetry.event', event: event('deployed') })
    await clock.advance(100)
    expect(names(heard.a)).toEqual([['deployed']])
  })

  it('tells of dead letters with the tenant whose actor was meant, and not what was in them', async () => {
    const { system, clock, heard, look } = stage()
    await look('a')
    await look('b', { tenant: 'acme' })
    system.tell('stranger/one', { type: 'secret', text: 'x' })
    for (const address of ['stranger/~acme/two', 'stranger/~acme']) system.tell(address, { type: 'secret' })
    await clock.advance(100)
    const at = heard.a?.[0]?.[0]?.at
    expect(heard.a).toEqual([
      [{ event: 'dead_letter', at, tenant: '', address: 'stranger/one', message: 'secret', code: 'actor.unknown_kind' }],
    ])
    expect(heard.b?.[0]?.map(({ address }) => address)).toEqual(['stranger/~acme/two', 'stranger/~acme'])
  })
})
