import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defineActor } from '../../actors/system/definition.ts'
import { Mailbox, type MailboxOptions } from '../../actors/system/mailbox.ts'
import { codeOf, codes, house, quiet } from './house.ts'

type Note = { type: 'note'; n: number; key?: string }

const reader = (mailbox: MailboxOptions<Note>, seen: number[]) =>
  defineActor<null, Note | { type: 'arm'; ms: number }>({
    kind: 'reader',
    state: () => null,
    handlers: {
      note: (_, { n }) => seen.push(n),
      arm: (_, { ms }, scope) => scope.after('alarm', ms, { type: 'note', n: -1 }),
    },
    mailbox: mailbox as MailboxOptions<Note | { type: 'arm'; ms: number }>,
  })

const note = (n: number, key?: string): Note => ({ type: 'note', n, ...(key === undefined ? {} : { key }) })

describe('a full mailbox', () => {
  it('[MB1] refuses the new message by default: tell is false, ask rejects, both are dead letters', async () => {
    const seen: number[] = []
    const { system } = house([reader({ limit: 3 }, seen)])
    expect([1, 2, 3, 4].map((n) => system.tell('reader/a', note(n)))).toEqual([true, true, true, false])
    const code = codeOf(system.ask('reader/a', note(5)))
    await quiet()
    expect(seen).toEqual([1, 2, 3])
    expect(await code).toBe('actor.mailbox_full')
    expect(codes(system)).toEqual(['actor.mailbox_full', 'actor.mailbox_full'])
    expect(system.tell('reader/a', note(6))).toBe(true)
  })

  it('[MB2] drop-oldest: the oldest waiting message goes to the dead letters, an ask among them is refused', async () => {
    const seen: number[] = []
    const { system } = house([reader({ limit: 2, overflow: 'drop-oldest' }, seen)])
    const code = codeOf(system.ask('reader/a', note(1)))
    for (const n of [2, 3, 4]) expect(system.tell('reader/a', note(n))).toBe(true)
    await quiet()
    expect(seen).toEqual([3, 4])
    expect(await code).toBe('actor.mailbox_full')
    expect(system.deadLetters().map(({ message }) => (message as Note).n)).toEqual([1, 2])
  })

  it('[MB3] disconnect: the actor is stopped, its watchers are told `overflow`, what waited is refused', async () => {
    const seen: number[] = []
    const reasons: string[] = []
    const { system } = house([reader({ limit: 2, overflow: 'disconnect' }, seen)])
    system.watch('reader/a', ({ reason }) => reasons.push(reason))
    expect([1, 2, 3].map((n) => system.tell('reader/a', note(n)))).toEqual([true, true, false])
    await quiet()
    expect(seen).toEqual([])
    expect(reasons).toEqual(['overflow'])
    expect(codes(system)).toEqual(['actor.mailbox_full', 'actor.stopped', 'actor.stopped'])
  })

  it('[MB3] disconnect by a message to itself ends the actor after the message that it is handling', async () => {
    const handled: string[] = []
    const { system } = house([
      defineActor<null, { type: 'flood' } | { type: 'drop' }>({
        kind: 'self',
        state: () => null,
        handlers: {
          flood: (_, __, scope) => {
            for (let i = 0; i < 3; i++) scope.tell(scope.address, { type: 'drop' })
            handled.push('flood')
            return 'done'
          },
          drop: () => handled.push('drop'),
        },
        mailbox: { limit: 2, overflow: 'disconnect' },
        stopped: () => {
          handled.push('stopped')
        },
      }),
    ])
    expect(await system.ask('self/a', { type: 'flood' })).toBe('done')
    expect(handled).toEqual(['flood', 'stopped'])
    expect(system.counts().get('self')).toBe(0)
  })

  it('[MB4] coalesceBy replaces a waiting message of the same key in its place; without a key it waits by itself', async () => {
    const seen: number[] = []
    const { system } = house([reader({ coalesceBy: ({ key }) => key }, seen)])
    for (const message of [note(1, 'x'), note(2), note(3, 'y'), note(4, 'x'), note(5), note(6, 'y'), note(7, 'x')]) {
      expect(system.tell('reader/a', message)).toBe(true)
    }
    await quiet()
    expect(seen).toEqual([7, 2, 6, 5])
    system.tell('reader/a', note(8, 'x'))
    await quiet()
    expect(seen).toEqual([7, 2, 6, 5, 8])
  })

  it('[MB5] asks are neither replaced nor replace', async () => {
    const seen: number[] = []
    const { system } = house([reader({ coalesceBy: ({ key }) => key }, seen)])
    const first = system.ask('reader/a', note(1, 'x'))
    const second = system.ask('reader/a', note(2, 'x'))
    system.tell('reader/a', note(3, 'x'))
    expect(await Promise.all([first, second])).toEqual([1, 2])
    expect(seen).toEqual([1, 2, 3])
  })

  it('[MB6] a coalesceBy that throws costs neither the sender nor the message', async () => {
    const seen: number[] = []
    const coalesceBy = () => {
      throw new Error('bad key')
    }
    const { system, logged } = house([reader({ coalesceBy }, seen)])
    expect(system.tell('reader/a', note(1))).toBe(true)
    await quiet()
    expect(seen).toEqual([1])
    expect(logged).toHaveLength(1)
  })

  it.each(['reject', 'drop-oldest'] as const)('[MB7] a timer of the actor itself comes through a full mailbox (%s)', async (overflow) => {
    const seen: number[] = []
    const { system, clock } = house([reader({ limit: 2, overflow }, seen)])
    system.tell('reader/a', { type: 'arm', ms: 10 })
    await quiet()
    system.tell('reader/a', note(1))
    system.tell('reader/a', note(2))
    clock.pass(10)
    clock.step() // rings before the actor has its turn
    system.tell('reader/a', note(3))
    await quiet()
    expect(seen).toEqual(overflow === 'reject' ? [1, 2, -1] : [2, -1, 3])
  })

  it('[MB7] drop-oldest spares a timer that is the oldest to wait', async () => {
    const seen: number[] = []
    const { system, clock } = house([reader({ limit: 2, overflow: 'drop-oldest' }, seen)])
    system.tell('reader/a', { type: 'arm', ms: 10 })
    await quiet()
    clock.pass(10)
    clock.step()
    for (const n of [1, 2, 3]) system.tell('reader/a', note(n))
    await quiet()
    expect(seen).toEqual([-1, 3])
  })

  it('[MB7] news of a watched actor comes through a full mailbox', async () => {
    const news: string[] = []
    const { system } = house([
      defineActor<null, { type: 'watch' } | { type: 'idle' } | { type: 'actor.stopped'; address: string }>({
        kind: 'watcher',
        state: () => null,
        handlers: {
          watch: (_, __, scope) => scope.watch('reader/a'),
          idle: () => {},
          'actor.stopped': (_, { address }) => news.push(address),
        },
        mailbox: { limit: 1 },
      }),
      reader({}, []),
    ])
    system.tell('watcher/a', { type: 'watch' })
    system.tell('reader/a', note(1))
    await quiet()
    expect(system.tell('watcher/a', { type: 'idle' })).toBe(true)
    system.stop('reader/a')
    await quiet()
    expect(news).toEqual(['reader/a'])
  })
})

