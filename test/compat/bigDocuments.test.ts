/** Documents that take longer than a stock editor's patience to arrive: y-websocket reconnects when it has heard nothing for 30 s. */
import { afterEach, describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { DocumentState } from '../../crdt/document.ts'
import { splitUpdate } from '../../crdt/split.ts'
import { closeEditors, openEditor, synced } from '../support/editors.ts'
import { openHeadless } from '../support/headless.ts'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { openSlowLink } from '../support/slowLink.ts'
import { until } from '../support/wait.ts'
import { closeWires, WireClient } from '../support/wire.ts'

const cleanups: (() => unknown)[] = []

afterEach(async () => {
  closeEditors()
  closeWires()
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const words = 'what somebody wrote about a river and its banks in a long and dry summer '.repeat(3)

/** Quotes, headings and paragraphs with marks, in the order in which three wrote them. */
const book = (bytes: number): Uint8Array => {
  const writers = [1, 2, 3].map((id) => {
    const doc = new Y.Doc()
    doc.clientID = id
    return doc
  })
  let written = 0
  for (let round = 0; written < bytes; round++) {
    const doc = writers[round % 3] as Y.Doc
    const before = Y.encodeStateVector(doc)
    doc.transact(() => {
      const root = doc.getXmlFragment('prosemirror')
      for (let i = 0; i < 100; i++) {
        const paragraph = new Y.XmlElement('paragraph')
        const text = new Y.XmlText()
        const quote = i % 4 === 0 ? new Y.XmlElement('blockquote') : undefined
        root.insert((i * 7 + round) % (Math.min(root.length, 300) + 1), [quote ?? paragraph])
        quote?.insert(0, [paragraph])
        paragraph.insert(0, [text])
        text.insert(0, words.slice(0, 50 + ((i * 13) % 150)))
        text.format(i % 20, 9, { strong: {} })
        if (i % 3 === 0) text.insert(5, 'added ', { em: {} })
        if (i % 5 === 0) text.delete(2, 4)
      }
    })
    const news = Y.encodeStateAsUpdate(doc, before)
    written += news.length
    for (const other of writers) if (other !== doc) Y.applyUpdate(other, news)
  }
  return Y.encodeStateAsUpdate(writers[0] as Y.Doc)
}

const metric = async (server: Running, name: string): Promise<number> => {
  const text = await fetch(`${server.http}/metrics`).then((response) => response.text())
  return Number(new RegExp(`^${name} (.+)$`, 'm').exec(text)?.[1] ?? Number.NaN)
}

/** A server whose document `book` is a snapshot: what was loose is told piece by piece anyway. */
const withBook = async (whole: Uint8Array): Promise<Running> => {
  const data = temporaryDirectory()
  const server = await startTroupe(data.path, ['--set', 'documents.structs=1000000'])
  cleanups.push(async () => {
    await server.kill()
    data.remove()
  })
  const writer = await new WireClient(`${server.ws}/docs/book`).synced()
  Y.applyUpdate(writer.doc, whole)
  await until(async () => (await metric(server, 'troupe_document_compactions_total')) > 0, 'the snapshot')
  return server
}

describe('a large document with markup', () => {
  const whole = book(1_500_000)
  const expected = new Y.Doc()
  Y.applyUpdate(expected, whole)

  it('[BGE5] opens over a slow link in messages of a fraction of it, without a reconnection, and nothing of it is repaired', async () => {
    const server = await withBook(whole)
    const link = await openSlowLink(server.port, 750_000)
    cleanups.push(() => link.close())
    const doc = new Y.Doc()
    const own: Uint8Array[] = []
    let [closings, states, largest] = [0, 0, 0]
    const editor = openEditor(`ws://127.0.0.1:${link.port}/docs`, 'book', { doc })
    const shown = openHeadless(doc.getXmlFragment('prosemirror'))
    cleanups.push(() => shown.close())
    editor.provider.on('connection-close', () => closings++)
    doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin === editor.provider) states++
      else own.push(update)
    })
    editor.provider.ws?.addEventListener('message', ({ data }) => {
      largest = Math.max(largest, (data as ArrayBuffer).byteLength)
    })
    await synced(editor)
    await until(() => shown.state().doc.childCount === expected.getXmlFragment('prosemirror').length, 'the document in the editor')
    // 20 MB over 2 Mbit/s take 80 s; y-websocket gives up after 30 s without a message.
    expect(largest).toBeLessThan((whole.length * 30) / 80)
    expect(largest).toBeGreaterThan(100_000)
    expect([closings, states, own.length]).toEqual([0, 1, 0])
    expect(doc.getXmlFragment('prosemirror').toString()).toBe(expected.getXmlFragment('prosemirror').toString())
    // The editor is alive: what is typed into it arrives.
    const other = await new WireClient(`${server.ws}/docs/book`).synced()
    shown.dispatch(shown.state().tr.insertText('typed ', 2))
    await until(() => other.doc.getXmlFragment('prosemirror').toString().includes('typed '), 'what was typed')
    expect(own.length).toBe(1)
  })

  it('[BGE6] changes of others come behind it, and what its reader writes meanwhile is not lost', async () => {
    const server = await withBook(whole)
    const link = await openSlowLink(server.port, 600_000)
    cleanups.push(() => link.close())
    const writer = await new WireClient(`${server.ws}/docs/book`).synced()
    const doc = new Y.Doc()
    const editor = openEditor(`ws://127.0.0.1:${link.port}/docs`, 'book', { doc })
    let sizes: number[] = []
    doc.on('update', (_update: Uint8Array, origin: unknown) => {
      if (origin === editor.provider) sizes.push(doc.getXmlFragment('prosemirror').length)
    })
    let messages = 0
    editor.provider.ws?.addEventListener('message', () => messages++)
    const frame = (text: string): Y.XmlElement => {
      const paragraph = new Y.XmlElement('paragraph')
      paragraph.insert(0, [new Y.XmlText(text)])
      return paragraph
    }
    for (let at = 1; !editor.provider.synced; at++) {
      const seen = messages
      await until(() => messages > seen || editor.provider.synced, 'the next piece')
      if (editor.provider.synced) break
      writer.doc.getXmlFragment('prosemirror').insert(0, [frame(`theirs ${at}`)])
      doc.getXmlFragment('prosemirror').insert(0, [frame(`mine ${at}`)])
    }
    const all = () => writer.doc.getXmlFragment('prosemirror').toString()
    await until(() => all() === doc.getXmlFragment('prosemirror').toString() && all().includes('mine 2'), 'one document')
    expect(all()).toContain('theirs 2')
    // Of the book it saw nothing or all.
    const most = expected.getXmlFragment('prosemirror').length
    sizes = sizes.filter((size) => size > 100 && size < most)
    expect(sizes).toEqual([])
  })

  it('[BGE5] which pieces that can be seen would not do: the editor deletes what is not complete yet', () => {
    const state = DocumentState.load(whole, [])
    if (!(state instanceof DocumentState)) throw new Error(state.code)
    const repairs = (pieces: readonly Uint8Array[]): number => {
      const doc = new Y.Doc()
      const shown = openHeadless(doc.getXmlFragment('prosemirror'))
      let count = 0
      doc.on('update', (_update: Uint8Array, origin: unknown) => {
        if (origin !== 'server') count++
      })
      for (const piece of pieces) Y.applyUpdate(doc, piece, 'server')
      shown.close()
      return count
    }
    const answer = state.answer()
    if (!answer.ok) throw new Error(answer.code)
    expect(repairs(answer.updates)).toBe(0)
    const pieces = splitUpdate(whole, 50_000)
    expect(pieces.length).toBeGreaterThan(20)
    expect(repairs(pieces)).toBeGreaterThan(0)
  })
})
