/** Many at once: after a deploy, after a lunch break. */
import type { Check, Context } from '../check.ts'
import type { Client } from '../client.ts'
import { assert, waitFor } from '../waiting.ts'
import { sources } from './sources.ts'
import { prose } from './sync.ts'

const joinAtOnce = async (context: Context, count: number, length: number): Promise<readonly Client[]> => {
  const clients = await Promise.all(Array.from({ length: count }, () => context.open()))
  for (const client of clients) client.ask()
  const ms = context.target.patienceMs * 4
  await waitFor(() => clients.every((client) => client.first('step2') !== undefined), `${count} clients synchronised`, ms)
  await waitFor(() => clients.every(({ text }) => text.length === length), `${length} characters at ${count} clients`, ms)
  return clients
}

export const stormChecks: readonly Check[] = [
  {
    id: 'storm-reconnect',
    wire: 'both',
    title: 'A hundred clients that lose the connection and come back at once are all served',
    why: 'y-websocket comes back without jitter: after a restart of the server everybody is there in the same second.',
    source: sources.issue('yjs/y-websocket', 195),
    async run(context) {
      const writer = await context.join()
      writer.text.insert(0, 'hello')
      await context.roundTrip(writer)
      const first = await joinAtOnce(context, 100, 5)
      for (const { socket } of first) socket.destroy()
      const second = await joinAtOnce(context, 100, 5)
      writer.text.insert(5, '!')
      await context.within(() => second.every(({ content }) => content === 'hello!'), 'a change at all of them')
    },
  },
  {
    id: 'storm-join',
    wire: 'both',
    title: 'Fifty newcomers at once all get a document of 1 MB',
    why: 'A meeting begins, and everybody opens the same page.',
    source: sources.issue('zed-industries/zed', 32_418),
    async run(context) {
      const writer = await context.join()
      const size = 2 ** 20
      for (let n = 0; n < 4; n++) writer.text.insert(writer.text.length, prose(size / 4))
      await context.roundTrip(writer)
      await joinAtOnce(context, 50, size)
    },
  },
  {
    id: 'storm-leave',
    wire: 'both',
    title: 'Fifty clients that vanish at once are all gone for those who stay',
    why: 'Otherwise ghosts stay in the list of users.',
    source: sources.issue('yjs/y-websocket', 122),
    async run(context) {
      const stays = await context.join()
      const others = await joinAtOnce(context, 50, 0)
      for (const other of others) other.sayPresence({ user: { name: 'x' } })
      await context.within(() => others.every(({ doc }) => stays.isPresent(doc.clientID)), 'fifty presences')
      for (const { socket } of others) socket.destroy()
      await context.within(() => others.every(({ doc }) => !stays.isPresent(doc.clientID)), 'fifty departures')
      assert(stays.socket.closed === undefined, 'the one who stays was closed')
    },
  },
]
