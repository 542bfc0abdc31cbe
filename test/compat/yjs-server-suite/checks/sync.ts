/** The first exchange, and whether everybody ends with the same document. */
import * as Y from 'yjs'
import type { Check } from '../check.ts'
import { assert, waitFor } from '../waiting.ts'
import { step2, updateMessage } from '../wire.ts'
import { sources } from './sources.ts'

const MiB = 1024 * 1024

/** Text that does not compress and is no run of one letter. */
export const prose = (length: number): string => {
  const words = Array.from({ length: 512 }, (_, n) => ((n * 2_654_435_761) >>> 0).toString(36))
  let text = ''
  for (let n = 0; text.length < length; n++) text += `${words[(n * 31) % 512]} `
  return text.slice(0, length)
}

/** Writes `size` bytes in changes of `step`, and resolves when another client has them. */
const bigDocument = (size: number, isSlow: boolean): Check => ({
  id: `sync-${size / MiB}mb`,
  wire: 'both',
  title: `A document of ${size / MiB} MB is taken, and a newcomer gets all of it`,
  why: 'Imported documents, pictures in base64 and years of edits are this big; people then see an empty page.',
  source: sources.issue('ueberdosis/hocuspocus', 1010),
  isSlow,
  async run(context) {
    const [writer, watcher] = [await context.join(), await context.join()]
    const step = prose(MiB)
    for (let n = 1; n <= size / MiB; n++) {
      writer.text.insert(writer.text.length, step)
      // It is about how much a document holds, not about how much may be under way at a time.
      await context.within(() => watcher.text.length === n * MiB, `${n} MB at somebody who was there`)
    }
    const reader = await context.join()
    const ms = context.target.patienceMs * (1 + size / (4 * MiB))
    await waitFor(() => reader.text.length === size, `${size} characters at a newcomer`, ms)
    assert(reader.content === writer.content, 'the newcomer has another text')
  },
})

export const syncChecks: readonly Check[] = [
  {
    id: 'sync-answer',
    wire: 'both',
    title: 'Step 1 is answered with step 2, and the server sends a step 1 of its own',
    why: 'Clients count as synchronised from step 2 on; without the step 1 of the server their offline edits never leave them.',
    source: sources.protocol,
    async run(context) {
      const client = await context.join()
      await context.within(() => client.first('step1'), 'step 1 of the server')
    },
  },
  {
    id: 'sync-empty',
    wire: 'both',
    title: 'A document that nobody has written is answered with an empty step 2',
    why: 'Editors wait for step 2 before they show the page or fill it with a template.',
    source: sources.yWebsocket,
    async run(context) {
      const client = await context.join()
      assert(
        client.content === '' && client.faults.length === 0,
        `the answer is not an empty update: ${client.faults[0] ?? client.content}`,
      )
    },
  },
  {
    id: 'sync-offline',
    wire: 'both',
    title: 'What a client wrote before it came reaches others',
    why: 'Edits made offline are in the answer to the step 1 of the server and nowhere else.',
    source: sources.protocol,
    async run(context) {
      const doc = new Y.Doc()
      doc.getText('text').insert(0, 'written offline')
      const reader = await context.join()
      await context.join({ doc })
      await context.within(() => reader.content === 'written offline', 'the offline edit at another client')
    },
  },
  {
    id: 'sync-concurrent',
    wire: 'both',
    title: 'Clients that write at the same time end with the same text',
    why: 'It is what the CRDT is for; a server that drops or reorders breaks it.',
    source: sources.protocol,
    async run(context) {
      const clients = await Promise.all(Array.from({ length: 4 }, () => context.join()))
      for (let n = 0; n < 25; n++) for (const [i, { text }] of clients.entries()) text.insert(Math.floor(text.length / (i + 1)), `${i}`)
      await context.within(() => clients.every(({ text }) => text.length === 100), '100 characters everywhere')
      assert(
        clients.every(({ content }) => content === clients[0]?.content),
        'the texts differ',
      )
    },
  },
  {
    id: 'sync-late',
    wire: 'both',
    title: 'A latecomer gets the whole document, deletions too',
    why: 'A server that passes deletions on but does not keep them shows deleted text to whoever opens the document later.',
    source: sources.protocol,
    async run(context) {
      const writer = await context.join()
      const first = await context.join()
      writer.text.insert(0, 'to keep, to delete')
      writer.text.delete(7, 11)
      await context.within(() => first.content === 'to keep', 'the text at somebody who was there')
      const late = await context.join()
      await context.within(() => late.content === 'to keep', 'the text at a latecomer')
    },
  },
  {
    id: 'sync-difference',
    wire: 'both',
    title: 'A client that comes back is sent what it lacks, not everything',
    why: 'Step 1 says what the client has; sending it all again costs mobile users the document for each lost connection.',
    source: sources.protocol,
    async run(context) {
      const [writer, kept] = [await context.join(), await context.join()]
      writer.text.insert(0, prose(200_000))
      await context.within(() => kept.text.length === 200_000, 'the text')
      await context.quiet() // nothing of it is on its way any more
      const back = await context.join({ doc: kept.doc })
      assert(back.largest < 100_000, `was sent ${back.largest} bytes although it had everything`)
    },
  },
  {
    id: 'sync-again',
    wire: 'both',
    title: 'Step 1 is answered each time it is asked on one connection',
    why: 'y-websocket (`resyncInterval`) and Hocuspocus (`forceSyncInterval`) ask again to find what was lost on the way.',
    source: sources.yWebsocket,
    async run(context) {
      const client = await context.join()
      for (let n = 0; n < 3; n++) await context.roundTrip(client)
    },
  },
  {
    id: 'sync-upload-pieces',
    wire: 'both',
    title: 'A client may send what it has in pieces, the last one first',
    why: 'Clients with big offline edits split them; pieces that are held back or lost leave a document with holes.',
    source: sources.issue('yjs/yjs', 550),
    async run(context) {
      const reader = await context.join()
      const doc = new Y.Doc()
      const pieces: Uint8Array[] = []
      doc.on('update', (update: Uint8Array) => pieces.push(update))
      for (let n = 0; n < 10; n++) doc.getText('text').insert(doc.getText('text').length, `piece ${n}. `)
      const writer = await context.join()
      writer.applies = false
      for (const piece of pieces.toReversed()) writer.say(updateMessage(piece))
      writer.answers = false
      writer.say(step2(Y.encodeStateAsUpdate(doc)))
      await context.within(() => reader.content === doc.getText('text').toString(), 'all pieces at another client')
    },
  },
  bigDocument(2 * MiB, false),
  bigDocument(10 * MiB, true),
  {
    id: 'sync-pieces',
    wire: 'both',
    title: 'A big document is sent in pieces, and the client counts as synchronised at the end',
    why: 'Clients close a socket on which no message was completed for 30 s: 4 MB in one message never arrive over 1 Mbit/s.',
    source: sources.issue('yjs/yhub', 55),
    async run(context) {
      const [writer, watcher] = [await context.join(), await context.join()]
      // Each in front of the one before: at the end they would be joined to one value, which cannot be cut.
      const step = prose(MiB / 16)
      for (let n = 0; n < 64; n++) writer.text.insert(0, step)
      await context.within(() => watcher.text.length === 4 * MiB, 'the document at somebody who was there')
      await context.quiet()
      const reader = await context.join()
      assert(reader.text.length === 4 * MiB, `has ${reader.text.length} characters at step 2`)
      assert(reader.largest <= MiB, `one message has ${reader.largest} bytes`)
    },
  },
]
