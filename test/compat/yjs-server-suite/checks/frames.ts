/**
 * Bytes that are no messages. The server may ignore them or close their sender; nobody else who has the document open may
 * notice, and who comes later must be served.
 */
import * as encoding from 'lib0/encoding'
import * as Y from 'yjs'
import type { Check, Context } from '../check.ts'
import type { Client } from '../client.ts'
import { assert } from '../waiting.ts'
import { updateMessage } from '../wire.ts'
import { sources } from './sources.ts'

/** Somebody does harm, on a connection of its own; others write, read and come. */
const survives = async (context: Context, harm: (attacker: Client) => void): Promise<void> => {
  const [writer, reader] = [await context.join(), await context.join()]
  writer.text.insert(0, 'before, ')
  await context.within(() => reader.content === 'before, ', 'the text')
  const attacker = await context.join()
  attacker.sends = false
  harm(attacker)
  await context.roundTrip(attacker).catch(() => {}) // may be cut off for it
  writer.text.insert(8, 'after')
  await context.within(() => reader.content === 'before, after', 'a change of somebody else, afterwards')
  for (const other of [writer, reader]) {
    assert(other.ending === undefined, `somebody else was ${other.ending}`)
    assert(other.faults.length === 0, `somebody else was sent something broken: ${other.faults[0]}`)
  }
  const late = await context.join()
  assert(late.faults.length === 0, `a newcomer was sent something broken: ${late.faults[0]}`)
  assert(late.content === 'before, after', `a newcomer has the text ${JSON.stringify(late.content)}`)
}

/** Deterministic bytes without a meaning. */
const noise = (seed: number, length: number): Uint8Array => {
  let state = seed
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state >>> 24
  })
}

const varUints = (...numbers: readonly number[]): Uint8Array =>
  encoding.encode((encoder) => {
    for (const number of numbers) encoding.writeVarUint(encoder, number)
  })

/** An update of one struct whose content is a list in a list in a list … */
const nested = (depth: number): Uint8Array =>
  encoding.encode((encoder) => {
    // one client, one struct, client 7 from clock 0; content "any" (8) below the root 'deep'; one value; no deletions
    for (const number of [1, 1, 7, 0]) encoding.writeVarUint(encoder, number)
    encoding.writeUint8(encoder, 8)
    encoding.writeVarUint(encoder, 1)
    encoding.writeVarString(encoder, 'deep')
    encoding.writeVarUint(encoder, 1)
    for (let n = 0; n < depth; n++) {
      encoding.writeUint8(encoder, 117) // a list
      encoding.writeVarUint(encoder, n === depth - 1 ? 0 : 1)
    }
    encoding.writeVarUint(encoder, 0)
  })

const harmless = (id: string, title: string, source: string, harm: (attacker: Client) => void): Check => ({
  id,
  wire: 'both',
  title,
  why: 'One broken or hostile client must not disturb the others in the document, nor those who open it later.',
  source,
  run: (context) => survives(context, harm),
})

