import { describe, expect, it } from 'vitest'
import { Background } from '../../actors/background.ts'
import { DocumentIntake } from '../../actors/documentIntake.ts'
import { Leavings } from '../../actors/leavings.ts'
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

const never = () => new Promise<string>(() => {})

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

describe('what a client leaves behind', () => {
  const mostBytes = 10_000_000
  const house = () => {
    const leavings = new Leavings(mostBytes)
    const open = () => {
      const background = new Background({ address: 'document/x', log: console, stop() {} } as unknown as Scope) // nothing else is used
      return new DocumentIntake(background, leavings)
    }
    const heard: string[] = []
    const say = (intake: DocumentIntake, client: string, bytes: number, begin: () => Promise<string>) =>
      intake.run(
        client,
        () =>
          intake.look(
            client,
            begin,
            (value) => heard.push(value),
            (error) => heard.push(`${client}: ${error}`),
          ),
        bytes,
      )
    const leave = (intake: DocumentIntake, client: string) => intake.leave(client, () => heard.push(`${client} left`))
    return { open, heard, say, leave }
  }

  it('[BGA18] is taken in, and only then it has left', async () => {
    const { open, heard, say, leave } = house()
    const intake = open()
    const picture = later<string>()
    say(intake, 'a', 5_000_000, () => picture.promise)
    intake.run('a', () => heard.push('last keystroke'), 20)
    leave(intake, 'a')
    leave(intake, 'a')
    expect(heard).toEqual([])
    picture.resolve('picture')
    await settled()
    expect(heard).toEqual(['picture', 'last keystroke', 'a left', 'a left'])
  })

  it('[BGA18] is dropped when all of it together is too much, of whatever document, and what is small is not', async () => {
    const { open, heard, say, leave } = house()
    const documents = [open(), open()]
    const [first, second] = [later<string>(), later<string>()]
    say(documents[0] as DocumentIntake, 'a', 6_000_000, () => first.promise)
    say(documents[1] as DocumentIntake, 'b', 6_000_000, () => second.promise)
    say(documents[1] as DocumentIntake, 'c', 60_000, async () => 'small')
    ;(documents[1] as DocumentIntake).run('b', () => heard.push('never'), 20)
    leave(documents[0] as DocumentIntake, 'a')
    leave(documents[1] as DocumentIntake, 'b')
    leave(documents[1] as DocumentIntake, 'c')
    expect(heard).toEqual(['b left'])
    await settled()
    expect(heard).toEqual(['b left', 'small', 'c left'])
    first.resolve('first')
    await settled()
    say(documents[0] as DocumentIntake, 'd', 9_000_000, never)
    leave(documents[0] as DocumentIntake, 'd') // there is room again
    expect(heard).not.toContain('d left')
    ;(documents[0] as DocumentIntake).end()
    say(documents[1] as DocumentIntake, 'e', 9_000_000, never)
    leave(documents[1] as DocumentIntake, 'e') // the document with the rest has ended
    expect(heard).not.toContain('e left')
  })

  it('[BGA18] is not even begun then: two of a document are looked at, a hundred who came and went leave nothing', async () => {
    const { open, heard, say, leave } = house()
    const intake = open()
    const looks = [later<string>(), later<string>()]
    let begun = 0
    for (let i = 0; i < 100; i++) {
      say(intake, `${i}`, 9_000_000, () => {
        begun++
        return looks[i]?.promise ?? never()
      })
      leave(intake, `${i}`)
    }
    await settled()
    expect([begun, heard.filter((line) => line.endsWith('left')).length]).toEqual([2, 99])
    for (const { resolve } of looks) resolve('looked at')
    await settled()
    expect([begun, heard.filter((line) => line.endsWith('left')).length]).toEqual([2, 100])
  })

  it('[BGA18] that is dropped lets go whoever waited for it to be taken in, and so does the end of the document', async () => {
    const { open, say, leave } = house()
    const intake = open()
    say(intake, 'a', 9_000_000, never)
    say(intake, 'b', 9_000_000, never)
    leave(intake, 'a')
    const dropped = intake.taken('b')
    leave(intake, 'b')
    await dropped
    const ended = intake.taken('a')
    intake.end()
    await ended
  })

  it('[BGA18] makes room again when it cannot be taken in', async () => {
    const { open, say, leave, heard } = house()
    for (let i = 0; i < 3; i++) {
      const intake = open()
      const look = later<string>()
      intake.run(
        'a',
        () =>
          intake.hold(
            'a',
            look.promise,
            () => {},
            () => {},
          ),
        4_000_000,
      )
      intake.run('a', () => {
        throw new Error('broken')
      })
      leave(intake, 'a')
      look.resolve('')
      await settled()
    }
    const intake = open()
    say(intake, 'b', 9_000_000, never)
    leave(intake, 'b')
    expect(heard).not.toContain('b left')
  })
})
