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
import { BusClient } from '../support/bus.ts'
import { closeReaders } from '../support/events.ts'
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
  for (let look = 0; look < 40 && !visitor.heard.includes(words); look++) await visitor.settled()
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
  const inOrder = (outcomes: readonly string[]) => Object.fromEntries(doors.map((door, index) => [door, outcomes[index]]))
  return {
    expected: inOrder(doors.map((door) => cellOf(row, door).replaceAll('`', ''))),
    seen: inOrder(await Promise.all(doors.map(outcomeOf))),
  }
}

// ── the tests ──────────────────────────────────────────────────────────────────────────────────────────────────────

describe('who comes with a token that is', () => {
  const { server, http } = serve('auth.anonymous=false', 'log.level=debug', ...keySettings)
  const revoke = (id: string) => http().as(root()).send('POST', '/v1/revocations', { token_id: id })
  const rows = tableOf('arrivals')
  const isLater = ({ token = '' }: Row) => token.endsWith('while connected')

  it.each(rows.filter((row) => !isLater(row)).map((row) => [row.token ?? '', row] as const))('[WHO1] %s', async (name, row) => {
    if (name === 'revoked') expect(await revoke('revoked before')).toMatchObject({ status: 201 })
    const text = arrivals[name]
    if (text === undefined) throw new Error(`there is no token ${name}`)
    const { expected, seen } = await compared(row, doorNames, async (door) => {
      const visitor = await arrive(server(), door, text())
      // The bus alone lets somebody in who has yet to log in, and then refuses everything else.
      if (visitor.refusal === undefined) await visitor.listen?.()
      return `${visitor.refusal ?? 'let in'}${door === 'bus' && name === 'none' ? ', until it logs in' : ''}`
    })
    expect(seen).toEqual(expected)
  })

  it.each(rows.filter(isLater).map((row) => [row.token ?? '', row] as const))('[WHO2] %s', async (name, row) => {
    const connected = doorNames.filter((door) => door !== 'REST')
    const { expected, seen } = await compared(row, connected, async (door) => {
      const isRevoked = name.startsWith('revoked')
      const id = `${name}, at ${door}`
      const text = signed({ jti: id, ...(isRevoked ? {} : { exp: nowSeconds() + 3 }) })
      const visitor = await arrive(server(), door, text)
      await visitor.listen?.()
      expect([door, visitor.refusal, visitor.ending]).toEqual([door, undefined, undefined])
      if (isRevoked) expect(await revoke(id)).toMatchObject({ status: 201 })
      await until(() => visitor.ending !== undefined, 'the end of the connection')
      if (door !== 'events') return visitor.ending ?? ''
      const again = await arrive(server(), door, text)
      return `${visitor.ending}; ${again.refusal ?? 'let in'}`
    })
    expect(seen).toEqual(expected)
  })

  it('[WHO3] good or bad: it is so in a header, as a subprotocol, and with `authenticate`, too', async () => {
    const url = `${server().ws}/`
    const carriers: Readonly<Record<string, (text: string) => BusClient>> = {
      query: (text) => new BusClient(`${url}?auth_token=${text}`),
      header: (text) => new BusClient(url, { headers: { authorization: `Bearer ${text}` } }),
      subprotocol: (text) => new BusClient(url, { protocols: ['troupe', `bearer.${text}`] }),
      pair: (text) => new BusClient(url, { protocols: ['bearer', text] }),
    }
    await revoke('revoked before')
    for (const [name, make] of Object.entries(arrivals)) {
      const text = make()
      if (text === undefined) continue
      const expected = cellOf(rows.find((row) => row.token === name) ?? {}, 'bus').replaceAll('`', '')
      for (const [carrier, connect] of Object.entries(carriers)) {
        const { code, reason } = await connect(text).closed
        expect([name, carrier, `${code} ${reason}`]).toEqual([name, carrier, expected])
      }
      const later = await new BusClient(url).opened()
      const answer = await later.command('authenticate', { token: text })
      expect([name, answer.success, expected]).toEqual([name, false, expect.stringContaining(answer.code ?? 'no code')])
      expect(await later.command('join_channel', { channel: place })).toMatchObject({ success: false, code: 'auth.required' })
    }
    for (const connect of Object.values(carriers)) {
      const client = await connect(signed()).opened()
      expect((await client.command('status')).data).toMatchObject({ user: 'alice' })
      expect(client.socket.protocol).not.toContain('eyJ')
    }
    const later = await new BusClient(url).opened()
    expect(await later.command('authenticate', { token: signed() })).toMatchObject({ success: true, data: { user: 'alice' } })
    const both = await new BusClient(`${url}?token=${signed()}`, { headers: { authorization: `Bearer ${root()}` } }).closed
    expect(both.reason).toBe('auth.failed: the request carries credentials that differ')
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
  })
})

describe('a plugin that checks who comes', () => {
  const go = join(directory.path, 'go')
  const plugin = join(directory.path, 'doorkeeper.mjs')
  writeFileSync(
    plugin,
    `import { existsSync } from 'node:fs'
    export default ({ log }) => ({
      name: 'doorkeeper',
      auth: {
        name: 'list',
        async authenticate({ type, username }) {
          return type === 'password' ? { user: username, tenant: '', isAnonymous: false, permissions: ['*'] } : undefined
        },
      },
      hooks: {
        async onAuthenticate(client, { user }) {
          if (user !== 'alice') return
          log.info({}, 'thinking')
          while (!existsSync(${JSON.stringify(go)})) await new Promise((resolve) => setTimeout(resolve, 5))
        },
      },
    })`,
  )
  const { server, http } = serve(`plugins=${plugin}`, ...keySettings)

  it('[WHO7] cannot let in who was revoked while it was thinking', async () => {
    const alice = await new BusClient(`${server().ws}/`).opened()
    alice.send({ type: 'command', command: 'authenticate', token: signed() })
    await server().line(({ msg }) => msg === 'thinking')
    const admin = http().as(root())
    expect(await admin.send('POST', '/v1/revocations', { user: 'alice' })).toMatchObject({ status: 201 })
    writeFileSync(go, '')
    expect(await alice.closed).toEqual({ code: 4403, reason: 'auth.revoked' })
  })

  it('[WHO8] may check passwords, without a users file', async () => {
    const client = await new BusClient(`${server().ws}/`).opened()
    const answer = await client.command('authenticate', { username: 'ada', password: 'any' })
    expect(answer).toMatchObject({ success: true, data: { user: 'ada', permissions: ['*'] } })
  })
})

describe('where nobody can log in', () => {
  const { server } = serve()

  it.each(['~acme/bob', 'a\nb', 'x'.repeat(129), 'ali\u200bce'])(
    '[WHO9] nobody goes by the name of %j, however it says so',
    async (name) => {
      const client = await new BusClient(`${server().ws}/`).opened()
      const { data } = await client.command('status')
      for (const [command, parameters] of [
        ['authenticate', { username: name, password: 'any' }],
        ['set_status', { username: name, status: 'away' }],
      ] as const)
        expect(await client.command(command, parameters)).toMatchObject({ success: false, code: 'command.bad_parameters' })
      await client.publish(place, 'hi', { sender: name })
      expect((await client.command('status')).data.user).toBe(data.user)
    },
  )
})
