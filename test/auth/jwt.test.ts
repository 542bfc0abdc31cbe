/** Tokens: what is let in, as whom, and what is not. The clock stands at 1 000 000 ms, which is 1 000 s since 1970. */
import { generateKeyPairSync } from 'node:crypto'
import { rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { isTroupeError } from '../../actors/errors.ts'
import { jwtProvider } from '../../src/auth/jwt.ts'
import type { Config } from '../../src/config.ts'
import { temporaryDirectory } from '../support/process.ts'
import { SeededRandom, SimulatedClock, silentLog, testWorld } from '../support/world.ts'
import { authConfig, ec, ed, jwk, pem, rsa, secret, type TokenOptions, token } from './tokens.ts'

const nowSeconds = 1_000
const directory = temporaryDirectory()
afterAll(() => directory.remove())
let files = 0
const file = (text: string): string => {
  const path = join(directory.path, `file${++files}`)
  writeFileSync(path, text)
  return path
}

type Auth = Partial<Config['auth']>

/** Who a token makes its bearer, or `code: detail` of why it makes nobody. */
const admit = async (text: string, auth: Auth = { jwtSecret: secret }, clock = new SimulatedClock()): Promise<unknown> => {
  try {
    const provider = await jwtProvider(authConfig(auth), { clock, log: silentLog })
    return await provider?.authenticate({ type: 'token', token: text })
  } catch (error) {
    if (!isTroupeError(error)) throw error
    return `${error.code}: ${error.detail}`
  }
}
const of = (claims: Parameters<typeof token>[0], options?: TokenOptions, auth?: Auth) => admit(token(claims, options), auth)

describe('a token', () => {
  it('[JW1] of each kind of key is let in', async () => {
    const alice = { user: 'alice', tenant: '', isAnonymous: false, permissions: ['channel:*', 'document:*', 'command:*'] }
    expect(await of({ sub: 'alice' })).toEqual(alice)
    for (const [algorithm, pair] of [
      ['RS256', rsa],
      ['EdDSA', ed],
      ['ES256', ec],
    ] as const) {
      const signed = token({ sub: 'alice' }, { with: algorithm, key: pair.privateKey })
      expect(await admit(signed, { jwtPublicKey: file(pem(pair.publicKey)) })).toEqual(alice)
      expect(await admit(signed, { jwks: file(JSON.stringify({ keys: [jwk(pair.publicKey)] })) })).toEqual(alice)
    }
  })

  it('[JW2] of several kinds of key at once goes to the key that fits', async () => {
    const auth = {
      jwtSecret: secret,
      jwtPublicKey: file(pem(rsa.publicKey)),
      jwks: file(JSON.stringify({ keys: [jwk(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey), jwk(ec.publicKey)] })),
    }
    for (const options of [{}, { with: 'RS256', key: rsa.privateKey }, { with: 'ES256', key: ec.privateKey }])
      expect(await admit(token({ sub: 'alice' }, options), auth)).toMatchObject({ user: 'alice' })
    expect(await admit(token({ sub: 'alice' }, { with: 'EdDSA', key: ed.privateKey }), auth)).toBe('auth.failed: token: no such key')
  })
})

describe('who the claims make', () => {
  const cases: [name: string, claims: Parameters<typeof token>[0], auth: Auth, expected: object | string][] = [
    ['sub', { sub: 'alice' }, {}, { user: 'alice' }],
    ['user_id, as text', { user_id: 'bob' }, {}, { user: 'bob' }],
    ['user_id, as number', { user_id: 42 }, {}, { user: '42' }],
    ['sub before user_id', { sub: 'alice', user_id: 'bob' }, {}, { user: 'alice' }],
    ['another claim', { email: 'a@b.c', sub: 'x' }, { userClaim: 'email' }, { user: 'a@b.c' }],
    ['another claim that is not there', { sub: 'alice' }, { userClaim: 'email' }, 'auth.failed: token: no user'],
    ['a name normalised', { sub: 'Zoe\u0308' }, {}, { user: 'Zo\u00eb' }],
    ['nobody', {}, {}, 'auth.failed: token: no user'],
    ['a claim that every object seems to have', { user_id: 'bob' }, { userClaim: 'constructor' }, { user: 'bob' }],
    ['an empty name', { sub: '' }, {}, 'auth.failed: token: no user: the name is empty'],
    ['a list', { sub: ['alice'] }, {}, 'auth.failed: token: no user'],
    ['null', { sub: null, user_id: 'bob' }, {}, 'auth.failed: token: no user'],
    ['a fraction', { user_id: 1.5 }, {}, 'auth.failed: token: no user'],
    ['the user of another tenant', { sub: '~acme/bob' }, {}, 'auth.failed: token: no user: the name begins with ~'],
    ['a guest', { sub: 'guest:bob' }, {}, 'auth.failed: token: no user: the name begins with guest:'],
    ['a name with a line break', { sub: 'a\nb' }, {}, 'auth.failed: token: no user: the name has control characters or is not well-formed'],
    ['a name with an invisible character', { sub: 'ali\u200bce' }, {}, 'auth.failed: token: no user: the name has invisible characters'],
    ['128 bytes', { sub: 'ä'.repeat(64) }, {}, { user: 'ä'.repeat(64) }],
    ['129 bytes', { sub: `${'ä'.repeat(64)}x` }, {}, 'auth.failed: token: no user: the name is longer than 128 bytes'],
    ['a tenant', { sub: 'a', tenant: 'acme' }, {}, { tenant: 'acme' }],
    ['tenant_id', { sub: 'a', tenant_id: 'acme' }, {}, { tenant: 'acme' }],
    ['another tenant claim', { sub: 'a', org: 'acme', tenant: 'x' }, { tenantClaim: 'org' }, { tenant: 'acme' }],
    ['no tenant', { sub: 'a' }, {}, { tenant: '' }],
    ['a tenant with a slash', { sub: 'a', tenant: 'acme/x' }, {}, 'auth.failed: token: the tenant is not 1 to 64 of A-Z a-z 0-9 _ . -'],
    ['a tenant that is null', { sub: 'a', tenant: null }, {}, 'auth.failed: token: the tenant is not 1 to 64 of A-Z a-z 0-9 _ . -'],
    ['permissions', { sub: 'a', permissions: ['history'] }, {}, { permissions: ['history'] }],
    ['no permissions at all', { sub: 'a', permissions: [] }, {}, { permissions: [] }],
    ['scope', { sub: 'a', scope: 'history  channel:x:read' }, {}, { permissions: ['history', 'channel:x:read'] }],
    ['permissions before scope', { sub: 'a', permissions: ['a'], scope: 'b' }, {}, { permissions: ['a'] }],
    [
      'scope of OpenID Connect alone',
      { sub: 'a', scope: 'openid profile email' },
      { permissions: ['status'] },
      { permissions: ['status'] },
    ],
    ['scope of OpenID Connect and ours', { sub: 'a', scope: 'openid history' }, {}, { permissions: ['history'] }],
    ['default permissions', { sub: 'a' }, { permissions: ['status'] }, { permissions: ['status'] }],
    ['permissions as text', { sub: 'a', permissions: '*' }, {}, 'auth.failed: token: permissions is not a list of texts'],
    ['permissions with a number', { sub: 'a', permissions: ['a', 1] }, {}, 'auth.failed: token: permissions is not a list of texts'],
    ['scope as list', { sub: 'a', scope: ['a'] }, {}, 'auth.failed: token: scope is not a text'],
    ['jti', { sub: 'a', jti: 't1' }, {}, { tokenId: 't1' }],
    ['jti as number', { sub: 'a', jti: 1 }, {}, 'auth.failed: token: jti is not a text'],
    ['epoch', { sub: 'a', epoch: 'e1' }, {}, { epoch: 'e1' }],
    ['epoch as number', { sub: 'a', epoch: 1 }, {}, 'auth.failed: token: epoch is not a text'],
    ['iat', { sub: 'a', iat: 900 }, {}, { issuedAt: 900_000 }],
    ['the last of two equal claims, as RFC 7519 §4 says', '{"sub":"alice","sub":"bob"}', {}, { user: 'bob' }],
    ['no object', '["alice"]', {}, 'auth.failed: token: malformed'],
    ['no JSON', '{"sub":', {}, 'auth.failed: token: malformed'],
  ]
  it.each(cases)('[JW3] %s', async (_name, claims, auth, expected) => {
    const account = await of(claims, {}, { jwtSecret: secret, ...auth })
    if (typeof expected === 'string') expect(account).toBe(expected)
    else expect(account).toMatchObject(expected)
  })

  it('[JW4] a claim named __proto__ gives nothing', async () => {
    expect(await of('{"__proto__":{"sub":"root","permissions":["*"]},"sub":"alice"}')).toMatchObject({ user: 'alice' })
    expect(await of('{"__proto__":{"sub":"root"}}')).toBe('auth.failed: token: no user')
  })
})

describe('the time of a token', () => {
  const skewSeconds = 30
  const cases: [name: string, claims: object, expected: object | string][] = [
    ['expires later: the connection ends when the token would be refused', { exp: nowSeconds + 60 }, { expiresAt: 1_090_000 }],
    ['has expired within the difference of clocks', { exp: nowSeconds - skewSeconds + 1 }, { expiresAt: 1_001_000 }],
    ['has expired at its edge', { exp: nowSeconds - skewSeconds }, 'auth.expired: '],
    ['has expired', { exp: 1 }, 'auth.expired: '],
    ['expires at a fraction', { exp: nowSeconds - skewSeconds + 0.001 }, { expiresAt: 1_000_001 }],
    ['expires before 1970', { exp: -1 }, 'auth.expired: '],
    ['expires as text', { exp: '2000' }, 'auth.failed: token: claim exp'],
    ['does not say when it expires', {}, { user: 'a' }],
    ['is valid from the edge on', { nbf: nowSeconds + skewSeconds }, { user: 'a' }],
    ['is not yet valid', { nbf: nowSeconds + skewSeconds + 1 }, 'auth.failed: token: not yet valid'],
    ['is valid from a text on', { nbf: 'now' }, 'auth.failed: token: not yet valid'],
    ['was issued at the edge of the future', { iat: nowSeconds + skewSeconds }, { issuedAt: 1_030_000 }],
    ['was issued in the future', { iat: nowSeconds + skewSeconds + 1 }, 'auth.failed: token: not yet valid'],
    ['was issued as text', { iat: 'then' }, 'auth.failed: token: claim iat'],
  ]
  it.each(cases)('[JW5] it %s', async (_name, claims, expected) => {
    const account = await of({ sub: 'a', ...claims })
    if (typeof expected === 'string') expect(account).toBe(expected)
    else expect(account).toMatchObject(expected)
  })

  it('[JW6] times that no clock has are refused, for they would be no time to close a connection at', async () => {
    for (const claim of ['exp', 'iat']) expect(await of(`{"sub":"a","${claim}":1e999}`)).toBe(`auth.failed: token: ${claim} is not a time`)
  })

  it('[JW7] comes from the clock of the server', async () => {
    const signed = token({ sub: 'a', exp: 2_000 })
    const clock = new SimulatedClock(2_029_999)
    expect(await admit(signed, { jwtSecret: secret }, clock)).toMatchObject({ user: 'a' })
    clock.pass(1)
    expect(await admit(signed, { jwtSecret: secret }, clock)).toBe('auth.expired: ')
  })
})

describe('issuer and audience', () => {
  const auth = { jwtSecret: secret, issuer: 'https://id.example', audience: 'troupe' }
  const good = { sub: 'a', iss: 'https://id.example', aud: 'troupe' }
  const cases: [name: string, claims: object, expected: object | string][] = [
    ['right', good, { user: 'a' }],
    ['one audience of several', { ...good, aud: ['other', 'troupe'] }, { user: 'a' }],
    ['another audience', { ...good, aud: 'other' }, 'auth.failed: token: audience'],
    ['no audience', { ...good, aud: undefined }, 'auth.failed: token: audience'],
    ['an audience that only begins so', { ...good, aud: 'troupe2' }, 'auth.failed: token: audience'],
    ['an audience that is an object', { ...good, aud: { troupe: true } }, 'auth.failed: token: audience'],
    ['another issuer', { ...good, iss: 'https://id.example.evil' }, 'auth.failed: token: issuer'],
    ['a list of issuers', { ...good, iss: ['https://id.example'] }, 'auth.failed: token: issuer'],
    ['no issuer', { ...good, iss: undefined }, 'auth.failed: token: issuer'],
  ]
  it.each(cases)('[JW8] %s', async (_name, claims, expected) => {
    const account = await of({ ...claims }, {}, auth)
    if (typeof expected === 'string') expect(account).toBe(expected)
    else expect(account).toMatchObject(expected)
  })
})

describe('an attack with', () => {
  const alice = { sub: 'alice' }
  const publicPem = pem(rsa.publicKey)
  const strange = generateKeyPairSync('rsa', { modulusLength: 2048 })

  it('[JW9] no signature is refused, however `none` is spelled', async () => {
    for (const alg of ['none', 'None', 'NONE', 'nOnE'])
      for (const auth of [
        { jwtSecret: secret },
        { jwtPublicKey: file(publicPem) },
        { jwks: file(JSON.stringify({ keys: [jwk(rsa.publicKey)] })) },
      ])
        expect(await of(alice, { with: 'none', header: { alg } }, auth)).toBe(`auth.failed: token: algorithm ${alg} is not accepted`)
    expect(await of(alice, { with: 'none', header: { alg: 'HS256' } })).toBe('auth.failed: token: signature')
  })

  it('[JW10] the public key as the secret of HS256 is refused', async () => {
    for (const key of [publicPem, publicPem.trim(), rsa.publicKey.export({ type: 'spki', format: 'der' }).toString('latin1')])
      for (const auth of [{ jwtPublicKey: file(publicPem) }, { jwks: file(JSON.stringify({ keys: [jwk(rsa.publicKey, { kid: 'k' })] })) }])
        expect(await of(alice, { key, header: { alg: 'HS256', kid: 'k' } }, auth)).toBe(
          'auth.failed: token: algorithm HS256 is not accepted',
        )
  })

  it('[JW11] another algorithm than that of the key is refused', async () => {
    expect(await of(alice, { with: 'HS512' })).toBe('auth.failed: token: algorithm HS512 is not accepted')
    expect(await of(alice, { with: 'ES256', key: ec.privateKey }, { jwtPublicKey: file(publicPem) })).toBe(
      'auth.failed: token: algorithm ES256 is not accepted',
    )
    const only = { jwks: file(JSON.stringify({ keys: [jwk(rsa.publicKey, { alg: 'RS512' })] })) }
    expect(await of(alice, { with: 'RS256', key: rsa.privateKey }, only)).toBe('auth.failed: token: no such key')
  })

  it('[JW12] a header that cannot be what it says is refused', async () => {
    const headers: [TokenOptions['header'], string][] = [
      [{ typ: 'JWT' }, 'no algorithm'],
      [{ alg: ['HS256'] }, 'no algorithm'],
      [{ alg: '<script>' }, 'no algorithm'],
      [{ alg: 'A'.repeat(17) }, 'no algorithm'],
      ['[]', 'malformed'],
      ['null', 'malformed'],
      ['{"alg":"HS256"', 'malformed'],
      [{ alg: 'HS256', crit: ['exp'], exp: 1 }, 'malformed'],
      [{ alg: 'HS256', crit: ['b64'], b64: false }, 'malformed'],
      [{ alg: 'toString' }, 'algorithm toString is not accepted'],
      ['{"alg":"HS256","alg":"none"}', 'algorithm none is not accepted'],
    ]
    for (const [header, detail] of headers)
      expect([header, await of(alice, { header: header ?? {} })]).toEqual([header, `auth.failed: token: ${detail}`])
    // The last of two equal names counts, for us as for whoever checks the signature.
    expect(await of(alice, { header: '{"alg":"none","alg":"HS256"}' })).toMatchObject({ user: 'alice' })
  })

  it('[JW13] a key, or the place of one, that it brings along is refused', async () => {
    const brought = { jwk: jwk(strange.publicKey), jku: 'http://127.0.0.1:1/jwks', x5u: 'http://127.0.0.1:1/x', kid: 'k' }
    const signed = token(alice, { with: 'RS256', key: strange.privateKey, header: { alg: 'RS256', ...brought } })
    expect(await admit(signed, { jwtPublicKey: file(publicPem) })).toBe('auth.failed: token: signature')
    expect(await admit(signed, { jwks: file(JSON.stringify({ keys: [jwk(rsa.publicKey, { kid: 'k' })] })) })).toBe(
      'auth.failed: token: signature',
    )
  })

  it('[JW14] a kid that is a path, a query or a name of the language finds no key', async () => {
    const auth = { jwks: file(JSON.stringify({ keys: [jwk(rsa.publicKey, { kid: 'k' })] })) }
    for (const kid of ['../../../../dev/null', "k' OR '1'='1", '__proto__', 'constructor', '', 0, null, ['k']]) {
      const signed = token(alice, { with: 'RS256', key: rsa.privateKey, header: { alg: 'RS256', kid } })
      expect([kid, await admit(signed, auth)]).toEqual([kid, 'auth.failed: token: no such key'])
    }
    expect(await admit(token(alice, { with: 'RS256', key: rsa.privateKey, header: { alg: 'RS256', kid: 'k' } }), auth)).toMatchObject({
      user: 'alice',
    })
  })

  it('[JW15] a changed claim, header or signature is refused', async () => {
    const [header = '', , signature = ''] = token(alice).split('.')
    const [, root = ''] = token({ sub: 'root' }).split('.')
    expect(await admit(`${header}.${root}.${signature}`)).toBe('auth.failed: token: signature')
    expect(await admit(token(alice, { key: `${secret}!` }))).toBe('auth.failed: token: signature')
  })

  it('[JW16] any character of it changed never lets anybody in, and never looks like our fault', async () => {
    const random = new SeededRandom(16)
    const good = token({ sub: 'alice', aud: 'x', exp: 5_000 })
    const characters = [...'ABCabc019-_.= \n"{}é']
    // The last character of a signature stands for 4 bits and two more that mean nothing.
    const last = good.length - 1
    for (let i = 0; i < 400; i++) {
      const at = random.below(last)
      const changed = good.slice(0, at) + random.pick(characters) + good.slice(Math.min(last, at + random.below(3)))
      if (changed === good) continue
      const outcome = await admit(changed)
      expect([changed, typeof outcome === 'string' ? outcome.split(':')[0] : outcome]).toEqual([changed, 'auth.failed'])
    }
  })

  it('[JW17] 100 KB, or a hundred thousand dots, is refused before it is looked at', async () => {
    for (const huge of [token({ sub: 'a'.repeat(100_000) }), '.'.repeat(100_000), `${token(alice)}.${'A'.repeat(100_000)}`])
      expect(await admit(huge)).toBe('auth.failed: token: longer than 16384 characters')
    for (const wrong of ['', '.', '..', '...', 'a.b', 'a.b.c.d.e', '.'.repeat(16_000), 'null', `${token(alice)}.`])
      expect([wrong, await admit(wrong)]).toEqual([wrong, 'auth.failed: token: malformed'])
  })

  it('[JW18] the error holds neither token nor claims, for errors are logged', async () => {
    const provider = await jwtProvider(authConfig({ jwtSecret: secret, audience: 'troupe' }), testWorld())
    const signed = token({ sub: 'alice', aud: 'other', ssn: '078-05-1120' })
    const error = await provider?.authenticate({ type: 'token', token: signed }).catch((failure: unknown) => failure)
    expect(isTroupeError(error, 'auth.failed') && error.cause).toBeUndefined()
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toMatch(/078-05-1120|eyJ/)
  })
})

describe('a key set', () => {
  let server: Server | undefined
  afterEach(() => void server?.close())

  it('[JW19] with several keys that fit a token without kid is tried key by key', async () => {
    const keys = [jwk(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey), jwk(rsa.publicKey)]
    const auth = { jwks: file(JSON.stringify({ keys })) }
    expect(await of({ sub: 'a' }, { with: 'RS256', key: rsa.privateKey }, auth)).toMatchObject({ user: 'a' })
    expect(await of({ sub: 'a', exp: 1 }, { with: 'RS256', key: rsa.privateKey }, auth)).toBe('auth.expired: ')
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    expect(await of({ sub: 'a' }, { with: 'RS256', key: other }, auth)).toBe('auth.failed: token: signature')
  })

  it('[JW20] by URL is fetched when first needed and kept; a kid that is not there does not fetch it again at once', async () => {
    let fetched = 0
    let status = 503
    server = createServer((_request, response) => {
      fetched++
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ keys: [jwk(rsa.publicKey, { kid: 'k' })] }))
    })
    await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const { clock, log } = testWorld()
    clock.pass(36_000_000)
    const provider = await jwtProvider(authConfig({ jwks: `http://127.0.0.1:${port}/jwks` }), { clock, log })
    expect(fetched).toBe(0)
    const present = (kid: string) =>
      provider?.authenticate({
        type: 'token',
        token: token({ sub: 'a' }, { with: 'RS256', key: rsa.privateKey, header: { alg: 'RS256', kid } }),
      })
    // Not the fault of the token, so not `auth.failed`.
    for (let i = 0; i < 5; i++) {
      const failure = await present('k')?.catch((error: unknown) => error)
      expect([isTroupeError(failure), failure instanceof Error]).toEqual([false, true])
    }
    expect(fetched).toBe(1)
    clock.pass(1_000)
    status = 200
    expect(await present('k')).toMatchObject({ user: 'a' })
    expect(await present('k')).toMatchObject({ user: 'a' })
    expect(fetched).toBe(2)
    const unknown = (i: number) =>
      expect(present(`unknown${i}`)).rejects.toMatchObject({ code: 'auth.failed', detail: 'token: no such key' })
    for (let i = 0; i < 5; i++) await unknown(i)
    expect(fetched).toBe(2)
    // How often it is fetched does not change with what the clock is set to.
    clock.set(-3_600_000)
    clock.pass(30_000)
    for (let i = 0; i < 5; i++) await unknown(i)
    expect(fetched).toBe(3)
    clock.pass(599_999)
    expect(await present('k')).toMatchObject({ user: 'a' })
    expect(fetched).toBe(3)
    clock.pass(1)
    expect(await present('k')).toMatchObject({ user: 'a' })
    expect(fetched).toBe(4)
  })
})

