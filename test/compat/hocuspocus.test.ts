/** Stock Hocuspocus providers, of both majors in use, against the built server. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createTroupe, type Troupe } from '../../src/index.ts'
import { secret, token as sign, type TokenOptions } from '../auth/tokens.ts'
import { closeEditors, openEditor } from '../support/editors.ts'
import { closeTiptaps, majors, openSocket, openTiptap, saved, type Tiptap } from '../support/hocuspocus.ts'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { until } from '../support/wait.ts'

const data = temporaryDirectory()
let troupe: Running

const start = (...more: readonly string[]) =>
  startTroupe(data.path, [
    ...['--listen', '0:yjs', '--listen', '0:hocuspocus', '--set', `auth.jwtSecret=${secret}`, '--set', 'auth.clockSkewMs=0'],
    ...more,
  ])
const seconds = () => Math.floor(Date.now() / 1_000)
const token = (claims: object = {}, options: TokenOptions = {}): string =>
  sign({ sub: 'ada', iat: seconds() - 60, exp: seconds() + 3_600, permissions: ['document:*'], ...claims }, options)

beforeAll(async () => {
  troupe = await start()
})
afterEach(() => {
  closeTiptaps()
  closeEditors()
})
afterAll(async () => {
  await troupe.kill()
  data.remove()
})

const main = () => `${troupe.ws}/hocuspocus`
const same = (...editors: readonly Tiptap[]) =>
  until(
    () => new Set(editors.map(({ text }) => text.toString())).size === 1 && editors.every(({ provider }) => provider.synced),
    'one text',
  )

describe.each(majors)('an unmodified HocuspocusProvider %i', (major) => {
  const open = (name: string, options: Parameters<typeof openTiptap>[2] = {}) =>
    openTiptap(main(), `${name} ${major}`, { major, token: token(), ...options })

  it('[HP1] synchronises on the path of the main listener, on a listener of its own and on one of both wires, with y-websocket', async () => {
    const urls = [main(), `${main()}/`, `ws://127.0.0.1:${troupe.ports[1]}`, `ws://127.0.0.1:${troupe.ports[2]}/any/path`]
    const editors = urls.map((url) => openTiptap(url, `everywhere ${major}`, { major, token: token() }))
    const other = openEditor(`ws://127.0.0.1:${troupe.ports[1]}`, `everywhere%20${major}?token=${token()}`)
    await Promise.all(editors.map(saved))
    editors.forEach(({ text }, i) => {
      text.insert(0, `from ${i}. `)
    })
    other.text.insert(0, 'from y-websocket. ')
    const texts = () => [other, ...editors].map(({ text }) => text.toString())
    await until(() => new Set(texts()).size === 1 && other.text.length === 50, 'all texts at all of them')
    await Promise.all(editors.map(saved))
  })

  it('[HP2] has what it was told is saved after the process was killed', async () => {
    const a = open('killed')
    a.text.insert(0, 'before the connection. ')
    await saved(a)
    for (let i = 0; i < 200; i++) a.text.insert(a.text.length, `${i} `)
    await saved(a)
    const text = a.text.toString()
    troupe.signal('SIGKILL')
    await troupe.exited
    a.close()
    troupe = await start('--port', String(troupe.port))
    const b = open('killed')
    await saved(b)
    expect(b.text.toString()).toBe(text)
  })

  it('[HP3] may read only: it says so, its changes are refused and never shown as saved, those of others arrive', async () => {
    const [writer, reader] = [open('read only'), open('read only', { token: token({ permissions: ['document:*:read'] }) })]
    await Promise.all([saved(writer), saved(reader)])
    expect(reader.events).toEqual(['authenticated readonly'])
    writer.text.insert(0, 'by the writer')
    await until(() => reader.text.toString() === 'by the writer', 'the text')
    expect(reader.provider.hasUnsyncedChanges).toBe(false)
    reader.text.insert(0, 'not ')
    writer.text.insert(0, 'indeed ')
    await until(() => reader.text.toString().includes('indeed'), 'the next text')
    expect(reader.provider.hasUnsyncedChanges).toBe(true)
    expect(writer.text.toString()).toBe('indeed by the writer')
    expect(reader.shared.opened).toBe(1)
  })

  it('[HP3] may comment only: what it writes elsewhere ends its document with the reason, and not the other one of its socket', async () => {
    const shared = openSocket(main(), major)
    const commenter = token({ permissions: ['document:*:comment'] })
    const [writer, guest, other] = [open('text'), open('text', { shared, token: commenter }), open('other', { shared })]
    writer.text.insert(0, 'by the writer')
    await until(() => guest.text.toString() === 'by the writer', 'the text')
    guest.doc.getArray('comments').push(['a comment'])
    await saved(guest)
    guest.text.insert(0, 'x')
    guest.doc.getArray('comments').push(['behind it'])
    await until(() => guest.events.length === 3, 'the end')
    const reason = expect.stringMatching(/ access\.denied: needs document:text \d:write to change text$/)
    expect(guest.events).toEqual(['authenticated read-write', reason, reason])
    expect(guest.provider.hasUnsyncedChanges).toBe(true)
    other.text.insert(0, 'goes on')
    await saved(other)
    const anew = open('text', { token: commenter })
    await saved(anew)
    anew.doc.getArray('comments').push(['again'])
    await until(() => writer.doc.getArray('comments').length === 2, 'the other comment')
    expect([shared.opened, guest.events.length, writer.text.toString()]).toEqual([1, 3, 'by the writer'])
  })

  it('[HP4] is denied and stays quiet on an open socket, while another document of the socket goes on', async () => {
    const shared = openSocket(main(), major)
    const good = open('good', { shared })
    const bad = {
      expired: open('expired', { shared, token: token({ exp: seconds() - 10 }) }),
      forged: open('forged', { shared, token: token({}, { key: 'another secret with thirty-two bytes' }) }),
      forbidden: open('forbidden', { shared, token: token({ permissions: ['document:good*'] }) }),
      tenant: openTiptap('', '~acme/x', { shared, token: token() }),
    }
    await saved(good)
    await until(() => Object.values(bad).every(({ events }) => events.length > 0), 'all denials')
    const why = (editor: Tiptap) => editor.events.join('; ')
    expect(why(bad.expired)).toBe('denied auth.expired')
    expect(why(bad.forged)).toBe('denied auth.failed: token: signature')
    expect(why(bad.forbidden)).toMatch(/^denied access\.denied: needs document:forbidden \d:read$/)
    expect(why(bad.tenant)).toBe('denied connection.bad_name: names that begin with ~ are those of tenants')
    bad.forged.text.insert(0, 'nobody reads this')
    good.text.insert(0, 'still there')
    await saved(good)
    expect(shared.opened).toBe(1)
    expect(bad.forged.events).toHaveLength(1)
    expect(bad.forged.provider.hasUnsyncedChanges).toBe(true)
    // Another token on the same socket, and what was written meanwhile arrives.
    Object.assign(bad.forged.provider.configuration, { token: token() })
    await bad.forged.provider.sendToken()
    await saved(bad.forged)
    const reader = open('forged')
    await until(() => reader.text.toString() === 'nobody reads this', 'the text')
  })

  it('[HP5] is asked for the next token before the old one runs out, and goes on with what that allows', async () => {
    const tokens = [token({ exp: seconds() + 4 }), token({ permissions: ['document:*:read'] })]
    const editor = open('refreshed', { token: () => tokens.shift() ?? '' })
    await saved(editor)
    await until(() => editor.events.length === 2, 'the second scope')
    expect(editor.events).toEqual(['authenticated read-write', 'authenticated readonly'])
    expect(editor.shared.opened).toBe(1)
  })

  it('[HP6] whose token runs out is denied, the socket stays and so does the other document', async () => {
    const shared = openSocket(main(), major)
    const [lasting, short] = [open('lasting', { shared }), open('short', { shared, token: token({ exp: seconds() + 2 }) })]
    await Promise.all([saved(lasting), saved(short)])
    await until(() => short.events.includes('denied auth.expired'), 'the denial')
    expect(short.events.filter((event) => event.startsWith('denied'))).toEqual(['denied auth.expired'])
    lasting.text.insert(0, 'on and on')
    await saved(lasting)
    expect(shared.opened).toBe(1)
  })

  it('[HP7] sees the cursors of others, and no longer when they have gone, over both wires', async () => {
    const [a, b] = [open('cursors'), open('cursors')]
    const c = openEditor(`ws://127.0.0.1:${troupe.ports[1]}`, `cursors%20${major}?token=${token()}`)
    await Promise.all([saved(a), saved(b)])
    a.provider.setAwarenessField('user', { name: 'Ada' })
    const name = (states: Map<number, { [key: string]: unknown }> | undefined) =>
      (states?.get(a.doc.clientID)?.user as { name: string } | undefined)?.name
    await until(() => name(b.provider.awareness?.getStates()) === 'Ada' && name(c.provider.awareness.getStates()) === 'Ada', 'Ada')
    a.close()
    await until(() => !b.provider.awareness?.getStates().has(a.doc.clientID), 'her leaving')
    await until(() => !c.provider.awareness.getStates().has(a.doc.clientID), 'her leaving on the other wire')
  })

  it('[HP8] takes and gives large changes', async () => {
    const [a, b] = [open('large'), open('large')]
    await Promise.all([saved(a), saved(b)])
    a.text.insert(0, 'x'.repeat(3_000_000))
    await Promise.all([saved(a), same(a, b)])
    const late = open('large')
    await saved(late)
    expect(late.text.length).toBe(3_000_000)
  })

  it('[HP9] leaves a document and opens it again on the same socket', async () => {
    const shared = openSocket(main(), major)
    const stays = open('stays', { shared })
    const first = open('left', { shared })
    await Promise.all([saved(stays), saved(first)])
    first.text.insert(0, 'written')
    await saved(first)
    first.close()
    const second = open('left', { shared })
    await saved(second)
    expect(second.text.toString()).toBe('written')
    expect(shared.opened).toBe(1)
  })

  it('[HP10] edited offline is saved, whatever it has written', async () => {
    const shared = openSocket(main(), major)
    const a = open('offline', { shared })
    await saved(a)
    shared.socket.disconnect()
    await until(() => shared.socket.status === 'disconnected', 'the end of the connection')
    for (let i = 0; i < 500; i++) a.text.insert(a.text.length, `${i} `)
    await shared.socket.connect()
    await saved(a)
    const reader = open('offline')
    await saved(reader)
    expect(reader.text.toString()).toBe(a.text.toString())
  })
})

describe('a HocuspocusProvider 4', () => {
  it('[HP11] opens one document twice on a socket, each session for itself', async () => {
    const shared = openSocket(main())
    const options = { shared, sessionAwareness: true, token: token() }
    const [a, b] = [
      openTiptap('', 'sessions', options),
      openTiptap('', 'sessions', { ...options, token: token({ permissions: ['document:*:read'] }) }),
    ]
    await Promise.all([saved(a), saved(b)])
    expect([a.events, b.events]).toEqual([['authenticated read-write'], ['authenticated readonly']])
    a.text.insert(0, 'to the other session')
    await same(a, b)
    a.close()
    const c = openTiptap('', 'sessions', options)
    await saved(c)
    expect(shared.opened).toBe(1)
  })

  it('[HP12] that joins its changes gets one receipt for what it sends at once', async () => {
    const a = openTiptap(main(), 'joined', { flushDelay: 20, token: token() })
    await saved(a)
    for (let i = 0; i < 50; i++) a.text.insert(0, '.')
    expect(a.provider.unsyncedChanges).toBe(1)
    await saved(a)
  })

  it('[HP13] takes the credentials of the URL when it has no token, and a server without accounts looks at none', async () => {
    const a = openTiptap(`${main()}?token=${token({ permissions: ['document:*:read'] })}`, 'by URL')
    await saved(a)
    expect(a.events).toEqual(['authenticated readonly'])
    const b = openTiptap(`ws://127.0.0.1:${troupe.ports[1]}?token=nonsense`, 'by URL')
    await until(() => b.events.length > 0, 'the denial')
    expect(b.events).toEqual(['denied auth.failed: token: malformed'])
    expect(b.shared.opened).toBe(1)
  })
})

describe.each(majors)('a HocuspocusProvider %i that is sent away', (major) => {
  let library: Troupe
  let url: string

  beforeAll(async () => {
    const onStateless = (_client: unknown, _document: string, payload: string) => payload !== 'secret'
    library = await createTroupe({
      storage: { backend: 'memory' },
      port: 0,
      log: { level: 'silent' },
      limits: { keepAliveMs: 200 },
      plugins: [{ name: 'chat', hooks: { onStateless } }],
    })
    url = `ws://127.0.0.1:${library.listeners[0]?.port}/hocuspocus`
  })
  afterAll(() => library.close())

  it('[HP14] comes back by itself when its document comes back, saved, with its cursor, and the other document notices nothing', async () => {
    const shared = openSocket(url, major)
    const [kicked, other] = [openTiptap('', 'kicked', { shared }), openTiptap('', 'other', { shared })]
    const witness = openTiptap(url, 'kicked', { major })
    await Promise.all([saved(kicked), saved(other), saved(witness)])
    kicked.provider.setAwarenessField('user', { name: 'Ada' })
    kicked.text.insert(0, 'before. ')
    await same(kicked, witness)
    library.stop('document/kicked')
    kicked.text.insert(0, 'meanwhile. ')
    witness.text.insert(0, 'elsewhere. ')
    await until(() => kicked.events.length >= 3, 'the return')
    await Promise.all([saved(kicked), saved(witness), same(kicked, witness)])
    kicked.text.insert(0, 'after. ')
    await Promise.all([saved(kicked), same(kicked, witness)])
    expect(witness.text.length).toBe('before. meanwhile. elsewhere. after. '.length)
    expect(kicked.events).toEqual([
      'authenticated read-write',
      'closed document.unavailable: the document was closed',
      'authenticated read-write',
    ])
    expect(other.events).toEqual(['authenticated read-write'])
    expect([shared.opened, witness.shared.opened]).toEqual([1, 1])
  })

  it('[HP15] for good stays out, quiet, and the other document goes on', async () => {
    const shared = openSocket(url, major)
    const [kicked, other] = [openTiptap('', 'out', { shared }), openTiptap('', 'in', { shared })]
    await Promise.all([saved(kicked), saved(other)])
    const connections = library.actors('connection/').map(({ address }) => address)
    for (const address of connections)
      library.tell(address, { type: 'connection.close', code: 'access.denied', detail: 'the owner says so' })
    await until(() => kicked.events.length === 3 && other.events.length === 3, 'both denials')
    expect(kicked.events.slice(1)).toEqual(['closed access.denied: the owner says so', 'denied access.denied: the owner says so'])
    await other.provider.sendToken()
    await saved(other)
    other.text.insert(0, 'back')
    await saved(other)
    expect(kicked.events).toHaveLength(3)
    expect(shared.opened).toBe(1)
  })

  it('[HP16] hears something all the time, also without presence and when there is nothing to say', async () => {
    const quiet = openTiptap(url, 'quiet', { major, awareness: null })
    await saved(quiet)
    let heard = 0
    quiet.shared.socket.on('message', () => heard++)
    await until(() => heard >= 3, 'three signs of life')
    expect(quiet.shared.opened).toBe(1)
    expect(quiet.provider.synced).toBe(true)
  })

  it('[HP17] sends and gets messages of the application', async () => {
    const [a, b] = [openTiptap(url, 'stateless', { major }), openTiptap(url, 'stateless', { major })]
    await Promise.all([saved(a), saved(b)])
    a.provider.sendStateless('secret')
    a.provider.sendStateless('{"hello":"wörld"}')
    await until(() => b.events.some((event) => event.startsWith('stateless')), 'the message')
    expect(b.events.slice(1)).toEqual(['stateless {"hello":"wörld"}'])
    library.tell('document/stateless', { type: 'document.broadcast', payload: 'by the server' })
    await until(() => [a, b].every(({ events }) => events.at(-1) === 'stateless by the server'), 'the message of the server')
  })
})
