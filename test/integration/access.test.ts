/**
 * Who may do what, at every door, over the wire: the built program, real sockets, a real disk. The tables are those of
 * docs/accounts.md; each row is a test, each cell is tried.
 *
 * What a visitor is told is not believed: whether its words arrived, and whether it heard those of others, is seen from
 * others, who may do everything.
 */
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { pem, rsa, type TokenOptions, token } from '../auth/tokens.ts'
import { closeReaders } from '../support/events.ts'
import { HttpClient } from '../support/http.ts'
import { type Running, temporaryDirectory } from '../support/process.ts'
import { serve } from '../support/service.ts'
import { until } from '../support/wait.ts'
import { closeWires } from '../support/wire.ts'
import { type DoorName, doorNames, place, type Visitor, visit } from './accessDoors.ts'

// ── the tables ─────────────────────────────────────────────────────────────────────────────────────────────────────

type Row = Readonly<Record<string, string>>

const page = readFileSync(new URL('../../docs/accounts.md', import.meta.url), 'utf8')
const tableOf = (name: string): Row[] => {
  const [, text = ''] = new RegExp(`<!-- table ${name} -->\n(.*?)\n<!-- end ${name} -->`, 's').exec(page) ?? []
  const [head = [], , ...rows] = text.split('\n').map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
  return rows.map((cells) => Object.fromEntries(head.map((column, index) => [column, cells[index] ?? ''])))
}

/** Columns may be of several doors: `chat, documents`. */
const cellOf = (row: Row, door: DoorName): string => {
  const spelled = door === 'pubsub' ? 'pub/sub' : door
  const column = Object.keys(row).find((name) => name.split(', ').includes(spelled))
  return row[column ?? ''] ?? ''
}

// ── the tokens ─────────────────────────────────────────────────────────────────────────────────────────────────────

const directory = temporaryDirectory()
afterAll(() => directory.remove())
const keyFile = join(directory.path, 'key.pem')
writeFileSync(keyFile, pem(rsa.publicKey))
const keySettings = [`auth.jwtPublicKey=${keyFile}`, 'auth.issuer=the tests', 'auth.audience=troupe', 'auth.clockSkewMs=0']

const nowSeconds = () => Math.floor(Date.now() / 1_000)
const signed = (claims: object = {}, options: TokenOptions = {}): string => {
  const iat = nowSeconds() - 60
  const good = { sub: 'alice', iss: 'the tests', aud: 'troupe', iat, exp: iat + 3_600, permissions: ['*'] }
  return token({ ...good, ...claims }, { with: 'RS256', key: rsa.privateKey, ...options })
}
const root = (tenant = '') => signed({ sub: 'root', tenant, permissions: ['*', 'admin'] })
const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey

const arrivals: Readonly<Record<string, () => string | undefined>> = {
  none: () => undefined,
  nonsense: () => 'nonsense',
  expired: () => signed({ exp: nowSeconds() - 1 }),
  'not yet valid': () => signed({ nbf: nowSeconds() + 3_600 }),
  'for another audience': () => signed({ aud: 'billing' }),
  'of another issuer': () => signed({ iss: 'somebody' }),
  'unsigned (`alg` none)': () => signed({}, { with: 'none' }),
  'signed with the public key as a secret': () => signed({}, { with: 'HS256', key: pem(rsa.publicKey) }),
  'signed by somebody else': () => signed({}, { key: stranger }),
  revoked: () => signed({ jti: 'revoked before' }),
}

const defaults = ['channel:*', 'document:*', 'command:*']
const holders: Readonly<Record<string, () => string | undefined>> = {
  '`*`': () => signed(),
  'those of `auth.permissions`': () => signed({ permissions: undefined }),
  'read only': () => signed({ permissions: ['channel:*:read', 'document:*:read', 'command:*'] }),
  'write only': () => signed({ permissions: ['channel:*:write', 'document:*:write', 'command:*'] }),
  none: () => signed({ permissions: [] }),
  '`*`, of another tenant': () => signed({ tenant: 'acme' }),
  'nobody has to log in, and did not': () => undefined,
}