describe('a key set in a file', () => {
  const later = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const setOf = (...kids: readonly ('old' | 'new')[]) =>
    JSON.stringify({ keys: kids.map((kid) => jwk(kid === 'old' ? ec.publicKey : later.publicKey, { kid })) })
  const open = async (path: string) => {
    const world = testWorld()
    const logged: string[] = []
    const log = { ...world.log, error: (_: unknown, text: string) => void logged.push(text) }
    const provider = await jwtProvider(authConfig({ jwks: path }), { clock: world.clock, log })
    /** How a token fares that names this key and is signed with it. */
    const present = async (kid: 'old' | 'new', header: object = { alg: 'ES256', kid }) => {
      const { privateKey } = kid === 'old' ? ec : later
      const options = { with: 'ES256', key: privateKey, header: { ...header } }
      try {
        return (await provider?.authenticate({ type: 'token', token: token({ sub: 'a' }, options) }))?.user
      } catch (error) {
        return isTroupeError(error) ? `${error.code}: ${error.detail}` : String(error)
      }
    }
    return { present, logged, clock: world.clock }
  }
  const unknown = 'auth.failed: token: no such key'

  it('[JW23] is read again when a token names a key that it did not have', async () => {
    const path = file(setOf('old'))
    const { present, logged } = await open(path)
    expect(await present('new')).toBe(unknown)
    writeFileSync(path, setOf('old', 'new'))
    expect([await present('new'), await present('old'), logged]).toEqual(['a', 'a', []])
  })

  it('[JW23] lets nobody in by a key that was taken out of it, about a second later', async () => {
    const path = file(setOf('old', 'new'))
    const { present, clock } = await open(path)
    expect(await present('old')).toBe('a')
    writeFileSync(path, setOf('new'))
    clock.pass(1_000)
    expect([await present('old'), await present('new')]).toEqual([unknown, 'a'])
  })

  it('[JW23] is read again for an unknown key though it looks unchanged, every five seconds at most', async () => {
    const path = file(setOf('old'))
    utimesSync(path, 1, 1)
    const { size } = statSync(path)
    const { present, clock } = await open(path)
    writeFileSync(path, setOf('new'))
    utimesSync(path, 1, 1)
    expect(statSync(path)).toMatchObject({ size, mtimeMs: 1_000 })
    clock.pass(4_999)
    expect(await present('new')).toBe(unknown)
    clock.pass(1)
    expect(await present('new')).toBe('a')
  })

  it('[JW24] that is broken, holds a secret or is gone changes nothing, and is logged once', async () => {
    const path = file(setOf('old'))
    const { present, logged, clock } = await open(path)
    const faults: (() => void)[] = [
      () => writeFileSync(path, '{"keys":['),
      () => writeFileSync(path, JSON.stringify({ keys: [later.privateKey.export({ format: 'jwk' })] })),
      () => rmSync(path),
    ]
    for (const [index, spoil] of faults.entries()) {
      spoil()
      for (let i = 0; i < 3; i++) {
        clock.pass(5_000)
        expect([await present('old'), await present('new')]).toEqual(['a', unknown])
      }
      expect(logged).toEqual(Array(index + 1).fill('the key set cannot be used; the keys are those of before'))
    }
    writeFileSync(path, setOf('new'))
    clock.pass(1_000)
    expect([await present('new'), await present('old')]).toEqual(['a', unknown])
  })

  it('[JW24] is looked at once for many tokens that come together', async () => {
    const path = file(setOf('old'))
    const { present, clock } = await open(path)
    writeFileSync(path, setOf('old', 'new'))
    clock.pass(1_000)
    expect(await Promise.all(Array.from({ length: 50 }, (_, i) => present(i % 2 === 0 ? 'old' : 'new')))).toEqual(Array(50).fill('a'))
  })
})

