/** Who somebody is, whoever has to be asked; and what a client is that did not say. */
import { afterEach, describe, expect, it } from 'vitest'
import type { Account, Credentials } from '../../actors/account.ts'
import { decide } from '../../actors/account.ts'
import { TroupeError } from '../../actors/errors.ts'
import { Authenticator } from '../../src/auth/authenticator.ts'
import type { AuthProvider } from '../../src/auth/provider.ts'
import type { Config } from '../../src/config.ts'
import { codeOf, Machine, track } from '../actors/house.ts'
import { testWorld } from '../support/world.ts'
import { authConfig, secret, token } from './tokens.ts'

const tokenOf = (claims: object): Credentials => ({ type: 'token', token: token({ sub: 'alice', ...claims }) })
const password: Credentials = { type: 'password', username: 'bob', password: 'any' }
const made: Authenticator[] = []
afterEach(() => {
  for (const one of made.splice(0)) one.close()
})

const boot = async (auth: Partial<Config['auth']> = {}, providers: readonly AuthProvider[] = []) => {
  const world = testWorld()
  const logged: object[] = []
  const log = { ...world.log, error: (fields: object) => void logged.push(fields), warn: (fields: object) => void logged.push(fields) }
  const authenticator = await Authenticator.create({ auth: authConfig(auth), world: { clock: world.clock, log }, providers })
  made.push(authenticator)
  return { authenticator, logged, clock: world.clock }
}
const detail = (promise: Promise<Account>) =>
  promise.then((account) => account.user).catch((error: TroupeError) => `${error.code}: ${error.detail}`)

describe('where nobody can log in', () => {
  it('[AU1] a name and any password is a name', async () => {
    const { authenticator } = await boot()
    expect([authenticator.isRequired, authenticator.isConfigured]).toEqual([false, false])
    const account = await authenticator.authenticate(password, '10.0.0.1')
    expect(account).toEqual({ ...authenticator.anonymous('bob'), isAnonymous: true, tenant: '' })
    expect(decide(account, 'sender', 'x', 'speak').isAllowed).toBe(true)
    expect(decide(account, 'admin', 'revoke', 'run').isAllowed).toBe(false)
  })

  it('[AU2] a token is refused, for its bearer believes to be somebody', async () => {
    const { authenticator } = await boot()
    expect(await detail(authenticator.authenticate(tokenOf({}), ''))).toBe('auth.failed: tokens of this kind are not accepted here')
  })

  it('[AU3] a name must be one', async () => {
    const { authenticator } = await boot()
    for (const username of ['', '~acme/bob', 'a\nb'])
      expect(await codeOf(authenticator.authenticate({ ...password, username }, ''))).toBe('auth.failed')
  })

  it('[AU4] although everybody has to, the server does not start', async () => {
    expect(await codeOf(boot({ anonymous: false }))).toBe('config.invalid')
    const { authenticator } = await boot({ anonymous: false }, [{ name: 'own', authenticate: async () => undefined }])
    expect(authenticator.isRequired).toBe(true)
  })
})

describe('where somebody can log in', () => {
  it('[AU5] a name alone makes nobody: a guest has a name and a voice of its own', async () => {
    const { authenticator } = await boot({ jwtSecret: secret })
    expect(authenticator.isConfigured).toBe(true)
    expect(await detail(authenticator.authenticate(password, ''))).toBe('auth.failed: nobody here checks passwords')
    const guest = authenticator.anonymous('bob')
    expect(guest).toMatchObject({ user: 'guest:bob', isAnonymous: true })
    expect(authenticator.anonymous(guest.user).user).toBe('guest:bob')
    expect(decide(guest, 'sender', 'alice', 'speak')).toEqual({ isAllowed: false, rule: '!sender:*' })
    expect(decide(guest, 'channel', 'general', 'write').isAllowed).toBe(true)
  })

  it('[AU6] and has to, a client that did not may do nothing', async () => {
    const { authenticator } = await boot({ jwtSecret: secret, anonymous: false, anonymousPermissions: ['*'] })
    expect(authenticator.anonymous('bob').permissions).toEqual([])
  })

  it('[AU7] a token makes its bearer the user', async () => {
    const { authenticator } = await boot({ jwtSecret: secret })
    expect(await detail(authenticator.authenticate(tokenOf({}), ''))).toBe('alice')
    expect(await detail(authenticator.authenticate(tokenOf({ exp: 1 }), ''))).toBe('auth.expired: ')
  })

  it('[AU8] wrong passwords of one address are counted, wrong tokens are not', async () => {
    const { authenticator, clock } = await boot({ jwtSecret: secret, attemptsPerMinute: 2 })
    for (let i = 0; i < 10; i++)
      expect(await codeOf(authenticator.authenticate({ type: 'token', token: 'x' }, '10.0.0.1'))).toBe('auth.failed')
    for (const expected of ['auth.failed', 'auth.failed', 'rate.limited', 'rate.limited'])
      expect(await codeOf(authenticator.authenticate(password, '10.0.0.1'))).toBe(expected)
    expect(await codeOf(authenticator.authenticate(password, '10.0.0.2'))).toBe('auth.failed')
    clock.pass(60_000)
    expect(await codeOf(authenticator.authenticate(password, '10.0.0.1'))).toBe('auth.failed')
  })
})

