/** What an end leaves to those who come after it. */
import { describe, expect, it } from 'vitest'
import { defineActor } from '../../actors/system/definition.ts'
import { quiet } from '../support/world.ts'
import { codeOf, house } from './house.ts'

describe('an actor that has ended', () => {
  it('[WA4] and that no message brings back is reported at once to whoever watches it now', async () => {
    const { system } = house([
      defineActor<null, { type: 'any' }>({ kind: 'guest', activation: 'explicit', state: () => null, handlers: { any: () => {} } }),
    ])
    const reasons: string[] = []
    system.watch('guest/never', ({ reason }) => reasons.push(reason))
    expect(reasons).toEqual(['stopped'])
    system.begin('guest/here')
    system.watch('guest/here', ({ reason }) => reasons.push(reason))
    await quiet()
    expect(reasons).toEqual(['stopped'])
    system.stop('guest/here')
    expect(reasons).toEqual(['stopped', 'stopped'])
  })

  it('[SV13] keeps the next one at its address waiting until what `stopped` returned is over', async () => {
    let finish = () => {}
    const born: string[] = []
    const { system } = house([
      defineActor<string, { type: 'name' }>({
        kind: 'store',
        state: () => {
          born.push('store')
          return 'store'
        },
        handlers: { name: (state) => state },
        stopped: () =>
          new Promise<void>((resolve) => {
            finish = resolve
          }),
      }),
    ])
    await system.ask('store/a', { type: 'name' })
    system.stop('store/a')
    const answer = system.ask('store/a', { type: 'name' })
    await quiet()
    expect(born).toHaveLength(1)
    finish()
    expect(await answer).toBe('store')
    expect(born).toHaveLength(2)
  })

  it('[SV13] before its state was loaded leaves that to nobody: the state is told that it has ended', async () => {
    let loaded = () => {}
    const ended: string[] = []
    const { system } = house([
      defineActor<string, { type: 'name' }>({
        kind: 'store',
        state: () =>
          new Promise<string>((resolve) => {
            loaded = () => resolve('loaded late')
          }),
        handlers: { name: (state) => state },
        stopped: (state) => {
          ended.push(state)
        },
      }),
    ])
    const answer = codeOf(system.ask('store/a', { type: 'name' }))
    await quiet()
    system.stop('store/a')
    expect(await answer).toBe('actor.stopped')
    loaded()
    await quiet()
    expect(ended).toEqual(['loaded late'])
  })
})
