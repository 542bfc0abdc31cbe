import { describe, expect, it } from 'vitest'
import { Background } from '../../actors/background.ts'
import { DocumentIntake } from '../../actors/documentIntake.ts'
import type { Scope } from '../../actors/system/scope.ts'

const later = <T>() => {
  let resolve: (value: T) => void = () => undefined
  let reject: (error: unknown) => void = () => undefined
  const promise = new Promise<T>((res, rej) => {
    resolve = res
    reject = rej
  })
  return { promise, resolve, reject }
}

const settled = () => new Promise((resolve) => setImmediate(resolve))

describe('what one client says', () => {
  const house = () => {
    const background = new Background({ address: 'document/x', log: console, stop() {} } as unknown as Scope) // nothing else is used
    return { background, intake: new DocumentIntake(background), heard: [] as string[] }
  }

  it('[BGA13] stays in order behind a message that takes a while; others go on', async () => {
    const { intake, heard } = house()
    const [first, second] = [later<string>(), later<string>()]
    const slow = (client: string, promise: Promise<string>) =>
      intake.run(client, () =>
        intake.hold(
          client,
          promise,
          (value) => heard.push(value),
          () => heard.push('failed'),
        ),
      )
    slow('a', first.promise)
    intake.run('a', () => heard.push('a1'))
    slow('a', second.promise)
    intake.run('a', () => heard.push('a2'))
    intake.run('b', () => heard.push('b1'))
    const taken = intake.taken('a')?.then(() => heard.push('taken'))
    expect([heard, intake.taken('b')]).toEqual([['b1'], undefined])
    second.resolve('second')
    await settled()
    expect(heard).toEqual(['b1'])
    first.resolve('first')
    await taken
    expect(heard).toEqual(['b1', 'first', 'a1', 'second', 'a2', 'taken'])
    intake.run('a', () => heard.push('a3'))
    expect(heard.at(-1)).toBe('a3')
  })

  it('[BGA13] stays in order when one wait leads to the next', async () => {
    const { intake, heard } = house()
    const [first, second] = [later<string>(), later<string>()]
    const fail = () => heard.push('failed')
    intake.run('a', () => intake.hold('a', first.promise, () => intake.hold('a', second.promise, (value) => heard.push(value), fail), fail))
    intake.run('a', () => heard.push('a1'))
    first.resolve('first')
    await settled()
    intake.run('a', () => heard.push('a2'))
    expect(heard).toEqual([])
    second.resolve('second')
    await settled()
    expect(heard).toEqual(['second', 'a1', 'a2'])
  })

  it('[BGA13] goes on after one that failed, and not at all when the document is over', async () => {
    const { intake, heard, background } = house()
    const [bad, late] = [later<string>(), later<string>()]
    const hold = (promise: Promise<string>) =>
      intake.hold(
        'a',
        promise,
        (value) => heard.push(value),
        () => heard.push('failed'),
      )
    hold(bad.promise)
    intake.run('a', () => heard.push('next'))
    bad.reject(new Error('too long'))
    await settled()
    expect(heard).toEqual(['failed', 'next'])
    hold(late.promise)
    void background.end()
    late.resolve('late')
    await settled()
    expect(heard).toEqual(['failed', 'next'])
  })
})