export const frameChecks: readonly Check[] = [
  harmless('frame-garbage', 'Random bytes harm nobody else', sources.issue('yjs/y-websocket', 82), (attacker) => {
    for (let n = 1; n <= 20; n++) attacker.say(noise(n, n * 7))
    for (let n = 1; n <= 20; n++) attacker.socket.send(noise(n * 31, n * 5))
  }),
  harmless('frame-empty', 'An empty frame harms nobody else', sources.issue('yjs/y-websocket', 95), (attacker) => {
    attacker.socket.send(new Uint8Array(0))
    attacker.say(new Uint8Array(0))
  }),
  harmless('frame-text', 'A text frame harms nobody else', sources.rfc6455, (attacker) => attacker.socket.sendText('hello {')),
  harmless('frame-unknown', 'A message of an unknown type harms nobody else', sources.yWebsocket, (attacker) => {
    attacker.say(varUints(99, 1, 2, 3))
    attacker.say(varUints(0, 9, 1, 1))
  }),
  harmless('frame-truncated', 'Messages that end too early harm nobody else', sources.issue('yjs/y-websocket', 82), (attacker) => {
    const doc = new Y.Doc()
    doc.getText('elsewhere').insert(0, 'cut off')
    const whole = updateMessage(Y.encodeStateAsUpdate(doc))
    for (let length = 1; length < whole.length; length += 3) attacker.say(whole.slice(0, length))
    const update = Y.encodeStateAsUpdate(doc)
    for (let length = 1; length < update.length; length += 3) attacker.say(updateMessage(update.slice(0, length)))
  }),
  harmless(
    'frame-lengths',
    'Lengths and counts beyond the end of the frame harm nobody else',
    sources.issue('yjs/yjs', 687),
    (attacker) => {
      attacker.say(varUints(0, 2, 2 ** 32, 1))
      attacker.say(varUints(1, 2 ** 40, 1))
      for (const count of [2 ** 16, 2 ** 24, 2 ** 31, 2 ** 45]) {
        attacker.say(updateMessage(varUints(count, 1, 1, 0)))
        attacker.say(updateMessage(varUints(1, count, 1, 0)))
      }
    },
  ),
  harmless(
    'frame-bomb',
    'A hundred updates of eight bytes that claim 30 million structs do not stop the server',
    sources.issue('yjs/yjs', 687),
    (attacker) => {
      for (let n = 0; n < 100; n++) attacker.say(updateMessage(varUints(1, 30_000_000, 1, 0)))
    },
  ),
  harmless('frame-v2', 'An update in the second encoding harms nobody else', sources.issue('yjs/yjs', 687), (attacker) => {
    const doc = new Y.Doc()
    doc.getText('elsewhere').insert(0, 'second encoding')
    attacker.say(updateMessage(Y.encodeStateAsUpdateV2(doc)))
  }),
  harmless('frame-deep', 'A value nested 20 000 times harms nobody else', sources.issue('yjs/yjs', 687), (attacker) => {
    attacker.say(updateMessage(nested(20_000)))
  }),
  {
    id: 'frame-several',
    wire: 'both',
    title: 'Two changes in one frame are both taken, or the sender is told; neither is dropped in silence',
    why: 'y-websocket up to 3.1 reads the first message of a frame only; a server that does the same loses the second change.',
    source: sources.yWebsocket,
    async run(context) {
      const [writer, reader] = [await context.join(), await context.join()]
      const changes = ['one ', 'two '].map((text) => {
        const doc = new Y.Doc()
        doc.getText('text').insert(0, text)
        return updateMessage(Y.encodeStateAsUpdate(doc))
      })
      writer.applies = false
      const frame = Uint8Array.from(changes.flatMap((change) => [...change]))
      // A server may let a few mistakes pass before it closes.
      for (let n = 0; n < 10 && reader.text.length < 8 && writer.ending === undefined; n++) {
        writer.say(frame)
        await context.roundTrip(writer).catch(() => {})
        if (n === 0) await context.quiet()
      }
      assert(reader.text.length === 8 || writer.ending !== undefined, `${reader.text.length} of 8 characters arrived, ten times`)
    },
  },
  {
    id: 'frame-one-message',
    wire: 'both',
    title: 'The server puts one message into one frame, and clients can read all of them',
    why: 'y-websocket up to 3.1 and the Hocuspocus provider read the first message of a frame; the rest is lost.',
    source: sources.yWebsocket,
    async run(context) {
      const clients = await Promise.all(Array.from({ length: 4 }, () => context.join()))
      for (let n = 0; n < 20; n++)
        for (const client of clients) {
          client.text.insert(0, 'x')
          client.sayPresence({ user: { name: `${n}` } })
        }
      await context.within(() => clients.every(({ text }) => text.length === 80), 'all changes')
      for (const { socket } of clients) {
        assert(socket.trailing === 0, `${socket.trailing} of ${socket.frames} frames had more than one message`)
        assert(socket.unreadable.length === 0, `a frame could not be read: ${socket.unreadable[0]}`)
      }
    },
  },
]
