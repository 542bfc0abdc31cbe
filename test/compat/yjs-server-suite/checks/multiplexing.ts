/** Many documents on one socket. */
import type { Check } from '../check.ts'
import { assert, waitFor } from '../waiting.ts'
import { closeMessage } from '../wire.ts'
import { sources } from './sources.ts'

export const multiplexingChecks: readonly Check[] = [
  {
    id: 'mux-two',
    wire: 'hocuspocus',
    title: 'Two documents on one socket stay apart',
    why: 'The provider shares one socket among all documents of a page.',
    source: sources.provider,
    async run(context) {
      const other = context.newName()
      const a = await context.join()
      const b = await context.join({ socket: a.socket, document: other })
      a.text.insert(0, 'a')
      b.text.insert(0, 'b')
      const readers = [await context.join(), await context.join({ document: other })]
      await context.within(() => readers[0]?.content === 'a' && readers[1]?.content === 'b', 'each text in its own document')
      assert(a.content === 'a' && b.content === 'b', 'the documents were mixed')
    },
  },
  {
    id: 'mux-session',
    wire: 'hocuspocus',
    title: 'Two sessions of one document on one socket are each answered at their own address',
    why: 'The provider with `sessionAwareness` finds its messages by the address; others it drops.',
    source: sources.provider,
    async run(context) {
      const a = await context.join({ session: 'one' })
      const b = await context.join({ session: 'two', socket: a.socket })
      a.text.insert(0, 'from one')
      await context.within(() => b.content === 'from one', 'the change at the other session')
      b.text.insert(0, 'and two, ')
      await context.within(() => a.content === 'and two, from one', 'the change back')
      for (const client of [a, b]) await context.within(() => client.statuses(true) >= 2, 'acknowledgements at both addresses')
    },
  },
  {
    id: 'mux-close',
    wire: 'hocuspocus',
    title: 'One document is closed and opened again; the other on the socket goes on',
    why: 'An editor is closed and opened while the rest of the page stays.',
    source: sources.provider,
    async run(context) {
      const other = context.newName()
      const a = await context.join()
      const b = await context.join({ socket: a.socket, document: other })
      a.say(closeMessage())
      b.text.insert(0, 'goes on')
      const reader = await context.join({ document: other })
      await context.within(() => reader.content === 'goes on', 'a change of the other document')
      const again = await context.join({ socket: a.socket })
      again.text.insert(0, 'again')
      const later = await context.join()
      await context.within(() => later.content === 'again', 'a change after it was opened again')
    },
  },
  {
    id: 'mux-presence',
    wire: 'hocuspocus',
    title: 'Closing one document takes presence from that one alone',
    why: 'Otherwise a user vanishes from documents that are still open, or stays in one that is not.',
    source: sources.provider,
    async run(context) {
      const other = context.newName()
      const a = await context.join()
      const b = await context.join({ socket: a.socket, document: other })
      const [watchA, watchB] = [await context.join(), await context.join({ document: other })]
      a.sayPresence({ user: { name: 'Ada' } })
      b.sayPresence({ user: { name: 'Ada' } })
      await context.within(() => watchA.isPresent(a.doc.clientID) && watchB.isPresent(b.doc.clientID), 'the presence in both')
      a.say(closeMessage())
      await context.within(() => !watchA.isPresent(a.doc.clientID), 'the departure from one')
      await context.quiet()
      assert(watchB.isPresent(b.doc.clientID), 'the presence in the other is gone, too')
    },
  },
  {
    id: 'mux-denied',
    wire: 'hocuspocus',
    title: 'A document that is denied does not disturb the other on the socket',
    why: 'A page with ten documents of which one is forbidden must show nine.',
    source: sources.provider,
    needs: 'deniedToken',
    async run(context) {
      const a = await context.join()
      const denied = await context.open({ socket: a.socket, document: context.newName(), token: context.target.deniedToken ?? '' })
      await context.within(() => denied.first('denied'), 'the denial')
      a.text.insert(0, 'goes on')
      const reader = await context.join()
      await context.within(() => reader.content === 'goes on', 'a change of the other document')
      assert(a.socket.closed === undefined, `the socket was closed with ${a.socket.closed?.code}`)
    },
  },
  {
    id: 'mux-kick',
    wire: 'hocuspocus',
    title: 'A client whose document was closed by the server has a way back, or is told that there is none',
    why: 'After CLOSE alone the provider waits for ever on a socket that other documents keep alive: edits go nowhere.',
    source: sources.provider,
    needs: 'kick',
    async run(context) {
      const { kick, patienceMs } = context.target
      const a = await context.join()
      const b = await context.join({ socket: a.socket, document: context.newName() })
      a.text.insert(0, 'not nothing')
      await context.roundTrip(a)
      await context.quiet()
      const before = a.messages.length
      await kick?.(context.document)
      const wayBack = () =>
        a.socket.closed !== undefined || a.first('token.request', before) !== undefined || a.first('denied', before) !== undefined
      await waitFor(wayBack, 'the socket closed, a request for the token, or a denial', patienceMs)
      if (a.socket.closed !== undefined) return
      b.text.insert(0, 'goes on')
      await context.within(() => b.statuses(true) > 0, 'the other document on the socket goes on')
    },
  },
]
