/** Users with passwords: who is let in, what the file may say, and what happens when it changes. */
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Credentials } from '../../actors/account.ts'
import { isTroupeError } from '../../actors/errors.ts'
import { IssueTimes } from '../../actors/issueTimes.ts'
import { Gate } from '../../src/auth/gate.ts'
import { hashPassword, isPassword, parseHash } from '../../src/auth/passwords.ts'
import type { AuthProvider } from '../../src/auth/provider.ts'
import { usersProvider } from '../../src/auth/users.ts'
import { changeUsers, parseUsers, readUsers, type UserEntry } from '../../src/auth/usersFile.ts'
import { codeOf } from '../actors/house.ts'
import { temporaryDirectory } from '../support/process.ts'
import { until } from '../support/wait.ts'
import { testWorld } from '../support/world.ts'

const directory = temporaryDirectory()
const file = join(directory.path, 'users.json')
let hash = ''
let other = ''
beforeAll(async () => {
  hash = await hashPassword('correct horse')
  other = await hashPassword('another one')
})
let provider: AuthProvider | undefined
afterEach(() => provider?.close?.())
afterAll(() => directory.remove())

/** As an editor that is careful does it: the next version is there in one moment. */
const write = (users: readonly object[]): void => {
  writeFileSync(`${file}.draft`, JSON.stringify({ users }))
  renameSync(`${file}.draft`, file)
}
const entry = (name: string, fields: Partial<UserEntry> = {}): UserEntry => ({ name, password: hash, ...fields })
const login = (username: string, password = 'correct horse'): Credentials => ({ type: 'password', username, password })

const start = async (users: readonly object[]) => {
  write(users)
  const gone: string[] = []
  const logged: string[] = []
  const world = testWorld()
  const log = {
    ...world.log,
    info: (_: unknown, text: string) => void logged.push(text),
    error: (_: unknown, text: string) => void logged.push(text),
  }
  const options = {
    file,
    permissions: ['status'],
    world: { clock: world.clock, log },
    times: new IssueTimes(),
    gone: (user: string, tenant: string) => void gone.push(`${tenant}/${user}`),
  }
  const started = await usersProvider(options)
  started.begin()
  provider = started
  const outcome = async (credentials: Credentials) => {
    try {
      return await started.authenticate(credentials)
    } catch (error) {
      if (!isTroupeError(error)) throw error
      return `${error.code}: ${error.detail}`
    }
  }
  /** Lets the file be looked at, until `isTrue`. */
  const look = (isTrue: () => boolean) =>
    until(async () => {
      await world.clock.advance(1_000)
      return isTrue()
    })
  return { outcome, gone, logged, look, clock: world.clock }
}

describe('a user', () => {
  it('[US1] logs in with the password and gets what the entry says, or the defaults', async () => {
    const { outcome, clock } = await start([entry('alice'), entry('bob', { tenant: 'acme', permissions: ['channel:*:read'] })])
    clock.pass(5)
    expect(await outcome(login('alice'))).toEqual({
      user: 'alice',
      tenant: '',
      isAnonymous: false,
      permissions: ['status'],
      issuedAt: 1_000_005,
    })
    expect(await outcome(login('bob'))).toMatchObject({ user: 'bob', tenant: 'acme', permissions: ['channel:*:read'] })
  })

  it('[US2] is told the same whatever was wrong', async () => {
    const { outcome } = await start([entry('alice'), entry('zed', { disabled: true })])
    for (const wrong of [
      login('alice', 'correct hors'),
      login('alice', ''),
      login('nobody'),
      login('zed'),
      login('__proto__'),
      login('alice', 'x'.repeat(2_000)),
    ])
      expect(await outcome(wrong)).toBe('auth.failed: user name or password')
  })

  it('[US3] is found however the keyboard composes letters', async () => {
    const decomposed = 'Zoe\u0308'
    const { outcome } = await start([entry(decomposed.normalize('NFC'), { password: await hashPassword('passwo\u0308rt') })])
    expect(await outcome(login(decomposed, 'passw\u00f6rt'))).toMatchObject({ user: 'Zo\u00eb' })
  })

  it('[US4] with a token is not the business of the file', async () => {
    const { outcome } = await start([])
    expect(await outcome({ type: 'token', token: 'x' })).toBeUndefined()
  })
})

