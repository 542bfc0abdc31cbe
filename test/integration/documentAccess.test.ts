/**
 * What clients may do with documents, on both wires, with stock providers and real sockets: comments only, what the application
 * refuses, changes of access in place, and who a presence says it is.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { createTroupe, type DocumentAccess, type Troupe, TroupeError } from '../../src/index.ts'
import { secret, token as sign } from '../auth/tokens.ts'
import { closeEditors, type Editor, openEditor } from '../support/editors.ts'
import { closeTiptaps, openTiptap, saved, type Tiptap } from '../support/hocuspocus.ts'
import { HttpClient } from '../support/http.ts'
import { until } from '../support/wait.ts'

// ── the application ────────────────────────────────────────────────────────────────────────────────────────────────

/** Its database: who may do what, if it says so, by `USER DOCUMENT`. */
const shares = new Map<string, DocumentAccess | 'none'>()
/** Permissions of accounts that changed since they logged in. */
const renewed = new Map<string, readonly string[] | undefined>()
let checks = 0

let troupe: Troupe
let ws: string
let http: HttpClient

const words = (doc: Y.Doc): string => doc.getText('text').toString()

beforeAll(async () => {
  troupe = await createTroupe({
    storage: { backend: 'memory' },
    port: 0,
    log: { level: 'silent' },
    auth: { jwtSecret: secret, anonymous: true },
    documents: { refusalsPerMinute: 6 },
    plugins: [
      {
        name: 'application',
        hooks: {
          onDocumentAccess: async ({ account }, document) => shares.get(`${account.user} ${document}`),
          onDocumentChange: {
            documents: 'polite*',
            check: ({ doc, user }) => {
              checks++
              if (words(doc).includes('damn')) throw new TroupeError('document.invalid', `${user}: mind your language`)
              if (words(doc).includes('crash')) throw new Error('a mistake of the hook')
            },
          },
          onStateless: ({ account, door }, document, payload) => {
            if (payload === 'refuse me') throw new TroupeError('hook.rejected', 'not that')
            return payload.startsWith(`${account.user} ${door} ${document}`)
          },
        },
        auth: {
          name: 'own',
          authenticate: async (credentials) => {
            if (credentials.type !== 'token' || !credentials.token.startsWith('own ')) return undefined
            return { user: credentials.token.slice(4), tenant: '', isAnonymous: false, permissions: ['document:*'] }
          },
          refresh: async (account) => {
            const permissions = renewed.has(account.user) ? renewed.get(account.user) : account.permissions
            return permissions && { ...account, permissions }
          },
        },
      },
    ],
  })
  const { port } = troupe.listeners[0] as { port: number } // it listens
  ws = `ws://127.0.0.1:${port}`
  http = new HttpClient(`http://127.0.0.1:${port}`)
})
afterAll(() => troupe.close())
beforeEach(() => {
  shares.clear()
  renewed.clear()
})
afterEach(() => {
  closeTiptaps()
  closeEditors()
})

// ── both wires as one ──────────────────────────────────────────────────────────────────────────────────────────────

const seconds = () => Math.floor(Date.now() / 1_000)
const token = (sub: string, ...permissions: readonly string[]): string =>
  sign({ sub, iat: seconds() - 60, exp: seconds() + 3_600, permissions: permissions.length === 0 ? ['document:*'] : permissions })

interface Person {
  readonly doc: Y.Doc
  readonly provider: Editor['provider'] | Tiptap['provider']
  /** Sent away for good, with this reason. */
  sentAway(): string | undefined
  /** How often it connected. */
  connections(): number
  /** Of y-websocket undefined: it has no word for it. */
  readonly tiptap: Tiptap | undefined
  close(): void
}

const wires = ['y-websocket', 'Hocuspocus'] as const
type Wire = (typeof wires)[number]

