/** What a client is told of its changes. */
import * as Y from 'yjs'
import type { Check } from '../check.ts'
import { assert } from '../waiting.ts'
import { step2, updateMessage } from '../wire.ts'
import { sources } from './sources.ts'
import { twoChanges } from './updates.ts'

/** Changes in a row, as of a paste into a program: a server that writes behind its acknowledgements is caught with many of them open. */
const burst = 200

export const ackChecks: readonly Check[] = [
  {
    id: 'ack-each',
    wire: 'hocuspocus',
    title: 'Every change is acknowledged exactly once',
    why: 'The provider counts: with one too few "saving …" never ends, with one too many it says "saved" too early.',
    source: sources.provider,
    async run(context) {
      const client = await context.open()
      client.answers = false
      client.ask()
      await context.synced(client)
      for (let n = 0; n < 20; n++) client.text.insert(0, `${n}`)
      await context.within(() => client.statuses(true) >= 20, '20 acknowledgements')
      await context.quiet()
      assert(client.statuses(true) === 20 && client.statuses(false) === 0, `${client.statuses(true)} acknowledgements for 20 changes`)
    },
  },
  {
    id: 'ack-fresh',
    wire: 'hocuspocus',
    title: 'A client that has nothing to bring is told that everything is saved',
    why: 'The provider starts with one change open, which only the acknowledgement of its step 2 closes.',
    source: sources.provider,
    async run(context) {
      const client = await context.join()
      await context.within(() => client.statuses(true) >= 1, 'an acknowledgement of an empty step 2')
      await context.quiet()
      assert(client.statuses(true) === 1, `${client.statuses(true)} acknowledgements for one step 2`)
    },
  },
  {
    id: 'ack-repeat',
    wire: 'hocuspocus',
    title: 'A change that brings nothing new is acknowledged, too',
    why: 'The provider counts it as open until then.',
    source: sources.provider,
    async run(context) {
      const client = await context.open()
      client.answers = false
      client.ask()
      await context.synced(client)
      const doc = new Y.Doc()
      doc.getText('text').insert(0, 'once')
      const update = Y.encodeStateAsUpdate(doc)
      client.say(updateMessage(update))
      client.say(updateMessage(update))
      client.say(step2(update))
      await context.within(() => client.statuses(true) >= 3, '3 acknowledgements')
      await context.quiet()
      assert(client.statuses(true) === 3, `${client.statuses(true)} acknowledgements for 3 messages`)
    },
  },
  {
    id: 'ack-gap',
    wire: 'hocuspocus',
    title: 'A change that builds on something missing is not acknowledged before that is there',
    why: 'The server cannot show it to anybody nor give it back after a restart, but the user reads "saved".',
    source: sources.issue('yjs/yjs', 550),
    async run(context) {
      const [first, second] = twoChanges()
      const client = await context.open()
      client.answers = false
      client.ask()
      await context.synced(client)
      client.applies = false
      client.say(updateMessage(second))
      await context.roundTrip(client)
      await context.quiet()
      assert(client.statuses(true) === 0, 'it was acknowledged')
      client.say(updateMessage(first))
      client.say(step2(Y.mergeUpdates([first, second])))
      await context.within(() => client.statuses(true) > 0, 'an acknowledgement when everything is there')
    },
  },
  {
    id: 'ack-durable',
    wire: 'both',
    title: 'What was acknowledged is there after the server was killed',
    why: 'People close the tab when they read "saved". On the yjs wire the change that comes back is what clients show as saved.',
    source: sources.issue('jamsocket/y-sweet', 415),
    needs: 'server',
    async run(context) {
      const { server } = context.target
      if (server === undefined) return // the runner skips it
      for (let round = 1; round <= 3; round++) {
        const document = context.newName()
        const client = await context.join({ document })
        await context.quiet() // the acknowledgement of the first step 2, if there is one
        const [before, statuses] = [client.messages.length, client.statuses(true)]
        for (let n = 0; n < burst; n++) client.text.insert(n, '.')
        const isAcknowledged = () =>
          context.wire === 'yjs' ? client.came(before) === client.content : client.statuses(true) >= statuses + burst
        await context.within(isAcknowledged, 'the acknowledgement of all changes')
        await server.kill()
        await server.start()
        const after = await context.join({ document })
        const lost = burst - after.content.length
        assert(lost === 0, `of ${burst} acknowledged changes ${lost} were lost, in round ${round} of 3`)
      }
    },
  },
  {
    id: 'close-killed',
    wire: 'both',
    title: 'After the server was killed and started again, everybody has the same document',
    why: 'Servers are updated while people write; a server that starts with an older state must take from clients what it lost.',
    source: sources.protocol,
    needs: 'server',
    async run(context) {
      const { server } = context.target
      if (server === undefined) return // the runner skips it
      const a = await context.join()
      a.text.insert(0, 'a')
      await context.roundTrip(a)
      await server.kill()
      a.sends = false
      a.text.insert(1, 'b')
      await server.start()
      const [back, other] = [await context.join({ doc: a.doc }), await context.join()]
      await context.within(() => other.content === 'ab' && back.content === 'ab', 'the text of both')
    },
  },
]