// ── what is tried ──────────────────────────────────────────────────────────────────────────────────────────────────

afterEach(() => {
  closeReaders()
  closeWires()
})

let count = 0
/** Words that were never said before. */
const newWords = (): string => `words no. ${++count}.`

const arrive = async (server: Running, door: DoorName, text: string | undefined): Promise<Visitor> => {
  const visitor = visit(server, door, text)
  await visitor.arrived()
  return visitor
}

/** Somebody who may do everything, and hears everything of a tenant. */
const witnessOf = async (server: Running, door: DoorName, tenant = ''): Promise<Visitor> => {
  const witness = await arrive(server, door === 'documents' ? 'documents' : 'bus', root(tenant))
  await witness.listen?.()
  return witness
}

const hears = async (server: Running, door: DoorName, text: string | undefined): Promise<string> => {
  const witness = await witnessOf(server, door)
  const visitor = await arrive(server, door, text)
  await visitor.listen?.()
  const words = newWords()
  await witness.say?.(words)
  await until(() => witness.heard.includes(words), 'the words of the witness')
  // Whoever hears, hears it in the same moment as the witness; the others are given time to be proven wrong.
  for (let look = 0; look < 20 && !visitor.heard.includes(words); look++) await visitor.settled()
  if (visitor.heard.includes(words)) return 'yes'
  return visitor.refusal === undefined ? 'unheard' : refusedFor(visitor)
}

/** A refusal that does not name the rule is none that anybody could do something about. */
const refusedFor = ({ refusal = '' }: Visitor): string =>
  /(needs (command|channel|document|sender):|!sender:)/.test(refusal) ? 'refused' : `refused without a rule: ${refusal}`

const says = async (server: Running, door: DoorName, text: string | undefined, name?: string): Promise<string> => {
  const [witness, own] = [await witnessOf(server, door), await witnessOf(server, door, 'acme')]
  const visitor = await arrive(server, door, text)
  const words = newWords()
  await (name === undefined ? visitor.say?.(words) : visitor.forge?.(words, name))
  await until(() => visitor.refusal !== undefined || [witness, own].some(({ heard }) => heard.includes(words)), 'what became of the words')
  for (let look = 0; look < 20; look++) await witness.settled()
  if (witness.heard.includes(words)) return name === undefined ? 'yes' : spokenBy(witness, words) === name ? 'yes' : 'as itself'
  return own.heard.includes(words) ? 'unheard' : refusedFor(visitor)
}

const spokenBy = ({ heard }: Visitor, words: string): unknown => {
  const frame = heard.split('\n').find((line) => line.includes(words)) ?? '{}'
  return (JSON.parse(frame) as { sender?: string }).sender
}

const deeds: Readonly<Record<string, (server: Running, door: DoorName, text: string | undefined) => Promise<string>>> = {
  'hears others': hears,
  'says something': says,
  'in the name of another': (server, door, text) => says(server, door, text, 'root'),
}

const can = (door: DoorName, deed: string): boolean => {
  if (deed === 'says something') return door !== 'events'
  return deed === 'hears others' || (door !== 'events' && door !== 'documents')
}

/** What every door says, beside what the table says of it. */
const compared = async (row: Row, doors: readonly DoorName[], outcomeOf: (door: DoorName) => Promise<string>) => {
  const [expected, seen]: Record<string, string>[] = [{}, {}]
  for (const door of doors) {
    Object.assign(expected as object, { [door]: cellOf(row, door).replaceAll('`', '') })
    Object.assign(seen as object, { [door]: await outcomeOf(door) })
  }
  return { expected, seen }
}

// ── the tests ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Texts that go with a code are for people, and the table has the codes. */
const codeOnly = (text: string): string => text.replace(/^(\d+ auth\.(?:required|expired|revoked)): .*$/, '$1')