const open = async (wire: Wire, document: string, credentials: string): Promise<Person> => {
  if (wire === 'Hocuspocus') {
    const tiptap = openTiptap(`${ws}/hocuspocus`, document, { token: credentials })
    const { events, provider, doc, shared } = tiptap
    const sentAway = () => events.find((event) => event.startsWith('denied') || event.startsWith('closed'))
    await until(() => provider.synced || sentAway() !== undefined, 'an answer')
    return { doc, provider, tiptap, sentAway, connections: () => shared.opened, close: tiptap.close }
  }
  const editor = openEditor(ws, `${encodeURIComponent(document)}?token=${encodeURIComponent(credentials)}`)
  let connections = 0
  let reason: string | undefined
  editor.provider.on('status', ({ status }: { status: string }) => {
    if (status === 'connected') connections++
  })
  editor.provider.on('connection-close', (event: { code: number; reason: string } | null) => {
    if (event !== null && event.code >= 4_400 && event.code < 4_500) reason = `${event.code} ${event.reason}`
  })
  await until(() => editor.provider.synced || reason !== undefined, 'an answer')
  return {
    doc: editor.doc,
    provider: editor.provider,
    tiptap: undefined,
    sentAway: () => reason,
    connections: () => connections,
    close: editor.close,
  }
}

const leave = async ({ provider, tiptap }: Person): Promise<void> => {
  if (tiptap === undefined) return (provider as Editor['provider']).disconnect()
  tiptap.shared.socket.disconnect()
  await until(() => !tiptap.provider.synced, 'the end of the connection')
}
const come = ({ provider, tiptap }: Person) => void (tiptap ? tiptap.shared.socket : (provider as Editor['provider'])).connect()

/** Changes the document under the client id of somebody else. */
const forge = ({ doc }: Person, client: number, change: (doc: Y.Doc) => void): void => {
  const other = new Y.Doc()
  Y.applyUpdate(other, Y.encodeStateAsUpdate(doc))
  other.clientID = client
  const before = Y.encodeStateVector(other)
  change(other)
  Y.applyUpdate(doc, Y.encodeStateAsUpdate(other, before), 'forged')
}

const comments = ({ doc }: Person): string[] => doc.getArray<string>('comments').toArray()
const sees = (person: Person, text: string) => until(() => words(person.doc) === text, `${JSON.stringify(text)}, not ${words(person.doc)}`)
let count = 0
const fresh = (name: string): string => `${name} ${++count}`