describe('a key that is of no use is refused at start:', () => {
  const privatePem = rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey
  const odd = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey
  const cases: [name: string, auth: () => Auth, reason: RegExp][] = [
    ['a secret of 31 bytes', () => ({ jwtSecret: 'x'.repeat(31) }), /auth\.jwtSecret has 31 bytes/],
    ['a key file as secret', () => ({ jwtSecret: pem(rsa.publicKey) }), /not a secret/],
    ['a file that is not there', () => ({ jwtPublicKey: join(directory.path, 'none') }), /ENOENT/],
    ['a private key', () => ({ jwtPublicKey: file(privatePem) }), /does not begin with -----BEGIN PUBLIC KEY-----/],
    ['no key', () => ({ jwtPublicKey: file('-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----') }), /auth\.jwtPublicKey/],
    ['a short RSA key', () => ({ jwtPublicKey: file(pem(weak)) }), /RSA with 1024 bits/],
    ['an unknown curve', () => ({ jwtPublicKey: file(pem(odd)) }), /secp256k1/],
    ['a set that is none', () => ({ jwks: file('{"keys":1}') }), /auth\.jwks/],
    ['a set with a private key', () => ({ jwks: file(JSON.stringify({ keys: [jwk(ec.privateKey)] })) }), /secret/],
    ['a set with a shared secret', () => ({ jwks: file('{"keys":[{"kty":"oct","k":"AAAA"}]}') }), /secret/],
  ]
  it.each(cases)('[JW21] %s', async (_name, auth, reason) => {
    const start = async () => jwtProvider(authConfig(auth()), testWorld())
    await expect(start()).rejects.toMatchObject({ code: 'config.invalid', message: expect.stringMatching(reason) })
  })

  it('[JW22] without any key there is no provider; another kind of credentials is not its business', async () => {
    expect(await jwtProvider(authConfig(), testWorld())).toBeUndefined()
    const provider = await jwtProvider(authConfig({ jwtSecret: secret }), testWorld())
    expect(await provider?.authenticate({ type: 'password', username: 'a', password: 'b' })).toBeUndefined()
  })
})
