/** Clients that write all the time, over both wires, and remember what they were promised. */
import * as decoding from 'lib0/decoding'
import type { WebSocket } from 'ws'
import type { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'
import { openEditor } from './editors.ts'
import { openTiptap } from './hocuspocus.ts'
import { WireClient } from './wire.ts'
import type { SeededRandom } from './world.ts'

export interface Writer {
  readonly room: string
  readonly doc: Y.Doc
  connect(): void
  disconnect(): void
  /** What the server has said is on disk, in order. */
  readonly acknowledged: readonly Uint8Array[]
  /** It shows that nothing waits; undefined where the wire cannot tell. */
  isSaved(): boolean | undefined
}

const words = ['a', 'bc', 'déjà', '𝄞𝄞', 'line\n', '漢字', 'x'.repeat(200)]

/** One change as an editor makes it. */
export const edit = (doc: Y.Doc, chance: SeededRandom): void => {
  const text = doc.getText('text')
  const list = doc.getArray('list')
  switch (chance.below(6)) {
    case 0:
      if (text.length > 10) text.delete(chance.below(text.length - 3), 1 + chance.below(3))
      return
    case 1:
      doc.getMap('map').set(`key${chance.below(9)}`, chance.below(1e9))
      return
    case 2:
      list.insert(chance.below(list.length + 1), [chance.below(100), { of: words[chance.below(words.length)] }])
      return
    case 3:
      if (list.length > 2) list.delete(chance.below(list.length), 1)
      return
    default:
      text.insert(chance.below(text.length + 1), words[chance.below(words.length)] ?? '')
  }
}

export const contents = (doc: Y.Doc): string =>
  JSON.stringify([doc.getText('text').toString(), doc.getArray('list').toJSON(), Object.entries(doc.getMap('map').toJSON()).sort()])

/** Does the document lack anything of this update? */
export const lacks = (doc: Y.Doc, update: Uint8Array): boolean => {
  let changes = 0
  const count = () => void changes++
  doc.on('update', count)
  Y.applyUpdate(doc, update)
  doc.off('update', count)
  return changes > 0 || doc.store.pendingStructs !== null || doc.store.pendingDs !== null
}

export const wireWriter = (url: string, room: string): Writer => {
  const client = new WireClient(`${url}/docs/${room}`)
  return {
    room,
    doc: client.doc,
    connect: () => client.connect(),
    disconnect: () => client.disconnect(),
    acknowledged: client.acknowledged,
    isSaved: () => undefined,
  }
}

/** Live updates that came back; those that answer a request are no promise. */
const hearEchoes = (provider: WebsocketProvider, acknowledged: Uint8Array[]): void => {
  provider.on('status', ({ status }: { status: string }) => {
    if (status !== 'connected') return
    let isSynced = false
    ;(provider.ws as unknown as WebSocket).addEventListener('message', ({ data }) => {
      const decoder = decoding.createDecoder(new Uint8Array(data as ArrayBuffer)) // the provider asks for buffers
      if (decoding.readVarUint(decoder) !== 0) return
      const kind = decoding.readVarUint(decoder)
      if (kind === 1) isSynced = true
      if (kind === 2 && isSynced) acknowledged.push(decoding.readVarUint8Array(decoder).slice())
    })
  })
}

/** y-websocket as it comes. Saved is what came back. */
export const stockWriter = (url: string, room: string): Writer => {
  const { doc, provider } = openEditor(`${url}/docs`, room)
  const acknowledged: Uint8Array[] = []
  hearEchoes(provider, acknowledged)
  return {
    room,
    doc,
    connect: () => provider.connect(),
    disconnect: () => provider.disconnect(),
    acknowledged,
    isSaved: () => undefined,
  }
}

/** HocuspocusProvider as it comes. Saved is all that it wrote until `hasUnsyncedChanges` became false. */
export const tiptapWriter = (url: string, room: string): Writer => {
  const { doc, provider, shared } = openTiptap(`${url}/hocuspocus`, room)
  const waiting: Uint8Array[] = []
  const acknowledged: Uint8Array[] = []
  doc.on('update', (update: Uint8Array, _origin: unknown, _doc: Y.Doc, { local }: Y.Transaction) => {
    if (local) waiting.push(update)
  })
  provider.on('unsyncedChanges', ({ number }: { number: number }) => {
    if (number === 0) acknowledged.push(...waiting.splice(0))
  })
  return {
    room,
    doc,
    connect: () => void shared.socket.connect(),
    disconnect: () => void shared.socket.disconnect(),
    acknowledged,
    isSaved: () => provider.isSynced && !provider.hasUnsyncedChanges,
  }
}

/** Some of them write until they are told to stop; each gap between two edits has a length by chance. */
export const write = (writers: readonly Writer[], chance: SeededRandom, atOnce = 4): { readonly edits: number; stop(): void } => {
  let isWriting = true
  const counted = { edits: 0, stop: () => void (isWriting = false) }
  const next = ({ doc }: Writer) => {
    if (!isWriting) return
    for (let left = 1 + chance.below(3); left > 0; left--) edit(doc, chance)
    counted.edits++
    setTimeout(() => next(writers[chance.below(writers.length)] as Writer), chance.below(4))
  }
  for (const writer of writers.slice(0, atOnce)) next(writer)
  return counted
}

/** All that any of them writes, by room. */
export const unionOf = (writers: readonly Writer[]): ReadonlyMap<string, Y.Doc> => {
  const union = new Map<string, Y.Doc>()
  for (const { doc, room } of writers) {
    const all = union.get(room) ?? new Y.Doc()
    union.set(room, all)
    doc.on('update', (update: Uint8Array, _origin: unknown, _doc: Y.Doc, { local }: Y.Transaction) => {
      if (local) Y.applyUpdate(all, update)
    })
  }
  return union
}