describe('when the file changes', () => {
  it('[US5] who was removed, disabled, or has another password or other permissions is gone; others are not', async () => {
    const all = ['keeps', 'removed', 'disabled', 'password', 'permissions'].map((name) => entry(name))
    const { outcome, gone, look } = await start(all)
    write([
      entry('keeps'),
      entry('disabled', { disabled: true }),
      entry('password', { password: other }),
      entry('permissions', { permissions: [] }),
      entry('added', { password: other }),
    ])
    await look(() => gone.length > 0)
    expect(gone.toSorted()).toEqual(['/disabled', '/password', '/permissions', '/removed'])
    const refused = 'auth.failed: user name or password'
    expect(await Promise.all(['keeps', 'removed', 'disabled', 'password'].map((name) => outcome(login(name))))).toEqual([
      expect.objectContaining({ user: 'keeps' }),
      refused,
      refused,
      refused,
    ])
    expect(await outcome(login('added', 'another one'))).toMatchObject({ user: 'added' })
    expect(await outcome(login('password', 'another one'))).toMatchObject({ user: 'password' })
  })

  it('[US6] and cannot be understood, or is not there, the users are those of before; it is said once', async () => {
    const { outcome, gone, logged, look } = await start([entry('alice')])
    writeFileSync(file, '{"users":[{"name":"alice"')
    await look(() => logged.length > 0)
    expect(await outcome(login('alice'))).toMatchObject({ user: 'alice' })
    rmSync(file)
    await look(() => logged.length > 1)
    let looks = 0
    await look(() => ++looks > 5)
    expect(logged).toEqual(Array(2).fill('the users file cannot be used; the users are those of before'))
    expect(gone).toEqual([])
    write([])
    await look(() => gone.length > 0)
    expect(gone).toEqual(['/alice'])
  })

  it.each([
    ['removed', []],
    ['disabled', [entry('alice', { disabled: true })]],
    ['given another password', [entry('alice', { password: 'other' })]],
  ])('[US7] while a password is being checked, who is %s does not come in', async (_name, next) => {
    const { outcome, gone, look } = await start([entry('alice')])
    // All logins wait for two that are being checked, so the file changes before the last one is.
    const logins = Array.from({ length: 8 }, () => outcome(login('alice')))
    write(next.map((user) => ({ ...user, password: user.password === 'other' ? other : hash })))
    await look(() => gone.length > 0)
    expect((await Promise.all(logins)).at(-1)).toBe('auth.failed: user name or password')
  })
})

describe('the users file', () => {
  const good = () => entry('alice')
  const cases: [name: string, text: () => string, reason: RegExp][] = [
    ['no JSON', () => 'alice:secret', /: not JSON$/],
    ['no users', () => '{}', /users/],
    ['a plain password', () => JSON.stringify({ users: [{ name: 'a', password: 'secret' }] }), /users\.0\.password: not a password as/],
    [
      'a password that costs too much',
      () => JSON.stringify({ users: [{ ...good(), password: hash.replace('32768', '2097152') }] }),
      /password/,
    ],
    ['a name twice', () => JSON.stringify({ users: [good(), good()] }), /two users "alice"/],
    ['a name that is none', () => JSON.stringify({ users: [{ ...good(), name: '~x' }] }), /users\.0\.name: the name begins with ~/],
    ['a tenant that is none', () => JSON.stringify({ users: [{ ...good(), tenant: 'a/b' }] }), /users\.0\.tenant/],
    [
      'a permission that is none',
      () => JSON.stringify({ users: [{ ...good(), permissions: ['chanel:*:read'] }] }),
      /users\.0\.permissions\.0: not a permission/,
    ],
    ['a field that nobody knows', () => JSON.stringify({ users: [{ ...good(), disable: true }] }), /disable/],
  ]
  it.each(cases)('[US8] with %s is refused', (_name, text, reason) => {
    expect(() => parseUsers(file, text())).toThrow(reason)
    expect(() => parseUsers(file, text())).not.toThrow(/secret/)
  })

  it('[US9] is changed as a whole, for the eyes of its owner only', async () => {
    rmSync(file, { force: true })
    await changeUsers(file, (users) => [...users, entry('alice')])
    await changeUsers(file, (users) => [...users, entry('bob')])
    expect((await readUsers(file)).map(({ name }) => name)).toEqual(['alice', 'bob'])
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const before = readFileSync(file, 'utf8')
    await expect(
      changeUsers(file, () => {
        throw new Error('no')
      }),
    ).rejects.toThrow('no')
    expect(readFileSync(file, 'utf8')).toBe(before)
  })

  it('[US10] is changed by one at a time', async () => {
    writeFileSync(`${file}.new`, '')
    expect(await codeOf(changeUsers(file, (users) => users))).toBe('config.invalid')
    rmSync(`${file}.new`)
    await changeUsers(file, (users) => users)
  })
})

