/** Documents that are deleted, restored, renamed, copied and too large, with stock editors in them and kill -9 in between. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { closeEditors, type Editor, openEditor, synced } from '../support/editors.ts'
import { closeTiptaps, openTiptap, saved } from '../support/hocuspocus.ts'
import { HttpClient } from '../support/http.ts'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { until } from '../support/wait.ts'
import { closeWires, WireClient } from '../support/wire.ts'
import { SeededRandom } from '../support/world.ts'

const data = temporaryDirectory()
const settings = ['--set', 'documents.maxBytes=20000', '--set', 'documents.refuseBytes=60000']
const running: Running[] = []
let server: Running
let http: HttpClient

const start = async (...more: readonly string[]): Promise<void> => {
  server = await startTroupe(data.path, [...settings, ...more])
  running.push(server)
  http = new HttpClient(server.http)
}

beforeAll(() => start())
afterEach(() => {
  closeEditors()
  closeTiptaps()
  closeWires()
})
afterAll(async () => {
  for (const each of running) await each.kill()
  data.remove()
})

const path = (name: string, rest = '') => `/v1/documents/${encodeURIComponent(name)}${rest}`

const open = async (name: string, doc = new Y.Doc()): Promise<Editor & { readonly closes: { code: number; reason: string }[] }> => {
  const editor = openEditor(`${server.ws}/docs`, name, { doc })
  const closes: { code: number; reason: string }[] = []
  editor.provider.on('connection-close', (event) => {
    if (event !== null) closes.push({ code: event.code, reason: event.reason })
  })
  return { ...editor, closes }
}

/** The text, or why there is none. */
const textNow = async (name: string): Promise<string> => {
  const { provider, text, closes } = await open(name)
  await until(() => provider.synced || closes.some(({ code }) => code >= 4400 && code < 4500), 'an answer')
  provider.destroy()
  return closes.find(({ code }) => code >= 4400 && code < 4500)?.reason ?? text.toString()
}

const atServer = (name: string, text: string): Promise<void> =>
  until(async () => (await textNow(name)) === text, `${JSON.stringify(text)} in ${name}`)