describe.each(wires)('on the wire of %s', (wire) => {
  describe('an account that may comment', () => {
    const begin = async () => {
      const name = fresh('comments')
      const author = await open(wire, name, token('anna'))
      author.doc.getText('text').insert(0, 'the text')
      const guest = await open(wire, name, token('ben', 'document:*:comment'))
      await sees(guest, 'the text')
      return { name, author, guest }
    }

    it('writes comments, which are kept and seen, while others write', async () => {
      const { name, author, guest } = await begin()
      for (let n = 0; n < 20; n++) {
        guest.doc.getArray('comments').push([`comment ${n}`])
        author.doc.getText('text').insert(0, 'more ')
      }
      guest.doc.getArray('comments').delete(0, 1)
      await until(() => comments(author).length === 19 && words(guest.doc) === words(author.doc), 'both to be everywhere')
      const later = await open(wire, name, token('carl', 'document:*:read'))
      await until(() => comments(later).length === 19, 'the comments, kept')
      expect(guest.sentAway()).toBeUndefined()
      if (guest.tiptap) await saved(guest.tiptap)
    })

    it.each([
      ['writes into the text', ({ doc }: Person) => doc.getText('text').insert(0, 'no ')],
      ['deletes some of it', ({ doc }: Person) => doc.getText('text').delete(0, 3)],
      ['formats it', ({ doc }: Person) => doc.getText('text').format(0, 3, { bold: true })],
      [
        'does both in one change',
        ({ doc }: Person) =>
          doc.transact(() => {
            doc.getArray('comments').push(['a comment'])
            doc.getText('text').insert(0, 'no ')
          }),
      ],
    ])('%s: that is refused, and nobody sees it', async (_what, change) => {
      const { name, author, guest } = await begin()
      change(guest)
      await until(
        () => guest.sentAway()?.includes('access.denied: needs document:') === true,
        `the end with the reason, not ${guest.sentAway()}`,
      )
      author.doc.getText('text').insert(8, '!')
      const later = await open(wire, name, token('carl'))
      await sees(later, 'the text!')
      expect(later.doc.getText('text').toDelta()).toEqual([{ insert: 'the text!' }])
      expect(comments(later)).toEqual([])
      if (guest.tiptap) expect(guest.tiptap.provider.hasUnsyncedChanges).toBe(true)
      // All that it goes on to write hangs on the refused change. With another copy it goes on.
      const anew = await open(wire, name, token('ben', 'document:*:comment'))
      anew.doc.getArray('comments').push(['a comment'])
      await until(() => comments(later).length === 1, 'the comment')
      expect([guest.connections(), anew.sentAway()]).toEqual([1, undefined])
    })

    it('comes back with what it has, whatever it has deleted of it', async () => {
      const { name, author, guest } = await begin()
      const threads = guest.doc.getMap<Y.Array<string>>('comments')
      for (const thread of ['one', 'two']) threads.set(thread, Y.Array.from(['a comment']))
      threads.delete('one')
      const seen = () => Object.keys(author.doc.getMap('comments').toJSON())
      await until(() => seen().join() === 'two', 'the other thread')
      await leave(guest)
      threads.set('three', Y.Array.from(['written without a network']))
      come(guest)
      await until(() => seen().length === 2, 'both threads')
      threads.set('four', Y.Array.from(['and after it']))
      await until(() => seen().length === 3, 'all of them')
      expect(guest.sentAway() ?? '').not.toContain('access.denied')
      expect(await troupe.document(name).get('json', 'comments')).toMatchObject({ two: ['a comment'] })
    })

    it.each(['there', 'away'])('cannot take the client id of a writer who is %s', async (where) => {
      const { author, guest } = await begin()
      if (where === 'away') await leave(author)
      author.doc.getText('text').insert(0, 'an hour of work: ')
      forge(guest, author.doc.clientID, (doc) => doc.getArray('comments').push([...'x'.repeat(100)]))
      await until(() => guest.sentAway()?.includes('access.denied: client id') === true, `the end, not ${guest.sentAway()}`)
      if (where === 'away') come(author)
      const later = await open(wire, `comments ${count}`, token('carl'))
      await sees(later, 'an hour of work: the text')
      if (author.tiptap) await saved(author.tiptap)
      expect(author.sentAway() ?? '').not.toContain('access.denied')
      expect(comments(later)).toEqual([])
    })

    it('who was a writer a moment ago goes on under its client id', async () => {
      const { name, guest, author } = await begin()
      shares.set(`ann ${name}`, 'write')
      const ann = await open(wire, name, token('ann'))
      ann.doc.getText('text').insert(0, 'hers, ')
      await sees(author, 'hers, the text')
      shares.set(`ann ${name}`, 'comment')
      expect(await troupe.recheck({ user: 'ann', document: name })).toMatchObject({ changed: 1 })
      ann.doc.getArray('comments').push(['a comment'])
      await until(() => comments(guest).length === 1, 'the comment')
      expect(ann.sentAway()).toBeUndefined()
    })
  })

  describe('a document that is not there', () => {
    const ways: [string, string[]][] = [
      ['commenting', ['document:*:comment']],
      ['writing, where creating is forbidden', ['document:*:write', '!document:*:create']],
    ]
    it.each(ways)('does not come into being by %s', async (_what, permissions) => {
      const name = fresh('absent')
      const early = await open(wire, name, token('ben', ...permissions))
      early.doc.getArray('comments').push(['the first'])
      await until(() => early.sentAway()?.includes('access.denied: ') === true, 'the end')
      await expect(troupe.document(name).describe()).rejects.toMatchObject({ code: 'document.unknown' })
      await troupe.document(name).create()
      const later = await open(wire, name, token('ben', ...permissions))
      later.doc.getArray('comments').push(['the first'])
      await until(
        async () =>
          String(
            await troupe
              .document(name)
              .get('json', 'comments')
              .catch(() => ''),
          ) === 'the first',
        'the comment',
      )
    })

    it('comes into being by writing', async () => {
      const name = fresh('absent')
      const first = await open(wire, name, token('ann', 'document:*:write'))
      first.doc.getText('text').insert(0, 'here')
      await sees(await open(wire, name, token('ben', 'document:*:read')), 'here')
    })
  })

  it('whoever may only read or comment is not sent away for the formatting marks that its editor sweeps up', async () => {
    const name = fresh('swept')
    const apply = (update: Uint8Array) =>
      troupe.ask(`document/${name}`, { type: 'document.edit', update, author: { user: 'program', via: 'agent' } } as never)
    const [one, other] = [new Y.Doc(), new Y.Doc()]
    one.getText('text').insert(0, 'some words')
    const base = Y.encodeStateAsUpdate(one)
    Y.applyUpdate(other, base)
    // Two who did not know of each other made the same words bold: when the second arrives, one mark has no effect.
    const [first, second] = [one, other].map((doc) => {
      doc.getText('text').format(0, 4, { bold: true })
      return Y.encodeStateAsUpdate(doc, Y.encodeStateVectorFromUpdate(base))
    }) as [Uint8Array, Uint8Array]
    await apply(base)
    const reader = await open(wire, name, token('reader', 'document:*:read'))
    const anna = await open(wire, name, token('anna', 'document:*:comment'))
    let swept = 0
    reader.doc.on('update', (_update: Uint8Array, _origin: unknown, _doc: Y.Doc, { local }: Y.Transaction) => {
      if (local) swept++
    })
    await apply(first)
    await until(() => reader.doc.getText('text').toDelta().length === 2, 'the bold words')
    await apply(second)
    await until(() => swept > 0, 'the sweeping up')
    anna.doc.getArray('comments').push(['I swept, too'])
    await until(() => comments(reader).length === 1, 'the comment of a commenter')
    for (const person of [reader, anna]) {
      expect([person.sentAway(), person.connections()]).toEqual([undefined, 1])
      if (person.tiptap) await saved(person.tiptap)
    }
  })

  describe('a change that the application refuses', () => {
    it('is neither kept nor seen by others; its author is told, and converges when it begins anew', async () => {
      const name = fresh('polite')
      const [rude, other] = [await open(wire, name, token('rude')), await open(wire, name, token('other'))]
      const seen: string[] = []
      other.doc.on('update', () => seen.push(words(other.doc)))
      rude.doc.getText('text').insert(0, 'hello')
      await sees(other, 'hello')
      rude.doc.getText('text').insert(5, ' damn')
      await until(() => rude.sentAway()?.endsWith('document.invalid: rude: mind your language') === true, `the end, not ${rude.sentAway()}`)
      if (rude.tiptap) expect(rude.tiptap.provider.hasUnsyncedChanges).toBe(true)
      other.doc.getText('text').insert(5, ' world')
      const anew = await open(wire, name, token('rude'))
      await sees(anew, 'hello world')
      anew.doc.getText('text').insert(0, 'well, ')
      await sees(other, 'well, hello world')
      expect(seen.filter((text) => text.includes('damn'))).toEqual([])
    })

    it('of somebody who goes on and on is refused unseen, and the others go on', async () => {
      const name = fresh('polite')
      const other = await open(wire, name, token('other'))
      const before = checks
      for (let n = 0; n < 10; n++) {
        const rude = await open(wire, name, token('persistent'))
        let isOver = false
        rude.provider.on('connection-close', () => (isOver = true))
        rude.doc.getText('text').insert(0, 'damn')
        await until(() => isOver || rude.sentAway() !== undefined, 'the end')
        rude.close()
      }
      expect(checks - before).toBe(6)
      other.doc.getText('text').insert(0, 'still here')
      await sees(await open(wire, name, token('later')), 'still here')
    })

    it('costs documents nothing that the hook does not name', async () => {
      const before = checks
      const anybody = await open(wire, fresh('rough'), token('anybody'))
      const other = await open(wire, `rough ${count}`, token('other'))
      anybody.doc.getText('text').insert(0, 'damn')
      await sees(other, 'damn')
      expect(checks).toBe(before)
    })
  })

  describe('access that changes while the document is open', () => {
    it('is applied in place: write, read, comment, write again, and nobody connects anew', async () => {
      const name = fresh('shared')
      const [anna, ben] = [await open(wire, name, token('anna')), await open(wire, name, token('ben'))]
      anna.doc.getText('text').insert(0, 'a')
      await sees(ben, 'a')
      const change = async (access: DocumentAccess | 'none', expected: object) => {
        shares.set(`ben ${name}`, access)
        expect(await troupe.recheck({ user: 'ben', document: name })).toEqual({ same: 0, changed: 0, ended: 0, ...expected })
      }
      await change('comment', { changed: 1 })
      ben.doc.getArray('comments').push(['may I?'])
      await until(() => comments(anna).length === 1, 'the comment')
      await change('comment', { same: 1 })
      await change('read', { changed: 1 })
      if (ben.tiptap) await until(() => ben.tiptap?.events.at(-1) === 'authenticated readonly', 'the new scope')
      anna.doc.getText('text').insert(1, 'b')
      await sees(ben, 'ab')
      await change('write', { changed: 1 })
      if (ben.tiptap) await until(() => ben.tiptap?.events.at(-1) === 'authenticated read-write', 'the new scope')
      ben.doc.getText('text').insert(2, 'c')
      await sees(anna, 'abc')
      await change('none', { ended: 1 })
      await until(() => ben.sentAway() !== undefined, 'the end')
      expect(ben.sentAway()).toContain('access.denied')
      expect([anna.connections(), ben.connections()]).toEqual([1, 1])
      expect(anna.sentAway()).toBeUndefined()
    })

    it('is asked of the provider of the account, which may say that the account is no more', async () => {
      const name = fresh('renewed')
      const [gone, less] = [await open(wire, name, 'own gone'), await open(wire, name, 'own less')]
      renewed.set('gone', undefined).set('less', ['document:*:read'])
      expect(await troupe.recheck({ document: name })).toEqual({ same: 0, changed: 1, ended: 1 })
      await until(() => gone.sentAway()?.includes('auth.revoked') === true, 'the end')
      expect(less.sentAway()).toBeUndefined()
      less.doc.getText('text').insert(0, 'no')
      if (less.tiptap) await until(() => less.tiptap?.provider.hasUnsyncedChanges === true, 'unsaved')
      else await until(() => less.sentAway()?.startsWith('4403') === true, 'the close')
    })

    it('may be more or less than the permissions say, from the beginning', async () => {
      const name = fresh('given')
      shares.set(`outsider ${name}`, 'write').set(`insider ${name}`, 'none')
      const outsider = await open(wire, name, token('outsider', 'channel:x'))
      const [insider, stranger] = [await open(wire, name, token('insider')), await open(wire, name, token('stranger', 'channel:x'))]
      expect([insider, stranger].map((person) => person.sentAway()?.includes('access.denied'))).toEqual([true, true])
      outsider.doc.getText('text').insert(0, 'in')
      await sees(await open(wire, name, token('reader', 'document:*:read')), 'in')
    })
  })

  describe('presence', () => {
    const userOf = (viewer: Person, { doc }: Person) => viewer.provider.awareness?.getStates().get(doc.clientID)?.user
    const shows = (viewer: Person, person: Person, user: object) =>
      until(
        () => JSON.stringify(userOf(viewer, person)) === JSON.stringify(user),
        `${JSON.stringify(user)}, not ${JSON.stringify(userOf(viewer, person))}`,
      )

    it('carries the name of the account, whatever the client says; also that of a reader', async () => {
      const name = fresh('presence')
      const watcher = await open(wire, name, token('watcher'))
      const anna = await open(wire, name, token('anna', 'document:*:read'))
      await shows(watcher, anna, { id: 'anna' })
      anna.provider.awareness?.setLocalState({ user: { name: 'Anna', id: 'watcher' }, cursor: 3 })
      await shows(watcher, anna, { name: 'Anna', id: 'anna' })
      anna.provider.awareness?.setLocalState({ user: 'watcher' })
      await shows(watcher, anna, { id: 'anna' })
      expect(anna.sentAway()).toBeUndefined()
    })

    it('of somebody who did not log in claims to be nobody', async () => {
      const name = fresh('presence')
      const watcher = await open(wire, name, token('watcher'))
      const nobody = await open(wire, name, '')
      nobody.provider.awareness?.setLocalState({ user: { name: 'A guest', id: 'anna' } })
      await shows(watcher, nobody, { name: 'A guest' })
    })

    it('comes to rest: nobody sends states back and forth because they were named', async () => {
      const name = fresh('presence')
      const people = [await open(wire, name, token('anna')), await open(wire, name, token('ben')), await open(wire, name, '')]
      const [first] = people as [Person]
      for (const { provider } of people)
        provider.awareness?.setLocalState({ n: 1.5e3, user: { id: 'x', name: 'é' }, 'list ': [1, { a: null }] })
      for (const viewer of people) for (const person of people) await until(() => userOf(viewer, person)?.name === 'é', 'everybody')
      let changes = 0
      for (const { provider } of people) provider.awareness?.on('update', () => changes++)
      const clocks = () => people.map(({ doc }) => first.provider.awareness?.meta.get(doc.clientID)?.clock)
      const before = clocks()
      // Twenty round trips, in which a state that is on its way would come round.
      for (let n = 0; n < 20; n++) {
        first.doc.getText('text').insert(0, 'x')
        await until(() => people.every(({ doc }) => words(doc).length === n + 1), 'a round trip')
      }
      expect(clocks()).toEqual(before)
      expect(changes).toBe(0)
    })
  })
})

