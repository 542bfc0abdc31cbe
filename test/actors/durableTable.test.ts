import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defineActor, type EventSourcing } from '../../actors/system/definition.ts'
import type { Scope } from '../../actors/system/scope.ts'
import { SeededRandom } from '../support/world.ts'
import { codeOf, codes, defineBank, Machine, quiet, track } from './house.ts'

const { bank, heard } = defineBank()
const say = (machine: Machine, message: { type: string; [field: string]: unknown }, address = 'bank/a') =>
  machine.system.ask(address, message)

describe('a durable table', () => {
  it('[DT1] has its state after a restart of the process: fold of its events', async () => {
    const machine = await Machine.boot([bank])
    expect(await say(machine, { type: 'put', n: 5 })).toBe(5)
    expect(await say(machine, { type: 'put', n: 7 })).toBe(12)
    await machine.crash()
    expect(await say(machine, { type: 'get' })).toBe(12)
    expect(machine.disk.contents('bank/a')).toEqual([
      ['e', 5],
      ['e', 7],
    ])
  })

  it('[DT2] lets nothing out before its events are on disk: no answer, no promise, no message, no later answer', async () => {
    const machine = await Machine.boot([bank, heard.definition])
    await say(machine, { type: 'put', n: 1 })
    machine.disk.hold()
    const put = track(say(machine, { type: 'put', n: 2 }))
    const later = track(say(machine, { type: 'putLater', n: 3 }))
    const tell = track(say(machine, { type: 'announce', n: 4 }))
    const get = track(say(machine, { type: 'get' }))
    await quiet()
    expect([put, later, tell, get].map(({ state }) => state)).toEqual(['open', 'open', 'open', 'open'])
    expect(heard.messages).toEqual([])
    machine.disk.flush(1)
    await quiet()
    expect([put, later, tell, get].map(({ state }) => state)).toEqual(['kept', 'open', 'open', 'open'])
    machine.disk.release()
    await quiet()
    expect([put, tell, get].map(({ value }) => value)).toEqual([3, 6, 6])
    expect(later.state).toBe('kept')
    expect(heard.messages).toEqual([4])
  })

  it('[DT3] that throws after persist leaves nothing on disk, and its state is that of the disk', async () => {
    const machine = await Machine.boot([bank])
    await say(machine, { type: 'put', n: 1 })
    const broken = track(say(machine, { type: 'putAndThrow', n: 100 }))
    const after = track(say(machine, { type: 'get' }))
    await machine.clock.advance(1_000)
    expect(broken).toEqual({ state: 'broken', value: 'actor.failed' })
    expect(after).toEqual({ state: 'kept', value: 1 })
    expect(machine.disk.contents('bank/a')).toEqual([['e', 1]])
  })

  it.each(['storage.full', 'storage.failed'] as const)(
    '[DT4] when the disk refuses (%s): the asker gets its code, the state is folded anew, later messages work, and it is no failure',
    async (code) => {
      const machine = await Machine.boot([bank, heard.definition])
      heard.messages.length = 0
      await say(machine, { type: 'put', n: 1 })
      machine.disk.hold()
      const asks = [{ type: 'put', n: 2 }, { type: 'get' }, { type: 'announce', n: 3 }, { type: 'putLater', n: 4 }].map((m) =>
        track(say(machine, m)),
      )
      machine.system.tell('bank/a', { type: 'put', n: 5 })
      await quiet()
      machine.disk.refuse(code)
      machine.disk.release()
      await quiet()
      expect(asks.map(({ value }) => value)).toEqual([code, code, code, code])
      expect(codes(machine.system)).toContain(code)
      machine.disk.refuse(undefined)
      const get = track(say(machine, { type: 'get' }))
      await machine.clock.advance(100)
      expect(get).toEqual({ state: 'kept', value: 1 })
      expect(await say(machine, { type: 'put', n: 6 })).toBe(7)
      expect(heard.messages).toEqual([])
      for (let i = 0; i < 10; i++) {
        machine.disk.refuse(code)
        expect(await codeOf(say(machine, { type: 'put', n: 1 }))).toBe(code)
        machine.disk.refuse(undefined)
        await machine.clock.advance(2_000)
      }
      expect(machine.system.health().isHealthy).toBe(true)
      expect(machine.system.actors('bank/a')[0]?.failures).toBe(0)
    },
  )

  it('[DT5] an answer that comes by promise after the disk refused the events is refused with the code of the disk', async () => {
    const machine = await Machine.boot([bank])
    machine.disk.refuse('storage.full')
    const answer = track(say(machine, { type: 'putAndSleep', n: 1 }))
    await quiet()
    machine.disk.refuse(undefined)
    await machine.clock.advance(1_000)
    heard.wake()
    await quiet()
    expect(answer).toEqual({ state: 'broken', value: 'storage.full' })
    expect(await say(machine, { type: 'get' })).toBe(0)
  })

  it('[DT6] a handler that comes back after its incarnation has ended can no longer persist', async () => {
    const machine = await Machine.boot([bank])
    await say(machine, { type: 'put', n: 10 })
    const late = track(say(machine, { type: 'sleepAndPut', n: 1 }))
    await quiet()
    machine.system.tell('bank/a', { type: 'putAndThrow', n: 1 })
    await machine.clock.advance(1_000)
    heard.wake()
    await quiet()
    expect(late).toEqual({ state: 'broken', value: 'actor.stopped' })
    expect(machine.disk.contents('bank/a')).toEqual([['e', 10]])
  })

  it('[DT7] a handler may persist after an await; its answer waits for that too', async () => {
    const machine = await Machine.boot([bank])
    const late = track(say(machine, { type: 'sleepAndPut', n: 1 }))
    await quiet()
    machine.disk.hold()
    heard.wake()
    await quiet()
    expect(late.state).toBe('open')
    machine.disk.release()
    await quiet()
    expect(late).toEqual({ state: 'kept', value: 1 })
  })

  it('[DT8] a conflict with another writer refuses the message, and the state takes the other events in', async () => {
    const machine = await Machine.boot([bank])
    await say(machine, { type: 'put', n: 1 })
    await machine.disk.open().append('bank/a', [Buffer.from('["e",50]')])
    expect(await codeOf(say(machine, { type: 'put', n: 2 }))).toBe('journal.conflict')
    await machine.clock.advance(100)
    expect(await say(machine, { type: 'put', n: 2 })).toBe(53)
  })

  it('[DT9] all that one handler persists is on disk together or not at all', async () => {
    const machine = await Machine.boot([bank])
    await say(machine, { type: 'putTwice', n: 3 })
    expect(machine.disk.commits).toBe(1)
    expect(machine.disk.contents('bank/a')).toHaveLength(2)
  })

  it('[DT10] an actor that comes back while the last writes of the one before are under way misses none of them', async () => {
    const machine = await Machine.boot([bank])
    await say(machine, { type: 'put', n: 1 })
    machine.disk.hold()
    const put = track(say(machine, { type: 'put', n: 2 }))
    await quiet()
    machine.system.stop('bank/a')
    const next = track(say(machine, { type: 'put', n: 3 }))
    await quiet()
    machine.disk.release()
    await quiet()
    expect([put.value, next.value]).toEqual([3, 6])
  })

  it('[DT11] an event that is no JSON value fails its handler and no other', async () => {
    const machine = await Machine.boot([bank])
    const bad = track(say(machine, { type: 'putBig' }))
    await machine.clock.advance(1_000)
    expect(bad).toEqual({ state: 'broken', value: 'actor.failed' })
    expect(await say(machine, { type: 'put', n: 1 })).toBe(1)
  })

  it('[DT12] `state` of a durable kind can neither persist nor set timers, for it is folded more than once', async () => {
    const machine = await Machine.boot([
      defineActor<number, { type: 'get' }>({
        kind: 'eager',
        state: (scope: Scope<never>) => {
          scope.after('t', 10, { type: 'get' })
          return 0
        },
        handlers: { get: (n) => n },
        durable: { version: 1, apply: () => {} },
        supervision: { onFailure: 'stop' },
      }),
    ])
    expect(await codeOf(machine.system.ask('eager/a', { type: 'get' }))).toBe('actor.bad_definition')
  })

  it('[DT13] the input that it was made with is in its journal', async () => {
    const machine = await Machine.boot([bank])
    machine.system.begin('bank/a', 100)
    await say(machine, { type: 'put', n: 1 })
    await machine.crash()
    expect(await say(machine, { type: 'get' })).toBe(101)
  })
})

