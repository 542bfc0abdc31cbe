/** Who is here: announced, renewed, gone, and not somebody else. */
import type { Check } from '../check.ts'
import { assert } from '../waiting.ts'
import { presenceMessage } from '../wire.ts'
import { sources } from './sources.ts'

const ada = { user: { name: 'Ada' } }
const nameOf = (state: unknown): string | undefined => (state as { user?: { name?: string } } | null | undefined)?.user?.name

export const awarenessChecks: readonly Check[] = [
  {
    id: 'awareness-relay',
    wire: 'both',
    title: 'Presence reaches everybody else',
    why: 'Cursors and names of others come from it.',
    source: sources.awareness,
    async run(context) {
      const [a, b] = [await context.join(), await context.join()]
      a.sayPresence(ada)
      await context.within(() => nameOf(b.present.get(a.doc.clientID)?.state) === 'Ada', 'the presence at another client')
    },
  },
  {
    id: 'awareness-newcomer',
    wire: 'both',
    title: 'A newcomer is told who is here, without asking',
    why: 'Otherwise others are invisible until they renew their presence, up to 15 s later.',
    source: sources.awareness,
    async run(context) {
      const a = await context.join()
      a.sayPresence(ada)
      await context.roundTrip(a)
      const b = await context.join()
      await context.within(() => nameOf(b.present.get(a.doc.clientID)?.state) === 'Ada', 'the presence at a newcomer')
    },
  },
  {
    id: 'awareness-echo',
    wire: 'both',
    title: 'Presence comes back to its sender',
    why: 'Clients renew it every 15 s and take its return as the sign that the connection lives; else they reconnect after 30 s.',
    source: sources.yWebsocket,
    async run(context) {
      const a = await context.join()
      a.sayPresence(ada)
      await context.within(() => a.isPresent(a.doc.clientID), 'the own presence')
    },
  },
  {
    id: 'awareness-leave',
    wire: 'both',
    title: 'Whoever loses the connection is gone for others',
    why: 'Otherwise a ghost with a cursor stays for 30 s, or for ever.',
    source: sources.issue('yjs/y-websocket', 122),
    async run(context) {
      const [a, b] = [await context.join(), await context.join()]
      a.sayPresence(ada)
      await context.within(() => b.isPresent(a.doc.clientID), 'the presence')
      a.socket.destroy()
      await context.within(() => !b.isPresent(a.doc.clientID), 'the departure')
      const late = await context.join()
      await context.roundTrip(late)
      assert(!late.isPresent(a.doc.clientID), 'a newcomer is shown who has gone')
    },
  },
  {
    id: 'awareness-rejoin',
    wire: 'both',
    title: 'Whoever was gone is seen again at once with the next clock',
    why: 'A server that removes somebody at a clock that the client never had makes others ignore it when it comes back.',
    source: sources.issue('reearth/ygo', 226),
    async run(context) {
      const [a, b] = [await context.join(), await context.join()]
      a.sayPresence(ada)
      await context.within(() => b.isPresent(a.doc.clientID), 'the presence')
      a.socket.destroy()
      await context.within(() => !b.isPresent(a.doc.clientID), 'the departure')
      const back = await context.join({ doc: a.doc })
      back.sayPresence(ada, { clock: a.clock + 1 })
      await context.within(() => b.isPresent(a.doc.clientID), 'the presence again')
    },
  },
  {
    id: 'awareness-null',
    wire: 'both',
    title: 'Whoever says that it goes, with a null state, is gone, and may stay connected',
    why: 'Clients say it when a page is hidden and when they disconnect in order.',
    source: sources.awareness,
    async run(context) {
      const [a, b] = [await context.join(), await context.join()]
      a.sayPresence(ada)
      await context.within(() => b.isPresent(a.doc.clientID), 'the presence')
      a.sayPresence(null)
      await context.within(() => !b.isPresent(a.doc.clientID), 'the departure')
      a.text.insert(0, 'still here')
      await context.within(() => b.content === 'still here', 'a change after it')
    },
  },
  {
    id: 'awareness-null-stranger',
    wire: 'both',
    title: 'A departure of somebody who was never there harms nothing',
    why: 'A client whose presence is off says it when it disconnects.',
    source: sources.yWebsocket,
    async run(context) {
      const [a, b] = [await context.join(), await context.join()]
      a.sayPresence(null)
      a.text.insert(0, 'goes on')
      await context.within(() => b.content === 'goes on', 'a change after it')
    },
  },
  {
    id: 'awareness-large',
    wire: 'both',
    title: 'A presence of 8 KB is passed on whole',
    why: 'Applications put selections and pictures of users there.',
    source: sources.awareness,
    async run(context) {
      const [a, b] = [await context.join(), await context.join()]
      const state = { user: { name: 'Ada' }, selection: 'x'.repeat(8_000) }
      a.sayPresence(state)
      await context.within(() => b.isPresent(a.doc.clientID), 'the presence')
      assert(JSON.stringify(b.present.get(a.doc.clientID)?.state) === JSON.stringify(state), 'it was changed on the way')
    },
  },
  {
    id: 'awareness-huge',
    wire: 'both',
    title: 'A presence of 64 KB is passed on or refused; the document of others goes on',
    why: 'Presence is copied to everybody; one client must not be able to end it for all.',
    source: sources.issue('yjs/yjs', 732),
    async run(context) {
      const [a, b, c] = [await context.join(), await context.join(), await context.join()]
      a.sayPresence({ user: { name: 'x'.repeat(65_536) } })
      c.text.insert(0, 'goes on')
      await context.within(() => b.content === 'goes on', 'a change of somebody else')
      assert(b.socket.closed === undefined, `another client was closed with ${b.socket.closed?.code}`)
    },
  },
  {
    id: 'awareness-spoof',
    wire: 'both',
    title: 'A client cannot speak for the client id of another connection',
    why: 'Otherwise everybody can appear under the name of somebody else, or make them vanish.',
    source: sources.issue('ueberdosis/hocuspocus', 1055),
    async run(context) {
      const [a, b, mallory] = [await context.join(), await context.join(), await context.join()]
      a.sayPresence(ada)
      await context.within(() => b.isPresent(a.doc.clientID), 'the presence')
      mallory.sayPresence({ user: { name: 'Mallory' } }, { client: a.doc.clientID, clock: 50 })
      mallory.sayPresence(null, { client: a.doc.clientID, clock: 51 })
      await context.roundTrip(mallory).catch(() => {}) // may be cut off for it
      await context.quiet()
      assert(nameOf(b.present.get(a.doc.clientID)?.state) === 'Ada', 'the presence of one client was changed by another')
    },
  },
  {
    id: 'awareness-relayed',
    wire: 'both',
    title: 'Whoever passes on what it knows of others does not take them along when it goes',
    why: 'Stock clients send every presence that they learn back to the server.',
    source: sources.issue('reearth/ygo', 73),
    async run(context) {
      const [a, b, parrot] = [await context.join(), await context.join(), await context.join()]
      a.sayPresence(ada)
      await context.within(() => parrot.isPresent(a.doc.clientID) && b.isPresent(a.doc.clientID), 'the presence')
      parrot.sayPresence({ user: { name: 'Polly' } })
      parrot.say(presenceMessage([...parrot.present.values()]))
      await context.roundTrip(parrot)
      await context.within(() => b.isPresent(parrot.doc.clientID), 'the presence of the one who passes on')
      parrot.socket.destroy()
      await context.within(() => !b.isPresent(parrot.doc.clientID), 'its departure')
      await context.quiet()
      assert(b.isPresent(a.doc.clientID), 'somebody who is still connected vanished')
    },
  },
]
