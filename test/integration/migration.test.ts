/** The programs on the pages for newcomers run as they stand there: moving from other servers, own tokens, a mirror of the content. */
import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import * as Y from 'yjs'
import { closeEditors, openEditor, synced } from '../support/editors.ts'
import { startTroupe, temporaryDirectory } from '../support/process.ts'
import { until } from '../support/wait.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

afterEach(closeEditors)

/** The block of code on a page that holds this text. */
const codeOf = (page: string, text: string): string => {
  const blocks = [...readFileSync(join(root, page), 'utf8').matchAll(/```(?:js|ts)\n([\s\S]*?)```/g)].map(([, block = '']) => block)
  const found = blocks.find((block) => block.includes(text))
  if (found === undefined) throw new Error(`${page} has no code with ${text}`)
  return found
}

/** A folder of somebody's, with these packages in it: a link to one that is here, or the text of one that is not. */
const newFolder = (packages: Readonly<Record<string, string>>): string => {
  const { path, remove } = temporaryDirectory()
  onTestFinished(remove)
  mkdirSync(join(path, 'node_modules'))
  writeFileSync(join(path, 'package.json'), '{ "type": "module" }')
  for (const [name, content] of Object.entries(packages)) {
    const folder = join(path, 'node_modules', name)
    if (content.startsWith('/')) symlinkSync(content, folder)
    else {
      mkdirSync(folder)
      writeFileSync(join(folder, 'package.json'), '{ "type": "module", "exports": "./index.js" }')
      writeFileSync(join(folder, 'index.js'), content)
    }
  }
  return path
}

interface Child {
  readonly output: () => string
  readonly exited: Promise<number | null>
}

const run = (
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Child => {
  const child = spawn(process.execPath, [program, ...args], { ...options, env: { ...process.env, ...options.env } })
  onTestFinished(() => void child.kill('SIGKILL'))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk))
  return { output: () => output, exited: new Promise((resolve) => child.on('exit', resolve)) }
}

const start = async (...args: string[]) => {
  const data = temporaryDirectory()
  const troupe = await startTroupe(data.path, args)
  onTestFinished(async () => {
    await troupe.kill()
    data.remove()
  })
  return troupe
}

const withText = (text: string): Y.Doc => {
  const doc = new Y.Doc()
  doc.getText('text').insert(0, text)
  return doc
}
const encoded = (doc: Y.Doc): string => JSON.stringify([...Y.encodeStateAsUpdate(doc)])

describe('docs/migration.md', () => {
  it('the script moves the documents of LevelDB and SQLite, once if it runs twice; who has an old copy doubles nothing', async () => {
    const notes = withText('kept for years')
    const folder = newFolder({
      yjs: join(root, 'node_modules/yjs'),
      'y-leveldb': `import * as Y from 'yjs'
        export class LeveldbPersistence {
          getAllDocNames = async () => ['my%20notes', 'b']
          getYDoc = async (name) => { const doc = new Y.Doc(); if (name !== 'b') Y.applyUpdate(doc, new Uint8Array(${encoded(notes)})); return doc }
        }`,
      'better-sqlite3': `export default class {
          prepare = () => ({ iterate: () => [{ name: 'a/ü', data: Buffer.from(${encoded(withText('from a table'))}) }, { name: '~', data: Buffer.from([0, 0]) }] })
        }`,
    })
    writeFileSync(join(folder, 'move.mjs'), codeOf('docs/migration.md', 'const sources'))
    const { http, ws } = await start()
    const move = async (kind: string) => {
      const { exited, output } = run('move.mjs', [kind, './store', http], { cwd: folder })
      return [await exited, output()] as const
    }
    const [first, [code, output]] = await Promise.all([move('leveldb'), move('sqlite')])
    expect(first).toEqual([0, '2 documents\n'])
    expect([code, output]).toEqual([1, expect.stringContaining('connection.bad_name')])
    expect(output).toContain('1 documents')
    expect(await move('leveldb')).toEqual([0, '2 documents\n'])
    const { documents } = (await (await fetch(`${http}/v1/documents`)).json()) as { documents: { name: string; offset: number }[] }
    expect(documents.map(({ name, offset }) => [name, offset])).toEqual([
      ['a/ü', 1],
      ['my notes', 1],
    ])
    notes.getText('text').insert(0, 'offline: ')
    const editor = openEditor(`${ws}/docs`, 'my notes', { doc: notes })
    await synced(editor)
    const other = openEditor(`${ws}/docs`, 'my notes')
    await until(() => other.text.toString() === 'offline: kept for years', 'the old copy, merged')
  })

  it('the plugin fetches a document from the old database when it is opened for the first time, and never brings back a deleted one', async () => {
    const folder = newFolder({ troupe: root, yjs: join(root, 'node_modules/yjs') })
    const program = `import { createTroupe, definePlugin } from 'troupe'
      let fetched = 0
      const database = { fetch: async (name) => (fetched++, name === 'old' ? new Uint8Array(${encoded(withText('from the database'))}) : undefined) }
      ${codeOf('docs/migration.md', 'fromOldDatabase').replace('plugins: [fromOldDatabase]', "plugins: [fromOldDatabase], port: 0, data: './data', log: { level: 'silent' }")}
      console.log('listening on', troupe.listeners[0].port)
      process.on('SIGTERM', () => (console.log('fetched', fetched), process.exit()))`
    writeFileSync(join(folder, 'server.mjs'), program)
    const server = run('server.mjs', [], { cwd: folder })
    await until(() => server.output().includes('listening on'), 'the server')
    const host = `127.0.0.1:${/listening on (\d+)/.exec(server.output())?.[1]}`
    const open = (name: string) => openEditor(`ws://${host}/docs`, name)
    const editors = [open('old'), open('old'), open('new')]
    for (const editor of editors) await synced(editor)
    expect(editors.map(({ text }) => text.toString())).toEqual(['from the database', 'from the database', ''])
    expect((await fetch(`http://${host}/v1/documents/old`, { method: 'DELETE' })).status).toBe(200)
    expect((await fetch(`http://${host}/v1/documents/old/content`)).status).toBe(410)
  })
})

