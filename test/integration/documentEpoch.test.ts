/** A history that is gone stays gone: stock editors of both wires against the built server, over resets, deletions and backups. */
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'
import { closeEditors, openEditor, synced } from '../support/editors.ts'
import { closeTiptaps, majors, openTiptap, saved } from '../support/hocuspocus.ts'
import { HttpClient } from '../support/http.ts'
import { Program, type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { until } from '../support/wait.ts'

const data = temporaryDirectory()
const running: Running[] = []
let server: Running
let http: HttpClient

const start = async (directory: string): Promise<Running> => {
  const next = await startTroupe(directory, ['--listen', '0:yjs'])
  running.push(next)
  return next
}

const restart = async (signal: NodeJS.Signals): Promise<void> => {
  server.signal(signal)
  await server.exited
  server = await start(data.path)
  http = new HttpClient(server.http)
}

beforeAll(async () => {
  server = await start(data.path)
  http = new HttpClient(server.http)
})
afterEach(() => {
  closeEditors()
  closeTiptaps()
})
afterAll(async () => {
  for (const each of running) await each.kill()
  data.remove()
})

const path = (name: string, rest = '') => `/v1/documents/${encodeURIComponent(name)}${rest}`
/** Empty as long as nothing is on disk. */
const epochOf = async (name: string): Promise<string> => (await http.get(path(name))).body.epoch ?? ''

/** A y-websocket client whose document may have a past; what its socket was closed with. */
const visit = (name: string, doc = new Y.Doc(), params: Record<string, string> = {}, url = `${server.ws}/docs`) => {
  const closed: { code: number; reason: string }[] = []
  const provider = new WebsocketProvider(url, name, doc, {
    disableBc: true,
    maxBackoffTime: 100,
    params,
    WebSocketPolyfill: WebSocket as never,
  })
  provider.on('connection-close', (event) => {
    if (event !== null) closed.push({ code: event.code, reason: event.reason })
  })
  return { doc, provider, closed, text: doc.getText('text') }
}

const textNow = async (name: string): Promise<string> => {
  const { provider, text } = visit(name)
  await until(() => provider.synced, 'a new client in step')
  const found = text.toString()
  provider.destroy()
  return found
}

/** Writes with one editor of each wire; what they have afterwards, and the documents of two who are offline now. */
const withHistory = async (name: string) => {
  const stock = openEditor(`${server.ws}/docs`, name)
  const tiptap = openTiptap(`${server.ws}/hocuspocus`, name)
  await synced(stock)
  stock.text.insert(0, 'old ')
  await until(() => tiptap.text.toString() === 'old ', 'the first words at the other')
  tiptap.text.insert(4, 'words ')
  await saved(tiptap)
  await until(() => stock.text.toString() === 'old words ', 'the same text, on disk')
  /** As a page that is opened again: what IndexedDB kept, under a new client id. */
  const kept = new Y.Doc()
  Y.applyUpdate(kept, Y.encodeStateAsUpdate(stock.doc))
  kept.getText('text').insert(0, 'written offline, ')
  return { stock, tiptap, kept }
}

const isRefused = async (name: string, doc: Y.Doc, params = {}): Promise<void> => {
  const back = visit(name, doc, params)
  await until(() => back.closed.length > 0, 'the refusal')
  expect(back.closed[0]).toMatchObject({ code: 4409, reason: expect.stringMatching(/^document\.epoch: .*drop the local copy/) })
  expect(back.provider.shouldConnect).toBe(false)
  back.provider.destroy()
}

const endings: Record<string, (name: string) => Promise<unknown>> = {
  'a reset': (name) => http.send('POST', path(name, '/reset'), {}),
  'an import that replaces': async (name) => {
    const other = new Y.Doc()
    other.getText('text').insert(0, 'imported')
    return fetch(`${server.http}${path(name, '/import')}?mode=replace`, {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: Buffer.from(Y.encodeStateAsUpdate(other)),
    })
  },
  'delete and create': async (name) => {
    await http.send('DELETE', path(name))
    await http.send('PUT', path(name), {})
  },
  'two resets and kill -9': async (name) => {
    await http.send('POST', path(name, '/reset'), {})
    await http.send('POST', path(name, '/reset'), {})
    await restart('SIGKILL')
  },
}

describe('after', () => {
  for (const [what, end] of Object.entries(endings)) {
    it(`[DE1] ${what}, editors of both wires that have the old content are refused for good, and nothing is doubled`, async () => {
      const name = `epoch/${what}`
      const { stock, tiptap, kept } = await withHistory(name)
      const closes: number[] = []
      stock.provider.on('connection-close', (event) => closes.push(event?.code ?? 0))
      const before = await epochOf(name)
      await end(name)
      const after = await textNow(name)
      expect(after).not.toContain('old')
      await until(() => !stock.provider.shouldConnect, 'y-websocket giving up')
      expect(closes.at(-1)).toBeGreaterThanOrEqual(4400)
      await until(() => tiptap.events.some((event) => event.includes('document.')), 'a reason at Hocuspocus')
      await isRefused(name, kept)
      await isRefused(name, new Y.Doc(), { epoch: before })

      const fresh = visit(name)
      await until(() => fresh.provider.synced, 'a new client in step')
      fresh.text.insert(fresh.text.length, 'new')
      await until(async () => (await textNow(name)) === `${after}new`, 'the new words')
      const known = visit(name, new Y.Doc(), { epoch: await epochOf(name) })
      await until(() => known.provider.synced, 'a client that knows the epoch')
      for (const { provider } of [fresh, known]) provider.destroy()
    })
  }

  it.each(majors)('[DE2] a reset, HocuspocusProvider %i with the old content is denied with the reason, once', async (major) => {
    const name = `epoch/hocuspocus ${major}`
    const { kept } = await withHistory(name)
    await endings['a reset']?.(name)
    const back = openTiptap(`${server.ws}/hocuspocus`, name, { major, doc: kept })
    await until(() => back.events.some((event) => event.includes('document.epoch')), 'the reason')
    expect(await textNow(name)).toBe('')
    const fresh = openTiptap(`${server.ws}/hocuspocus`, name, { major })
    fresh.text.insert(0, 'new')
    await saved(fresh)
    expect(await textNow(name)).toBe('new')
    expect(back.events.filter((event) => event.startsWith('denied document.epoch'))).toHaveLength(1)
  })

  it('[DE4] are let in on every listener and both wires when they say the epoch that there is, and with what others wrote', async () => {
    const [main, yjs] = server.ports.map((port) => `ws://127.0.0.1:${port}`) as [string, string]
    const first = openEditor(`${main}/docs`, 'said')
    await synced(first)
    first.text.insert(0, 'hello')
    await until(async () => (await epochOf('said')) !== '', 'an epoch')
    const epoch = await epochOf('said')
    const wires = [`${main}/docs`, yjs].map((url) => visit('said', new Y.Doc(), { epoch }, url))
    const tiptaps = [`${main}/hocuspocus`, yjs].map((url) => openTiptap(`${url}?epoch=${epoch}`, 'said'))
    await until(() => [...wires, ...tiptaps].every(({ text }) => text.toString() === 'hello'), 'everybody in step')
    for (const { provider } of wires) provider.destroy()
  })

  it('[DE3] a restore, clients that say nothing give back what the backup lacks, and those that say their epoch are refused', async () => {
    const name = 'epoch/restored'
    const stock = openEditor(`${server.ws}/docs`, name)
    await synced(stock)
    stock.text.insert(0, 'in the backup')
    await until(async () => (await epochOf(name)) !== '', 'the text on disk')
    const before = await epochOf(name)
    const copies = temporaryDirectory()
    const backup = join(copies.path, 'backup')
    expect(await new Program(['backup', backup, '--data', data.path]).exited).toMatchObject({ code: 0 })
    stock.text.insert(13, ', and after it')
    await until(async () => (await textNow(name)) === 'in the backup, and after it', 'more text at the server')
    server.signal('SIGTERM')
    await server.exited
    expect(await new Program(['restore', backup, '--data', data.path, '--force']).exited).toMatchObject({ code: 0 })
    const kept = stock.doc
    stock.provider.destroy()
    server = await start(data.path)
    http = new HttpClient(server.http)
    expect(await textNow(name)).toBe('in the backup')
    expect(await epochOf(name)).toMatch(new RegExp(`^${before}\\..+`))
    await isRefused(name, kept, { epoch: before })
    const back = visit(name, kept)
    await until(async () => (await textNow(name)) === 'in the backup, and after it', 'what the backup lacks')
    back.provider.destroy()
    copies.remove()
  })
})