describe('an `apply` that throws', () => {
  it.each(['atOnce', 'afterAwait'] as const)(
    '[DT23] fails the actor (%s): nothing of its events is on disk or in the state',
    async (type) => {
      interface State {
        n: number
      }
      const strict = defineActor<State, { type: 'atOnce' } | { type: 'afterAwait' } | { type: 'get' }, number>({
        kind: 'strict',
        state: () => ({ n: 0 }),
        handlers: {
          atOnce: (_, __, scope) => scope.persist(1, -1),
          afterAwait: async (_, __, scope) => {
            await null
            await scope.persist(1, -1)
          },
          get: ({ n }) => n,
        },
        durable: {
          version: 1,
          apply: (state, by) => {
            if (by < 0) throw new Error('negative')
            state.n += by
          },
        },
      })
      const machine = await Machine.boot([strict])
      const answer = track(machine.system.ask('strict/a', { type }))
      await machine.clock.advance(1_000)
      expect(answer).toEqual({ state: 'broken', value: 'actor.failed' })
      expect(await machine.system.ask('strict/a', { type: 'get' })).toBe(0)
      expect(machine.disk.contents('strict/a')).toEqual([])
      expect(machine.system.actors('strict')[0]?.failures).toBe(1)
    },
  )
})

describe('snapshots of a durable table', () => {
  const versioned = (version: number, factor = 1, extra: Partial<EventSourcing<{ n: number }, number>> = {}) => {
    const { bank } = defineBank()
    return {
      ...bank,
      durable: { version, snapshotEvery: 10, apply: (state: { n: number }, n: number) => void (state.n += n * factor), ...extra },
    }
  }

  it('[DT14] are saved every `snapshotEvery` entries, of what is on disk, even when the disk is never idle', async () => {
    const machine = await Machine.boot([versioned(1)])
    await say(machine, { type: 'put', n: 1 })
    machine.disk.hold()
    for (let i = 0; i < 39; i++) {
      machine.system.tell('bank/a', { type: 'put', n: 1 })
      await quiet(2)
      machine.disk.flush(Math.max(1, machine.disk.waiting - 1)) // one write is always under way, unless the actor waits
    }
    machine.disk.release()
    await quiet()
    const saved = await machine.disk.open().snapshot('bank/a')
    expect(saved?.offset).toBeGreaterThanOrEqual(30)
    expect(JSON.parse(Buffer.from(saved?.data ?? []).toString())).toMatchObject({ version: 1, state: { n: saved?.offset } })
    await machine.crash()
    expect(await say(machine, { type: 'get' })).toBe(40)
  })

  it('[DT15] are saved on passivation', async () => {
    const machine = await Machine.boot([versioned(1)])
    await say(machine, { type: 'put', n: 4 })
    await machine.clock.advance(200_000)
    expect(machine.system.counts().get('bank')).toBe(0)
    expect((await machine.disk.open().snapshot('bank/a'))?.offset).toBe(1)
    expect(await say(machine, { type: 'get' })).toBe(4)
  })

  it('[DT16] of another version are not used: the journal is folded again', async () => {
    const machine = await Machine.boot([versioned(1)])
    for (let i = 0; i < 25; i++) await say(machine, { type: 'put', n: 1 })
    await machine.reboot([versioned(2, 10)])
    expect(await say(machine, { type: 'get' })).toBe(250)
  })

  it('[DT17] of another version over a trimmed journal: journal.trimmed, and the actor stops', async () => {
    const machine = await Machine.boot([versioned(1)])
    for (let i = 0; i < 25; i++) await say(machine, { type: 'put', n: 1 })
    await machine.disk.open().trim('bank/a', 11)
    await machine.reboot([versioned(1)])
    expect(await say(machine, { type: 'get' })).toBe(25)
    await machine.reboot([versioned(2)])
    const get = track(say(machine, { type: 'get' }))
    await machine.clock.advance(1_000)
    expect(get).toEqual({ state: 'broken', value: 'journal.trimmed' })
    expect(machine.system.health().failed).toEqual(['bank/a'])
  })

  it('[DT17] a hole between snapshot and journal is never folded over', async () => {
    const machine = await Machine.boot([versioned(1)])
    for (let i = 0; i < 25; i++) await say(machine, { type: 'put', n: 1 })
    await machine.disk.open().trim('bank/a', 25)
    await machine.crash()
    const get = track(say(machine, { type: 'get' }))
    await machine.clock.advance(1_000)
    expect(get.value).toBe('journal.trimmed')
  })

  it('[DT18] go through toJson and fromJson', async () => {
    const codec = { toJson: ({ n }: { n: number }) => `n=${n}`, fromJson: (text: unknown) => ({ n: Number((text as string).slice(2)) }) }
    const machine = await Machine.boot([versioned(1, 1, codec)])
    for (let i = 0; i < 12; i++) await say(machine, { type: 'put', n: 1 })
    await machine.reboot()
    expect(JSON.parse(Buffer.from((await machine.disk.open().snapshot('bank/a'))?.data ?? []).toString())).toMatchObject({ state: 'n=12' })
    expect(await say(machine, { type: 'put', n: 1 })).toBe(13)
  })

  it('[DT19] that cannot be saved cost nothing but time: a toJson that throws, a full disk', async () => {
    const toJson = () => {
      throw new Error('toJson')
    }
    const machine = await Machine.boot([versioned(1, 1, { toJson })])
    for (let i = 0; i < 35; i++) await say(machine, { type: 'put', n: 1 })
    await machine.crash()
    expect(await say(machine, { type: 'get' })).toBe(35)
  })

  it('[DT20] a journal whose pages end by their bytes is folded to its end', async () => {
    const { bank } = defineBank()
    const machine = await Machine.boot([bank])
    const journals = machine.disk.open()
    const padding = ' '.repeat(1_000_000)
    for (let i = 0; i < 40; i++) await journals.append('bank/a', [Buffer.from(`["e",1${padding}]`)])
    expect(await say(machine, { type: 'get' })).toBe(40)
  })
})