describe('a provider of a program', () => {
  const account: Account = { user: 'carol', tenant: '', isAnonymous: false, permissions: [] }
  const providing = (authenticate: AuthProvider['authenticate']): AuthProvider => ({ name: 'own', authenticate })

  it('[AU9] is asked first; what it does not know goes on to the next', async () => {
    const own = providing(async (credentials) => (credentials.type === 'token' && credentials.token === 'key-1' ? account : undefined))
    const { authenticator } = await boot({ jwtSecret: secret }, [own])
    expect(await detail(authenticator.authenticate({ type: 'token', token: 'key-1' }, ''))).toBe('carol')
    expect(await detail(authenticator.authenticate(tokenOf({}), ''))).toBe('alice')
  })

  it('[AU10] that refuses has the last word', async () => {
    const own = providing(async () => {
      throw new TroupeError('auth.failed', 'not today')
    })
    const { authenticator } = await boot({ jwtSecret: secret }, [own])
    expect(await detail(authenticator.authenticate(tokenOf({}), ''))).toBe('auth.failed: not today')
  })

  it('[AU11] that fails lets nobody in, and tells nobody why but the log', async () => {
    const failing = [
      providing(() => Promise.reject(new Error('password of the database'))),
      providing(() => {
        throw new Error('password of the database')
      }),
    ]
    for (const own of failing) {
      const { authenticator, logged } = await boot({ jwtSecret: secret }, [own])
      expect(await detail(authenticator.authenticate(tokenOf({}), ''))).toBe('auth.unavailable: ')
      expect(logged).toEqual([{ provider: 'own', error: 'password of the database' }])
    }
  })

  it('[AU12] that does not answer within 10 s has failed', async () => {
    const { authenticator, clock } = await boot({}, [providing(() => new Promise(() => {}))])
    const login = track(authenticator.authenticate(password, ''))
    await clock.advance(9_999)
    expect(login.state).toBe('open')
    await clock.advance(1)
    expect(login).toEqual({ state: 'broken', value: 'auth.unavailable' })
    expect(clock.pending).toBe(0)
  })

  it('[AU13] that brings something that is no account lets nobody in', async () => {
    const wrong: object[] = [
      {},
      { user: 'x' },
      { ...account, user: '~acme/x' },
      { ...account, user: 'guest:x' },
      { ...account, tenant: 'a/b' },
    ]
    for (const value of [...wrong, { ...account, permissions: '*' }, { ...account, permissions: [1] }, { ...account, isAnonymous: 0 }]) {
      const { authenticator } = await boot({}, [providing(async () => value as Account)])
      expect([value, await codeOf(authenticator.authenticate(password, ''))]).toEqual([value, 'auth.failed'])
    }
  })

  it('[AU14] whose account has expired lets nobody in', async () => {
    const { authenticator, clock } = await boot({}, [providing(async () => ({ ...account, expiresAt: 1_000_001 }))])
    expect(await detail(authenticator.authenticate(password, ''))).toBe('carol')
    clock.pass(1)
    expect(await codeOf(authenticator.authenticate(password, ''))).toBe('auth.expired')
  })
})

describe('what is revoked', () => {
  const start = async () => {
    const { authenticator, clock } = await boot({ jwtSecret: secret })
    const machine = await Machine.boot(authenticator.actors as never)
    await authenticator.load(machine.system)
    let told = 0
    authenticator.onRevoked(() => void told++)
    return { authenticator, machine, clock, told: () => told }
  }

  it('[AU15] is kept out from the moment of the answer, and whoever is in can be found', async () => {
    const { authenticator, machine, told } = await start()
    const login = (claims: object) => detail(authenticator.authenticate(tokenOf(claims), ''))
    const inside = await authenticator.authenticate(tokenOf({ iat: 999 }), '')
    expect(authenticator.isRevoked(inside)).toBe(false)
    await authenticator.revoke({ user: 'alice' })
    expect([authenticator.isRevoked(inside), told()]).toEqual([true, 1])
    expect(await login({ iat: 999 })).toBe('auth.revoked: ')
    expect(await login({})).toBe('auth.revoked: ')
    expect(await login({ iat: 1_001 })).toBe('alice')
    expect(await login({ iat: 999, tenant: 'acme' })).toBe('alice')
    await authenticator.revoke({ tokenId: 't1', until: 2_000_000 })
    expect(await login({ iat: 1_001, jti: 't1' })).toBe('auth.revoked: ')
    await machine.system.ask('revocations/main', { type: 'revocations.revoke', tokenId: 't2' })
    expect(await login({ iat: 1_001, jti: 't2' })).toBe('auth.revoked: ')
    expect(told()).toBe(3)
  })

  it('[AU16] is still kept out by the next process', async () => {
    const first = await start()
    await first.authenticator.revoke({ user: 'alice' })
    await first.machine.crash()
    const { authenticator } = await boot({ jwtSecret: secret })
    await authenticator.load(first.machine.system)
    expect(await codeOf(authenticator.authenticate(tokenOf({ iat: 999 }), ''))).toBe('auth.revoked')
  })

  it('[AU17] before the revocations are read, nothing is', async () => {
    const { authenticator } = await boot({ jwtSecret: secret })
    expect(await codeOf(authenticator.revoke({ user: 'alice' }))).toBe('system.closed')
  })
})
