/** A change on its way from its author to everybody else. */
import * as Y from 'yjs'
import type { Check } from '../check.ts'
import { assert } from '../waiting.ts'
import { updateMessage } from '../wire.ts'
import { sources } from './sources.ts'

/** Two changes of one author, the second of which builds on the first. */
export const twoChanges = (): readonly [first: Uint8Array, second: Uint8Array, doc: Y.Doc] => {
  const doc = new Y.Doc()
  const made: Uint8Array[] = []
  doc.on('update', (update: Uint8Array) => made.push(update))
  doc.getText('text').insert(0, 'first ')
  doc.getText('text').insert(6, 'second')
  return [made[0] as Uint8Array, made[1] as Uint8Array, doc] // two edits make two updates
}

export const updateChecks: readonly Check[] = [
  {
    id: 'update-relay',
    wire: 'both',
    title: 'A change reaches everybody else who has the document open',
    why: 'It is what people see as live.',
    source: sources.protocol,
    async run(context) {
      const [writer, ...readers] = await Promise.all(Array.from({ length: 4 }, () => context.join()))
      writer?.text.insert(0, 'hello')
      await context.within(() => readers.every(({ content }) => content === 'hello'), 'the change at three others')
    },
  },
  {
    id: 'update-echo',
    wire: 'yjs',
    title: 'A change comes back to its author',
    why: '@y/websocket 4 shows "saved" when the server sends the change back; older clients are kept alive by it.',
    source: sources.yWebsocket,
    async run(context) {
      const writer = await context.join()
      const before = writer.messages.length
      writer.text.insert(0, 'hello')
      await context.within(() => writer.first('update', before), 'the change at its author')
    },
  },
  {
    id: 'update-order',
    wire: 'both',
    title: 'Three hundred changes in one go arrive completely, none before what it builds on',
    why: 'A client shows nothing of a change until all that it builds on is there.',
    source: sources.protocol,
    async run(context) {
      const [writer, reader] = [await context.join(), await context.join()]
      let early = 0
      reader.doc.on('afterTransaction', () => {
        if (reader.doc.store.pendingStructs !== null) early++
      })
      for (let n = 0; n < 300; n++) writer.text.insert(writer.text.length, `${n},`)
      await context.within(() => reader.content === writer.content, 'all changes at another client')
      assert(early === 0, `${early} changes came before what they build on`)
    },
  },
  {
    id: 'update-delete',
    wire: 'both',
    title: 'A change that only deletes is passed on and kept',
    why: 'Its update has no structs; a server that looks at structs alone takes it for empty.',
    source: sources.protocol,
    async run(context) {
      const [writer, reader] = [await context.join(), await context.join()]
      writer.text.insert(0, 'all gone')
      await context.within(() => reader.content === 'all gone', 'the text')
      writer.text.delete(0, 8)
      await context.within(() => reader.content === '', 'the deletion')
      const late = await context.join()
      assert(late.content === '', 'a latecomer sees the deleted text')
    },
  },
  {
    id: 'update-repeat',
    wire: 'both',
    title: 'A change that comes twice counts once, and the connection goes on',
    why: 'Clients repeat what they are not sure of after a reconnect.',
    source: sources.protocol,
    async run(context) {
      const [writer, reader] = [await context.join(), await context.join()]
      const doc = new Y.Doc()
      doc.getText('text').insert(0, 'once')
      const update = Y.encodeStateAsUpdate(doc)
      for (let n = 0; n < 3; n++) writer.say(updateMessage(update))
      writer.text.insert(0, '!')
      await context.within(() => reader.text.length === 5, 'the text')
      assert(reader.content.replace('!', '') === 'once', `the text is ${JSON.stringify(reader.content)}`)
    },
  },
  {
    id: 'update-gap-echo',
    wire: 'yjs',
    title: 'A change that builds on something missing is not sent back as if it were taken',
    why: 'Yjs keeps such a change aside without a word; whoever is told "saved" loses it.',
    source: sources.issue('yjs/yjs', 550),
    async run(context) {
      const [, second] = twoChanges()
      const writer = await context.join()
      writer.answers = false
      writer.say(updateMessage(second))
      await context.roundTrip(writer)
      await context.quiet()
      assert(writer.count('update') === 0, 'it came back')
    },
  },
  {
    id: 'update-gap-asked',
    wire: 'both',
    title: 'When a change builds on something missing, the server asks for it, and both heal',
    why: 'Nobody else will: the client thinks that it sent everything, and everybody else waits for ever.',
    source: sources.issue('yjs/yjs', 550),
    async run(context) {
      const [, second, doc] = twoChanges()
      const reader = await context.join()
      const writer = await context.join({ doc: new Y.Doc() })
      await context.roundTrip(writer)
      await context.within(() => writer.first('step1'), 'the first step 1 of the server')
      await context.quiet() // the answers to it are through
      writer.sends = false
      Y.applyUpdate(writer.doc, Y.encodeStateAsUpdate(doc))
      writer.say(updateMessage(second))
      await context.within(() => reader.content === 'first second', 'what was missing, at another client')
    },
  },
  {
    id: 'update-gap-filled',
    wire: 'both',
    title: 'Changes in the wrong order are complete when the last one is there',
    why: 'Two tabs, or a client that was cut off in between, bring them so.',
    source: sources.protocol,
    async run(context) {
      const [first, second] = twoChanges()
      const [writer, reader] = [await context.join(), await context.join()]
      writer.answers = false
      writer.say(updateMessage(second))
      writer.say(updateMessage(first))
      // A server that keeps nothing that does not fit may ask; the client has both.
      writer.applies = false
      writer.answers = true
      writer.sends = false
      Y.applyUpdate(writer.doc, first)
      Y.applyUpdate(writer.doc, second)
      await context.within(() => reader.content === 'first second', 'both at another client')
    },
  },
]