describe('the mailbox against a model', () => {
  type Op = ['push', number, string | undefined] | ['drop'] | ['take']
  const op: fc.Arbitrary<Op> = fc.oneof(
    { weight: 5, arbitrary: fc.tuple(fc.constant('push' as const), fc.nat(9), fc.constantFrom(undefined, 'a', 'b', 'c', 'd')) },
    { weight: 4, arbitrary: fc.tuple(fc.constant('drop' as const)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('take' as const)) },
  )

  it('[MB8] keeps order, keys and origins through any sequence of pushes, replacements and removals (seed 11)', () => {
    let replaced = 0
    let taken = 0
    fc.assert(
      fc.property(fc.array(op, { maxLength: 200, size: 'max' }), (ops) => {
        const mailbox = new Mailbox<string, number>()
        let model: { message: string; origin: number; key: string | undefined }[] = []
        for (const [i, step] of ops.entries()) {
          if (step[0] === 'push') {
            const [, origin, key] = step
            const waiting = key === undefined ? undefined : model.find((m) => m.key === key)
            const isReplaced = key !== undefined && mailbox.replace(key, `m${i}`, origin)
            expect(isReplaced).toBe(waiting !== undefined)
            if (waiting !== undefined) {
              Object.assign(waiting, { message: `m${i}`, origin })
              replaced++
            } else {
              mailbox.push(`m${i}`, origin, key)
              model.push({ message: `m${i}`, origin, key })
            }
          } else if (step[0] === 'drop') {
            mailbox.drop()
            model = model.slice(1)
          } else {
            const expected = model.find((m) => m.origin % 2 === 0)
            const found = mailbox.takeOldest((origin) => origin % 2 === 0)
            expect(found?.message).toBe(expected?.message)
            model = model.filter((m) => m !== expected)
            if (found !== undefined) taken++
          }
          expect(mailbox.size).toBe(model.length)
          expect(mailbox.peek()).toBe(model[0]?.message)
          if (model[0] !== undefined) expect(mailbox.peekOrigin()).toBe(model[0].origin)
        }
        const rest: string[] = []
        for (; mailbox.size > 0; mailbox.drop()) rest.push(mailbox.peek() as string) // size > 0
        expect(rest).toEqual(model.map(({ message }) => message))
      }),
      { seed: 11, numRuns: 80 },
    )
    expect(replaced).toBeGreaterThan(500)
    expect(taken).toBeGreaterThan(100)
  })
})