describe('a crash at any point', () => {
  const run = async (seed: number): Promise<{ acknowledged: number; crashes: number }> => {
    const random = new SeededRandom(seed)
    const { bank } = defineBank()
    const durable = { ...bank.durable, snapshotEvery: 7 } as typeof bank.durable
    const machine = await Machine.boot([{ ...bank, durable, passivation: { idleMs: 50 } }], {}, { flushMs: () => random.below(20) }, seed)
    let acknowledged: number[] = []
    const sent = new Set<number>()
    let count = 0
    let crashes = 0
    for (let step = 0; step < 150; step++) {
      const what = random.below(20)
      if (what < 14) {
        const n = 2 ** (count++ % 40)
        const value = count
        const ask = machine.system.ask('bank/a', { type: random.chance(0.2) ? 'addLater' : 'add', value, n })
        sent.add(value)
        ask.then(
          () => acknowledged.push(value),
          () => {},
        )
      } else if (what === 14) machine.system.tell('bank/a', { type: 'putAndThrow', n: 1 })
      else if (what === 15) machine.disk.refuse(random.chance(0.5) ? 'storage.full' : undefined)
      else if (what === 16) machine.system.stop('bank/a')
      else if (what === 17 && random.chance(0.4)) {
        await machine.crash()
        crashes++
      } else await machine.clock.advance(random.below(120))
      if (random.chance(0.3)) await quiet(2)
    }
    machine.disk.refuse(undefined)
    await machine.clock.advance(10_000)
    const known = [...acknowledged]
    await machine.crash()
    machine.system.restart('bank/a')
    const all = track(machine.system.ask('bank/a', { type: 'values' }))
    await machine.clock.advance(5_000)
    const values = all.value as number[]
    expect(new Set(values).size).toBe(values.length)
    expect(values.filter((value) => !sent.has(value))).toEqual([])
    acknowledged = known.filter((value) => !values.includes(value))
    expect(acknowledged).toEqual([])
    return { acknowledged: known.length, crashes }
  }

  it('[DT21] loses nothing that was acknowledged and invents nothing (seeds 1 to 60)', async () => {
    let acknowledged = 0
    let crashes = 0
    for (let seed = 1; seed <= 60; seed++) {
      try {
        const result = await run(seed)
        acknowledged += result.acknowledged
        crashes += result.crashes
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error })
      }
    }
    expect(acknowledged).toBeGreaterThan(1_000)
    expect(crashes).toBeGreaterThan(30)
  })

  it('[DT22] leaves whole handlers or nothing of them (seed 5)', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 12 }), fc.nat(12), async (amounts, flushed) => {
        const machine = await Machine.boot([defineBank().bank])
        machine.disk.hold()
        for (const n of amounts) machine.system.tell('bank/a', { type: 'putTwice', n })
        await quiet(2)
        machine.disk.flush(flushed)
        await machine.crash()
        machine.disk.release()
        const values = amounts.slice(0, flushed)
        expect(await machine.system.ask('bank/a', { type: 'get' })).toBe(2 * values.reduce((a, b) => a + b, 0))
      }),
      { seed: 5, numRuns: 40 },
    )
  })
})
