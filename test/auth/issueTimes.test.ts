/** Revocations where the clock of the server is set: what was issued before stays out, what is issued after comes in. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import type { Account } from '../../actors/account.ts'
import { Authenticator } from '../../src/auth/authenticator.ts'
import { hashPassword } from '../../src/auth/passwords.ts'
import type { Config } from '../../src/config.ts'
import { codeOf, Machine } from '../actors/house.ts'
import { temporaryDirectory } from '../support/process.ts'
import { until } from '../support/wait.ts'
import { authConfig, secret, token } from './tokens.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const directory = temporaryDirectory()
afterAll(() => directory.remove())
const users = join(directory.path, 'users.json')
const [old, fresh] = await Promise.all([hashPassword('old password'), hashPassword('new password')])
const writeUsers = (password: string) => writeFileSync(users, JSON.stringify({ users: [{ name: 'alice', password }] }))

let running: Authenticator | undefined
afterEach(() => {
  running?.close()
  rmSync(users, { force: true })
})

/** A process after the other on one machine, with one clock. */
const boot = async (auth: Partial<Config['auth']> = { jwtSecret: secret }) => {
  const machine = await Machine.boot([])
  machine.clock.pass(100 * dayMs)
  const start = async (): Promise<void> => {
    running?.close()
    const authenticator = await Authenticator.create({ auth: authConfig(auth), world: machine.world })
    await machine.crash(authenticator.actors as never)
    await authenticator.load(machine.system)
    running = authenticator
  }
  const present = (): Authenticator => running as Authenticator // start has made one
  const byToken = (issuedAt: number, claims: object = {}): Promise<Account> =>
    present().authenticate({ type: 'token', token: token({ sub: 'alice', iat: Math.floor(issuedAt / 1_000), ...claims }) }, '')
  const byPassword = (password: string): Promise<Account> => present().authenticate({ type: 'password', username: 'alice', password }, '')
  await start()
  return { machine, clock: machine.clock, start, present, byToken, byPassword }
}

describe('a clock that is set back by an hour', () => {
  it('[RV9] lets no token of before outlive a revocation, neither connected nor when its time comes again', async () => {
    const { clock, present, byToken } = await boot()
    const issued = clock.now()
    const inside = await byToken(issued)
    clock.set(-hourMs)
    expect(await present().revoke({ user: 'alice' })).toMatchObject({ before: issued })
    expect(present().isRevoked(inside)).toBe(true)
    clock.pass(hourMs)
    expect(await codeOf(byToken(issued))).toBe('auth.revoked')
    clock.pass(2_000)
    expect(await byToken(clock.now())).toMatchObject({ user: 'alice' })
  })

  it('[RV9] after a crash either', async () => {
    const { clock, present, start, byToken } = await boot()
    const issued = clock.now()
    await byToken(issued)
    await present().revoke({ user: 'bob' })
    clock.set(-hourMs)
    await start()
    expect(await present().revoke({ user: 'alice' })).toMatchObject({ before: expect.any(Number) })
    clock.pass(hourMs)
    expect(await codeOf(byToken(issued))).toBe('auth.revoked')
  })

  it('[RV9] also when nobody had been revoked before the crash', async () => {
    const { clock, machine, present, start, byToken } = await boot()
    await byToken(clock.now())
    await machine.clock.advance(0) // the note of it is on disk
    const issued = clock.now()
    clock.set(-hourMs)
    await start()
    await present().revoke({ user: 'alice' })
    clock.pass(hourMs)
    expect(await codeOf(byToken(issued))).toBe('auth.revoked')
  })

  it('[RV10] keeps nobody out who logs in with a password after the revocation, in the next process either', async () => {
    writeUsers(old)
    const { clock, present, start, byPassword } = await boot({ users })
    const inside = await byPassword('old password')
    await present().revoke({ user: 'alice' })
    expect(present().isRevoked(inside)).toBe(true)
    clock.set(-hourMs)
    const again = await byPassword('old password')
    expect(present().isRevoked(again)).toBe(false)
    await start()
    expect(await byPassword('old password')).toMatchObject({ user: 'alice' })
  })

  it('[RV10] disconnects whoever logged in with a password that is no more, and lets the new one in', async () => {
    writeUsers(old)
    const { machine, clock, present, byPassword } = await boot({ users })
    const inside = await byPassword('old password')
    clock.set(-hourMs)
    writeUsers(fresh)
    await until(async () => {
      await machine.clock.advance(1_000)
      return present().isRevoked(inside)
    })
    const again = await byPassword('new password')
    expect(present().isRevoked(again)).toBe(false)
  })
})

describe('a revocation', () => {
  it('[RV11] with a time of its own has that time, wherever the clock is', async () => {
    const { clock, present, byToken } = await boot()
    const issued = clock.now()
    const inside = await byToken(issued)
    clock.set(-hourMs)
    const before = clock.now() - 1
    expect(await present().revoke({ user: 'alice', before })).toMatchObject({ before })
    expect(present().isRevoked(inside)).toBe(false)
  })

  it('[RV12] does not go by a clock that was wrong by more than a day, and still ends what was issued by it', async () => {
    writeUsers(old)
    const { clock, present, byPassword, start } = await boot({ users })
    clock.set(30 * dayMs)
    const inside = await byPassword('old password')
    clock.set(-30 * dayMs)
    expect(await present().revoke({ user: 'alice' })).toMatchObject({ before: clock.now() })
    expect(present().isRevoked(inside)).toBe(true)
    clock.pass(1)
    expect(await byPassword('old password')).toMatchObject({ issuedAt: clock.now() })
    await start()
    expect(await present().revoke({ user: 'bob' })).toMatchObject({ before: clock.now() })
  })

  it('[RV4] of a token holds as long as the token is accepted, beyond its end and on a clock that was wrong', async () => {
    const { clock, present, byToken } = await boot({ jwtSecret: secret, clockSkewMs: 30_000 })
    const issued = clock.now()
    const end = issued + hourMs
    const stolen = { jti: 't1', exp: end / 1_000 }
    await present().revoke({ tokenId: 't1', until: end })
    clock.pass(hourMs + 10_000)
    await present().revoke({ tokenId: 't2' })
    expect(await codeOf(byToken(issued, stolen))).toBe('auth.revoked')
    clock.set(10 * hourMs)
    await present().revoke({ tokenId: 't3' })
    clock.set(-10 * hourMs)
    expect(await codeOf(byToken(issued, stolen))).toBe('auth.revoked')
  })
})
