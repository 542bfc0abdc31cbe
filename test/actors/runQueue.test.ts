import { describe, expect, it } from 'vitest'
import { defineActor } from '../../actors/system/definition.ts'
import { RunQueue } from '../../actors/system/runQueue.ts'
import { SimulatedClock } from '../support/world.ts'
import { house, quiet } from './house.ts'

describe('the run queue', () => {
  it('[RQ1] lets a flooded actor handle a batch, then it is the turn of the others', async () => {
    const order: string[] = []
    const { system } = house([
      defineActor<null, { type: 'n' }>({ kind: 'busy', state: () => null, handlers: { n: (_, __, { id }) => order.push(id) } }),
    ])
    for (let i = 0; i < 5_000; i++) system.tell('busy/flooded', { type: 'n' })
    system.tell('busy/calm', { type: 'n' })
    await quiet()
    expect(order.indexOf('calm')).toBeLessThanOrEqual(64)
    expect(order).toHaveLength(5_001)
  })

  it.each([1, 0.25, 0.1])('[RQ2] gives the event loop back after its slice, and goes on afterwards (messages of %d ms)', (ms) => {
    const clock = new SimulatedClock()
    const given: (() => void)[] = []
    const queue = new RunQueue(clock, { soon: (work) => given.push(work), later: (work) => given.push(work) }, 8)
    let left = 10_000
    queue.push({
      run(most) {
        for (let i = 0; i < most && left > 0; i++, left--) clock.pass(ms)
        return left > 0
      },
    })
    let longest = 0
    while (given.length > 0) {
      const started = clock.now()
      given.shift()?.()
      longest = Math.max(longest, clock.now() - started)
    }
    expect(left).toBe(0)
    expect(longest).toBeLessThanOrEqual(10)
  })

  it('[RQ3] runs whoever is pushed once for each push, in order, through thousands of them', () => {
    const clock = new SimulatedClock()
    const given: (() => void)[] = []
    const queue = new RunQueue(clock, { soon: (work) => given.push(work), later: (work) => given.push(work) }, 8)
    const order: number[] = []
    for (let i = 0; i < 5_000; i++) {
      queue.push({
        run: () => {
          order.push(i)
          return false
        },
      })
    }
    expect(queue.length).toBe(5_000)
    while (given.length > 0) given.shift()?.()
    expect(order).toEqual(Array.from({ length: 5_000 }, (_, i) => i))
    expect(queue.length).toBe(0)
  })

  it('[RQ4] a loop of actors that never ends leaves room for timers', async () => {
    let turns = 0
    let rang = 0
    const { system, world } = house([
      defineActor<null, { type: 'n' }>({
        kind: 'loop',
        state: () => null,
        handlers: {
          n: (_, __, scope) => {
            world.clock.pass(1)
            turns++
            if (rang === 0) scope.tell(scope.address, { type: 'n' })
          },
        },
      }),
    ])
    system.tell('loop/a', { type: 'n' })
    setImmediate(() => rang++)
    await quiet()
    expect(turns).toBeGreaterThan(1)
    expect(turns).toBeLessThan(1_000)
  })
})