describe('a password', () => {
  it('[US11] is kept with its parameters and a salt of its own', async () => {
    const again = await hashPassword('correct horse')
    expect(again).not.toBe(hash)
    expect(hash).toMatch(/^scrypt\$32768,8,1\$[\w-]{22}\$[\w-]{43}$/)
    expect(await isPassword('correct horse', parseHash(again))).toBe(true)
    expect(await isPassword('correct horse ', parseHash(again))).toBe(false)
    expect(await isPassword('correct horse', undefined)).toBe(false)
  })

  it('[US12] of RFC 7914 §12 is the one of the RFC', async () => {
    // scrypt("pleaseletmein", "SodiumChloride", N=16384, r=8, p=1); the first half of its 64 bytes, as PBKDF2 makes them block by block.
    const expected = Buffer.from('7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2', 'hex')
    expect(await isPassword('pleaseletmein', { N: 16_384, r: 8, p: 1, salt: Buffer.from('SodiumChloride'), hash: expected })).toBe(true)
  })

  it('[US13] of a form that nobody should compute is none', () => {
    const [salt, key] = ['A'.repeat(22), 'A'.repeat(43)]
    for (const parameters of ['32769,8,1', '0,8,1', '1,8,1', '32768,0,1', '32768,8,0', '32768,99,1', '4194304,8,1', '32768,8,17'])
      expect([parameters, parseHash(`scrypt$${parameters}$${salt}$${key}`)]).toEqual([parameters, undefined])
    expect(parseHash(`scrypt$32768,8,1$${salt}$${key}`)).toBeDefined()
    for (const text of ['', 'scrypt', `scrypt$32768,8,1$${salt}$`, `bcrypt$32768,8,1$${salt}$${key}`, `scrypt$32768,8,1$short$${key}`])
      expect([text, parseHash(text)]).toEqual([text, undefined])
  })
})

describe('logins at the same time', () => {
  it('[US14] are two, others wait in order, and too many are told to come back', async () => {
    const gate = new Gate(2, 3)
    const open: (() => void)[] = []
    const order: number[] = []
    const enter = (n: number) =>
      gate.run(async () => {
        order.push(n)
        await new Promise<void>((resolve) => open.push(resolve))
        return n
      })
    const entered = [1, 2, 3, 4, 5].map(enter)
    await expect(enter(6)).rejects.toMatchObject({ code: 'rate.limited', retryAfterMs: 1_000 })
    expect(order).toEqual([1, 2])
    for (let i = 0; i < 5; i++) {
      open[i]?.()
      await entered[i]
      await null
    }
    expect(order).toEqual([1, 2, 3, 4, 5])
    const failing = gate.run(() => Promise.reject(new Error('no')))
    await expect(failing).rejects.toThrow('no')
    await expect(Promise.all([gate.run(async () => 1), gate.run(async () => 2), gate.run(async () => 3)])).resolves.toEqual([1, 2, 3])
  })
})