describe('a change by the server itself', () => {
  it('goes past the hook, too', async () => {
    const name = fresh('polite')
    const edit = (text: string) => {
      const doc = new Y.Doc()
      doc.getText('text').insert(0, text)
      const update = Y.encodeStateAsUpdate(doc)
      return troupe.ask(`document/${name}`, { type: 'document.edit', update, author: { user: 'program', via: 'agent' } } as never)
    }
    await expect(edit('damn')).rejects.toMatchObject({ code: 'document.invalid', detail: 'program: mind your language' })
    await expect(edit('crash')).rejects.toMatchObject({ code: 'document.invalid', detail: 'application.onDocumentChange failed' })
    await edit('fine')
    await sees(await open('y-websocket', name, token('reader')), 'fine')
  })
})

describe('over HTTP', () => {
  it('an admin has access computed again, and nobody else', async () => {
    const name = fresh('shared')
    const ben = await open('y-websocket', name, token('ben'))
    shares.set(`ben ${name}`, 'none')
    expect((await http.as(token('ben', '*')).send('POST', '/v1/access/recheck', {})).status).toBe(403)
    expect((await http.as(token('root', 'admin')).send('POST', '/v1/access/recheck', { usr: 'ben' })).status).toBe(400)
    const reply = await http.as(token('root', 'admin')).send('POST', '/v1/access/recheck', { user: 'ben', document: name })
    expect([reply.status, reply.body]).toEqual([200, { same: 0, changed: 0, ended: 1 }])
    await until(() => ben.sentAway() === '4403 access.denied: onDocumentAccess', 'the end')
  })
})

describe('a stateless message', () => {
  it('goes to everybody when the hook says so, and to nobody when it does not', async () => {
    const name = fresh('stateless')
    const [anna, ben] = [await open('Hocuspocus', name, token('anna')), await open('Hocuspocus', name, token('ben'))]
    const heard = ({ tiptap }: Person) => tiptap?.events.filter((event) => event.startsWith('stateless'))
    anna.tiptap?.provider.sendStateless('nothing for others')
    anna.tiptap?.provider.sendStateless('refuse me')
    anna.tiptap?.provider.sendStateless(`anna hocuspocus ${name}: hello`)
    await until(() => heard(ben)?.length === 1 && heard(anna)?.length === 1, 'the message')
    expect(heard(ben)).toEqual([`stateless anna hocuspocus ${name}: hello`])
    expect(anna.sentAway()).toBeUndefined()
  })
})