describe('docs/first-day.md', () => {
  it('the plugin lets in whom the application knows, with its own tokens', async () => {
    const sessions: Readonly<Record<string, object>> = {
      'Bearer opaque-1': { user: 'ann', team: 'acme', expiresAt: Date.now() + 60_000 },
    }
    const application = createServer(({ headers }, response) => {
      const session = sessions[headers.authorization ?? '']
      response.writeHead(session === undefined ? 401 : 200).end(JSON.stringify(session ?? {}))
    })
    await new Promise<void>((resolve) => application.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void application.close())
    const folder = newFolder({ troupe: root })
    const plugin = join(folder, 'my-app.js')
    const url = `http://127.0.0.1:${(application.address() as AddressInfo).port}/session`
    writeFileSync(plugin, codeOf('docs/first-day.md', "name: 'my-app'").replace('http://127.0.0.1:3000/session', url))
    const { http } = await start('--set', `plugins=${plugin}`, '--set', 'auth.anonymous=false')
    const ask = async (method: string, token: string) => {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
      const answer = await fetch(`${http}/v1/documents/plan`, { method, headers, ...(method === 'PUT' ? { body: '{}' } : {}) })
      return [answer.status, (await answer.json()) as { error?: { code: string; message: string }; created_by?: string }] as const
    }
    expect(await ask('PUT', 'opaque-1')).toMatchObject([201, { created_by: 'ann' }])
    expect(await ask('DELETE', 'opaque-1')).toMatchObject([403, { error: { code: 'access.denied' } }])
    expect(await ask('GET', 'opaque-2')).toMatchObject([
      401,
      { error: { code: 'auth.failed', message: expect.stringContaining('log in again') } },
    ])
  })
})

describe('examples/mirror.ts', () => {
  it('keeps what documents hold now, forgets deleted ones, and believes nobody without the secret', async () => {
    const folder = newFolder({})
    const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
    const data = temporaryDirectory()
    onTestFinished(data.remove)
    const first = await startTroupe(data.path)
    const { port } = first
    const mirror = run(join(root, 'dist/programs/mirror.js'), [join(folder, 'mirror'), first.http, '0'], { env: { SECRET: secret } })
    await until(() => mirror.output().includes('listening on'), 'the mirror')
    await first.kill()
    const url = `http://127.0.0.1:${/listening on (\d+)/.exec(mirror.output())?.[1]}/`
    const receivers = JSON.stringify([{ name: 'mirror', url, secret }])
    const troupe = await startTroupe(data.path, [
      '--port',
      `${port}`,
      '--set',
      `webhooks.receivers=${receivers}`,
      '--set',
      'webhooks.quietMs=100',
    ])
    onTestFinished(() => troupe.kill())
    const ask = (method: string, path: string, body?: object) =>
      fetch(`${troupe.http}/v1/documents/${path}`, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      })
    const kept = () => readdirSync(join(folder, 'mirror'))
    await ask('PATCH', 'notes%2Ftoday/content', [{ op: 'insert', path: '/text', index: 0, text: 'hello' }])
    await until(() => kept().includes('notes%2Ftoday.json'), 'the content')
    await until(() => readFileSync(join(folder, 'mirror', 'notes%2Ftoday.json'), 'utf8') === '{"text":"hello"}', 'all of it')
    await ask('POST', 'notes%2Ftoday/rename', { to: 'b' })
    await until(() => kept().join() === 'b.json', 'the new name alone')
    await ask('DELETE', 'b')
    await until(() => kept().length === 0, 'nothing')
    const forged = { 'webhook-id': 'x', 'webhook-timestamp': `${Math.floor(Date.now() / 1000)}`, 'webhook-signature': 'v1,AAAA' }
    expect(
      (await fetch(url, { method: 'POST', headers: forged, body: '{"type":"document.changed","data":{"document":"b"}}' })).status,
    ).toBe(401)
  })
})