describe('who comes with a token that is', () => {
  const { server } = serve('auth.anonymous=false', ...keySettings)
  const revoke = (id: string) =>
    new HttpClient(server().http).as(root()).send('POST', '/v1/revocations', { token_id: id, until: Date.now() + 3_600_000 })
  const rows = tableOf('arrivals')
  const isLater = ({ token = '' }: Row) => token.endsWith('while connected')

  it.each(rows.filter((row) => !isLater(row)).map((row) => [row.token ?? '', row] as const))('[WHO1] %s', async (name, row) => {
    if (name === 'revoked') expect(await revoke('revoked before')).toMatchObject({ status: 200 })
    const text = arrivals[name]
    if (text === undefined) throw new Error(`there is no token ${name}`)
    const { expected, seen } = await compared(row, doorNames, async (door) => {
      const visitor = await arrive(server(), door, text())
      // The bus alone lets somebody in who has yet to log in, and then refuses everything else.
      if (visitor.refusal === undefined) await visitor.listen?.()
      return `${codeOnly(visitor.refusal ?? 'let in')}${door === 'bus' && name === 'none' ? ', until it logs in' : ''}`
    })
    expect(seen).toEqual(expected)
  })

  it.each(rows.filter(isLater).map((row) => [row.token ?? '', row] as const))('[WHO2] %s', async (name, row) => {
    const connected = doorNames.filter((door) => door !== 'REST')
    const { expected, seen } = await compared(row, connected, async (door) => {
      const isRevoked = name.startsWith('revoked')
      const text = signed({ jti: `of ${door}`, ...(isRevoked ? {} : { exp: nowSeconds() + 2 }) })
      const visitor = await arrive(server(), door, text)
      await visitor.listen?.()
      expect([door, visitor.refusal, visitor.ending]).toEqual([door, undefined, undefined])
      if (isRevoked) expect(await revoke(`of ${door}`)).toMatchObject({ status: 200 })
      await until(() => visitor.ending !== undefined, 'the end of the connection')
      if (door !== 'events') return codeOnly(visitor.ending ?? '')
      const again = await arrive(server(), door, text)
      return `${visitor.ending}; ${codeOnly(again.refusal ?? 'let in')}`
    })
    expect(seen).toEqual(expected)
  })

  it('[WHO3] shown to the bus later is as good or as bad', async () => {
    const http = new HttpClient(server().http)
    for (const [name, text] of Object.entries(arrivals)) {
      if (name === 'none') continue
      expect([name, (await http.as(text() ?? '').get('/v1/channels')).status]).toEqual([name, 401])
    }
  })

  it('[WHO4] never found in the log', () => {
    expect(server().stdout + server().stderr).not.toMatch(/eyJ[\w-]{20}/)
  })
})

describe('what becomes of what somebody does who has', () => {
  const { server } = serve('auth.anonymous=false', ...keySettings)
  const open = serve('auth.anonymous=true', ...keySettings).server
  const rows = tableOf('deeds').map((row) => [row.permissions ?? '', row.does ?? '', row] as const)

  it.each(rows)('[WHO5] %s: %s', async (name, does, row) => {
    const [text, deed] = [holders[name], deeds[does]]
    if (text === undefined || deed === undefined) throw new Error(`there is no such visitor, or deed`)
    const where = name.startsWith('nobody') ? open() : server()
    const { expected, seen } = await compared(row, doorNames, async (door) => (can(door, does) ? deed(where, door, text()) : '–'))
    expect(seen).toEqual(expected)
  })

  it('[WHO6] has a row for everybody and every deed', () => {
    expect(new Set(rows.map(([name]) => name))).toEqual(new Set(Object.keys(holders)))
    expect(new Set(rows.map(([, does]) => does))).toEqual(new Set(Object.keys(deeds)))
    expect(new Set(tableOf('arrivals').map(({ token }) => token))).toEqual(
      new Set([...Object.keys(arrivals), 'revoked while connected', 'expired while connected']),
    )
    expect([place, defaults.length]).toEqual(['lobby', 3])
  })
})
