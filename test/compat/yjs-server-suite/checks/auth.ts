/** Who may come in, and what is said to those who may not. */
import * as Y from 'yjs'
import type { Check } from '../check.ts'
import { Client } from '../client.ts'
import { assert, pause } from '../waiting.ts'
import { updateMessage } from '../wire.ts'
import { sources } from './sources.ts'

const advisory = 'https://github.com/advisories/GHSA-xwhh-v746-pj9m'

/** 50 MB in all. */
const floodMessages = 1_000
const floodBytes = 50_000

const someText = (client: number): Uint8Array => {
  const doc = new Y.Doc()
  doc.clientID = client
  doc.getText('flood').insert(0, 'x'.repeat(floodBytes))
  const update = Y.encodeStateAsUpdate(doc)
  doc.destroy()
  return update
}

export const authChecks: readonly Check[] = [
  {
    id: 'auth-at-once',
    wire: 'hocuspocus',
    title: 'Token, step 1 and presence sent at once are all taken',
    why: 'The provider sends them without waiting for an answer.',
    source: sources.provider,
    async run(context) {
      const watcher = await context.join()
      const client = await context.open()
      client.ask()
      client.sayPresence({ user: { name: 'Ada' } })
      client.text.insert(0, 'at once')
      await context.within(
        () => watcher.isPresent(client.doc.clientID) && watcher.content === 'at once',
        'presence and change at another client',
      )
      await context.within(() => client.first('authenticated') && client.first('step2'), 'the answers')
    },
  },
  {
    id: 'auth-late',
    wire: 'hocuspocus',
    title: 'What comes before the token is answered after it, not before and not never',
    why: 'Tokens are fetched while people type; edits made meanwhile are sent at once.',
    source: sources.provider,
    async run(context) {
      const client = new Client(await context.connect(), context.document)
      client.ask()
      client.text.insert(0, 'early')
      await context.quiet()
      assert(client.first('step2') === undefined, 'the document was given away before the token came')
      client.sayToken(context.target.token)
      await context.within(() => client.first('step2'), 'step 2 after the token')
      const reader = await context.join()
      await context.within(() => reader.content === 'early', 'the early change at another client')
    },
  },
  {
    id: 'auth-scope',
    wire: 'hocuspocus',
    title: 'Who is let in is told what it may do',
    why: 'Editors switch to reading by it.',
    source: sources.provider,
    async run(context) {
      const client = await context.open()
      const message = await context.within(() => client.first('authenticated'), '"authenticated"')
      assert(message.scope === 'read-write', `the scope is ${JSON.stringify(message.scope)}`)
    },
  },
  {
    id: 'auth-flood',
    wire: 'hocuspocus',
    title: 'What a client sends before its token is bounded',
    why: 'Otherwise strangers fill the memory of the server.',
    source: advisory,
    async run(context) {
      const client = new Client(await context.connect(), context.document)
      client.answers = false
      for (let n = 1; n <= floodMessages; n++) client.say(updateMessage(someText(n)))
      client.sayToken(context.target.token)
      client.ask()
      // A server that reads no more, or has closed, is bounded; one that took everything has kept everything.
      const asked = await context.within(() => client.first('step1') ?? client.ending, '').catch(() => undefined)
      if (typeof asked !== 'object') return
      const { size } = Y.decodeStateVector(asked.bytes)
      assert(size < floodMessages, `it kept all of ${floodMessages} changes of ${floodBytes} bytes that came before the token`)
    },
  },
  {
    id: 'auth-denied-quiet',
    wire: 'hocuspocus',
    title: 'Who is denied is told so, and the socket stays open',
    why: 'The provider ignores close codes: a socket closed after a denial is opened again every second, for ever.',
    source: sources.issue('ueberdosis/hocuspocus', 566),
    needs: 'deniedToken',
    async run(context) {
      const client = await context.open({ token: context.target.deniedToken ?? '' })
      client.ask()
      await context.within(() => client.first('denied') ?? client.socket.closed, 'the denial')
      await pause(1_500)
      assert(client.socket.closed === undefined, `the socket was closed with ${client.socket.closed?.code}`)
    },
  },
  {
    id: 'auth-denied-nothing',
    wire: 'both',
    title: 'Who is denied gets nothing of the document, and changes nothing in it',
    why: 'A denial that only the client obeys is none.',
    source: sources.provider,
    needs: 'deniedToken',
    async run(context) {
      const owner = await context.join()
      owner.text.insert(0, 'secret')
      owner.sayPresence({ user: { name: 'Ada' } })
      await context.roundTrip(owner)
      const socket = context.socket({ token: context.target.deniedToken ?? '' })
      await context.within(() => socket.isOpen || socket.closed !== undefined, 'an answer')
      const stranger = new Client(socket, context.wire === 'yjs' ? '' : context.document)
      if (context.wire === 'hocuspocus') stranger.sayToken(context.target.deniedToken ?? '')
      stranger.ask()
      stranger.text.insert(0, 'mine')
      await context.within(() => stranger.first('denied') ?? socket.closed, 'the denial')
      await context.quiet()
      assert(!stranger.content.includes('secret'), 'it got the document')
      assert(stranger.present.size === 0, 'it got the presence of others')
      assert(owner.content === 'secret', 'it changed the document')
    },
  },
  {
    id: 'auth-denied-close',
    wire: 'yjs',
    title: 'Who is denied is closed after the upgrade with 4400 to 4499',
    why: 'Browsers see no HTTP status, and every other code makes y-websocket 3.1 try again for ever.',
    source: sources.issue('yjs/y-websocket', 7),
    needs: 'deniedToken',
    async run(context) {
      const socket = context.socket({ token: context.target.deniedToken ?? '' })
      await context.within(() => socket.isOpen || socket.closed !== undefined, 'an answer')
      new Client(socket, '').ask() // as stock clients do
      const closed = await context.within(() => socket.closed, 'the end of the connection')
      assert(socket.refused === undefined, `refused with HTTP ${socket.refused}`)
      assert(closed.code >= 4400 && closed.code < 4500, `closed with ${closed.code}`)
    },
  },
  {
    id: 'auth-readonly',
    wire: 'hocuspocus',
    title: 'Who may only read is told so, sees the document, is seen, and its changes are refused',
    why: 'A viewer whose change is neither taken nor refused believes that it was saved.',
    source: sources.provider,
    needs: 'readonlyToken',
    async run(context) {
      const owner = await context.join()
      owner.text.insert(0, 'read me')
      await context.roundTrip(owner)
      const viewer = await context.join({ token: context.target.readonlyToken ?? '' })
      assert(viewer.first('authenticated')?.scope === 'readonly', `the scope is ${JSON.stringify(viewer.first('authenticated')?.scope)}`)
      await context.within(() => viewer.content === 'read me', 'the document at the viewer')
      await context.within(() => viewer.statuses(true) === 1, 'an acknowledgement of its empty step 2')
      viewer.sayPresence({ user: { name: 'Viewer' } })
      await context.within(() => owner.isPresent(viewer.doc.clientID), 'the presence of the viewer')
      viewer.text.insert(0, 'not ')
      await context.within(() => viewer.statuses(false) === 1, 'the refusal')
      await context.quiet()
      assert(owner.content === 'read me', 'the change was taken')
    },
  },
]
