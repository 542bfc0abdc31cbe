/**
 * Who may do what, at every door, over the wire: the built program, real sockets, a real disk. docs/accounts.md shows the table.
 *
 * What the visitor is told is not believed: whether its words arrived, and whether it heard those of others, is seen by
 * others, who are allowed everything.
 */
import { createHmac } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { ec, jwk, pem, rsa, type TokenOptions, token } from '../auth/tokens.ts'
import { closeReaders } from '../support/events.ts'
import { temporaryDirectory } from '../support/process.ts'
import { serve } from '../support/service.ts'
import { until } from '../support/wait.ts'
import { closeWires } from '../support/wire.ts'
import { type DoorName, doorNames, place, type Visitor, visit } from './accessDoors.ts'

void [createHmac, jwk, ec, closeReaders, closeWires, until, place]

const directory = temporaryDirectory()
const keyFile = join(directory.path, 'key.pem')
writeFileSync(keyFile, pem(rsa.publicKey))
afterAll(() => directory.remove())

const all = ['*', 'admin']
const nowSeconds = Math.floor(Date.now() / 1_000)
const good = { sub: 'alice', iss: 'the tests', aud: 'troupe', iat: nowSeconds - 60, exp: nowSeconds + 3_600, permissions: ['*'] }
const signed = (claims: object = {}, options: TokenOptions = {}): string =>
  token({ ...good, ...claims }, { with: 'RS256', key: rsa.privateKey, ...options })
const root = signed({ sub: 'root', permissions: all })
const reader = ['channel:*:read', 'document:*:read', 'command:*']
const writer = ['channel:*:write', 'document:*:write', 'command:*']
void [reader, writer]

const tokens = {
  'no token': undefined,
  nonsense: 'nonsense',
  'an expired token': signed({ exp: nowSeconds - 60 }),
  'a token of tomorrow': signed({ nbf: nowSeconds + 86_400 }),
  'a token for another audience': signed({ aud: 'billing' }),
  'a token of another issuer': signed({ iss: 'somebody' }),
  'an unsigned token (alg=none)': signed({}, { with: 'none' }),
  'a token signed with the public key': signed({}, { with: 'HS256', key: pem(rsa.publicKey) }),
  'a token signed with another key': signed({}, { with: 'ES256', key: ec.privateKey }),
  'a token without permissions': signed({ permissions: [] }),
  'a read-only token': signed({ permissions: reader }),
  'a write-only token': signed({ permissions: writer }),
  'a token of another tenant': signed({ tenant: 'acme' }),
  'a good token': signed(),
}

describe('access', () => {
  const { server } = serve(
    'auth.anonymous=false',
    `auth.jwtPublicKey=${keyFile}`,
    'auth.issuer=the tests',
    'auth.audience=troupe',
    'auth.clockSkewMs=0',
  )
  let words = 0
  const newWords = () => `words ${++words} `
  const witness: Partial<Record<DoorName, Visitor>> = {}
  beforeEach(async () => {
    for (const door of ['bus', 'documents'] as const) {
      const one = visit(server(), door, root)
      await one.arrived()
      await one.listen?.()
      witness[door] = one
    }
  })
  const w = (door: DoorName) => witness[door === 'documents' ? 'documents' : 'bus'] as Visitor
  for (const [who, text] of Object.entries(tokens)) {
    it(who, async () => {
      for (const door of doorNames) {
        const out: Record<string, unknown> = {}
        const come = visit(server(), door, text)
        await come.arrived()
        out.come = come.refusal ?? 'yes'
        const l = visit(server(), door, text)
        await l.arrived()
        await l.listen?.()
        const said = newWords()
        await w(door).say?.(said)
        for (let i = 0; i < 20 && !l.heard.includes(said); i++) await l.settled()
        out.read = [l.refusal, l.heard.includes(said)]
        const s = visit(server(), door, text)
        if (s.say) {
          await s.arrived()
          const more = newWords()
          await s.say?.(more)
          for (let i = 0; i < 20; i++) await w(door).settled()
          out.write = [s.refusal, w(door).heard.includes(more)]
        }
        const f = visit(server(), door, text)
        if (f.forge) {
          await f.arrived()
          const more = newWords()
          await f.forge?.(more, 'root')
          for (let i = 0; i < 20; i++) await w(door).settled()
          out.forge = [
            f.refusal,
            w(door)
              .heard.split('\n')
              .find((line) => line.includes(more))
              ?.slice(0, 200),
          ]
        }
        console.log(who, door, JSON.stringify(out))
      }
      expect(1).toBe(1)
    })
  }
})