describe('a document', () => {
  it('[DLI1] that is deleted is closed with 4410 for everybody, is not brought back by those who were offline, and can be restored', async () => {
    const [stock, tiptap] = [await open('life/deleted'), openTiptap(`${server.ws}/hocuspocus`, 'life/deleted')]
    stock.text.insert(0, 'hello')
    await until(() => tiptap.text.toString() === 'hello', 'the text at both')
    const offline = new Y.Doc()
    Y.applyUpdate(offline, Y.encodeStateAsUpdate(stock.doc))
    offline.getText('text').insert(5, ', from far away')
    expect(await http.send('DELETE', path('life/deleted'))).toMatchObject({ status: 200 })
    await until(() => stock.closes.length > 0, 'the end of y-websocket')
    expect(stock.closes).toEqual([{ code: 4410, reason: 'document.deleted' }])
    await until(() => tiptap.events.some((event) => event.includes('document.deleted')), 'the end of Hocuspocus')
    const back = await open('life/deleted', offline)
    await until(() => back.closes.length > 0, 'the refusal')
    expect(back.closes[0]?.code).toBe(4410)
    server.signal('SIGKILL')
    await server.exited
    await start()
    expect(await textNow('life/deleted')).toBe('document.deleted')
    expect((await http.get(`/v1/documents?prefix=life/`)).body.documents).toEqual([])
    expect(await http.send('POST', path('life/deleted', '/undelete'))).toMatchObject({ status: 200 })
    expect(await textNow('life/deleted')).toBe('hello')
    const again = await open('life/deleted', offline)
    await synced(again)
    await atServer('life/deleted', 'hello, from far away')
  })

  it('[DLI2] that is renamed tells the new name; who follows loses nothing of what was typed meanwhile', async () => {
    const editor = await open('life/old name')
    editor.text.insert(0, 'hello')
    await atServer('life/old name', 'hello')
    const renaming = http.send('POST', path('life/old name', '/rename'), { to: 'life/new name' })
    for (const word of [' one', ' two', ' three']) editor.text.insert(editor.text.length, word)
    expect(await renaming).toMatchObject({ status: 200, body: { name: 'life/new name' } })
    await until(() => editor.closes.length > 0, 'the new name')
    expect(editor.closes[0]).toEqual({ code: 4410, reason: 'document.renamed: life/new name' })
    const followed = await open('life/new name', editor.doc)
    await synced(followed)
    await atServer('life/new name', 'hello one two three')
    expect(await textNow('life/old name')).toBe('document.renamed: life/new name')
  })

  const rounds = 5
  it(`[DLI3] that is renamed while the server is killed is under exactly one name, with all that was acknowledged, ${rounds} times`, async () => {
    const chance = new SeededRandom(4)
    let name = 'moves/0'
    const writer = new WireClient(`${server.ws}/docs/${name}`)
    await writer.synced()
    await writer.edit('start.')
    let expected = 'start.'
    writer.close()
    for (let round = 1; round <= rounds; round++) {
      const next = `moves/${round}`
      const client = await new WireClient(`${server.ws}/docs/${name}`).synced()
      const word = `${round}.`
      await client.edit(word) // its echo is there: it is on disk
      expected += word
      const asked = http.send('POST', path(name, '/rename'), { to: next }).catch(() => undefined)
      await new Promise((resolve) => setTimeout(resolve, chance.below(6)))
      server.signal('SIGKILL')
      await server.exited
      await asked
      client.close()
      await start()
      const old = await textNow(name)
      const found = old === `document.renamed: ${next}` ? next : name
      expect(await textNow(found)).toBe(expected)
      expect(await http.send('POST', path(name, '/rename'), { to: next })).toMatchObject({ status: 200, body: { name: next } })
      expect(await textNow(next)).toBe(expected)
      name = next
    }
  })

  it('[DLI4] that is full refuses growth on both wires, each in its way, and takes what shrinks it', async () => {
    const first = await open('life/full')
    first.text.insert(0, 'x'.repeat(19_000))
    await until(async () => (await textNow('life/full')).length === 19_000, 'a nearly full document')
    const [large, tiptap] = [await open('life/full'), openTiptap(`${server.ws}/hocuspocus`, 'life/full')]
    await Promise.all([synced(large), saved(tiptap)])
    large.text.insert(0, 'y'.repeat(8_000))
    await until(() => large.closes.length > 0, 'the refusal')
    expect(large.closes[0]).toEqual({ code: 4413, reason: 'document.full: documents.maxBytes 20000' })
    tiptap.text.insert(0, 'z'.repeat(8_000))
    await until(() => !first.text.toString().includes('z') && tiptap.provider.hasUnsyncedChanges, 'unsaved at Hocuspocus')
    first.text.delete(0, 15_000)
    await until(async () => (await textNow('life/full')).length === 12_000, 'a smaller document, and what was refused at Hocuspocus')
    await saved(tiptap)
    expect(first.closes).toEqual([])
    const after = await open('life/full')
    await synced(after)
    after.text.insert(0, 'w'.repeat(4_000))
    await until(async () => (await textNow('life/full')).length === 16_000, 'room again')
  })

  it.each([3, 4] as const)('[DLI4] that is full is made smaller by whoever wrote too much, with Hocuspocus %d', async (major) => {
    const name = `life/refilled ${major}`
    const tiptap = openTiptap(`${server.ws}/hocuspocus`, name, { major })
    tiptap.text.insert(0, 'x'.repeat(19_000))
    await saved(tiptap)
    tiptap.text.insert(0, 'y'.repeat(8_000))
    await until(async () => tiptap.provider.hasUnsyncedChanges && (await textNow(name)).length === 19_000, 'the refusal')
    tiptap.text.delete(4_000, 20_000)
    await saved(tiptap)
    expect(await textNow(name)).toBe(tiptap.text.toString())
    tiptap.text.insert(0, 'on it goes ')
    await saved(tiptap)
    expect(await textNow(name)).toBe(tiptap.text.toString())
  })

  it('[DLI5] that does not come into being by itself is refused with 4404 until it is created', async () => {
    const strict = temporaryDirectory()
    const other = await startTroupe(strict.path, ['--set', 'documents.autoCreate=false'])
    running.push(other)
    const refused = openEditor(`${other.ws}/docs`, 'made')
    const codes: number[] = []
    refused.provider.on('connection-close', (event) => codes.push(event?.code ?? 0))
    await until(() => codes.length > 0, 'the refusal')
    expect(codes[0]).toBe(4404)
    await new HttpClient(other.http).send('PUT', path('made'), { content: { text: 'here' } })
    const editor = openEditor(`${other.ws}/docs`, 'made')
    await synced(editor)
    expect(editor.text.toString()).toBe('here')
    editor.close()
    await other.kill()
    strict.remove()
  })
})
