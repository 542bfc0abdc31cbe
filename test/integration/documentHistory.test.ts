/** The past of documents over HTTP, with stock editors that have them open, on a real disk. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { createTroupe, type Troupe } from '../../src/index.ts'
import { secret, token as sign } from '../auth/tokens.ts'
import { closeEditors, converged, type Editor, openEditor, synced } from '../support/editors.ts'
import { HttpClient } from '../support/http.ts'
import { until } from '../support/wait.ts'

let directory: string
let troupe: Troupe
let http: HttpClient
let port: number

const begin = async () => {
  troupe = await createTroupe({
    data: directory,
    port: 0,
    log: { level: 'silent' },
    auth: { jwtSecret: secret, anonymous: true },
  })
  port = (troupe.listeners[0] as { port: number }).port // it listens
  http = new HttpClient(`http://127.0.0.1:${port}`)
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'troupe-history-'))
  await begin()
})
afterEach(closeEditors)
afterAll(async () => {
  await troupe.close()
  rmSync(directory, { recursive: true })
})

const path = (name: string, rest = '') => `/v1/documents/${encodeURIComponent(name)}${rest}`
const tokenOf = (user: string, permissions: readonly string[] = ['document:*']) => sign({ sub: user, permissions })

const editorOf = async (user: string, name: string): Promise<Editor> => {
  const token = await tokenOf(user)
  const editor = openEditor(`ws://127.0.0.1:${port}/docs`, `${name}?token=${token}`)
  await synced(editor)
  return editor
}

const type = async (editor: Editor, ...words: readonly string[]): Promise<void> => {
  for (const word of words) editor.text.insert(editor.text.length, word)
  await stored(editor)
}

/** What this editor has is on disk. */
const stored = async ({ provider }: Editor): Promise<void> => {
  const name = provider.roomname.split('?')[0] as string
  await until(async () => {
    const { body } = await http.as(await tokenOf('reader')).send('GET', path(name, '/history'))
    const { roots } = await troupe.document(name).view({ offset: body.last })
    return JSON.stringify(roots.text?.content ?? []) === JSON.stringify((provider.doc.getText('text').toDelta() as unknown[]) ?? [])
  }, 'what was typed is stored')
}

const textAt = async (name: string, offset: number): Promise<string> => {
  const headers = { authorization: `Bearer ${await tokenOf('reader')}` }
  return (await fetch(`http://127.0.0.1:${port}${path(name, `/history/${offset}?format=text`)}`, { headers })).text()
}

describe('the history of a document over HTTP', () => {
  it('says who wrote when, shows what was, and what has changed since', async () => {
    const [ann, bob] = [await editorOf('ann', 'minutes'), await editorOf('bob', 'minutes')]
    await type(ann, 'hello ', 'world')
    await converged([ann, bob])
    bob.text.format(0, 5, { bold: true })
    bob.text.insert(11, '!')
    await stored(bob)
    const as = http.as(await tokenOf('reader', ['document:minutes:read']))
    const { body: history } = await as.send('GET', path('minutes', '/history'))
    expect(history.groups.map(({ user }: { user: string }) => user)).toEqual(['bob', 'ann'])
    const [{ from, began_at }] = history.groups
    expect(await textAt('minutes', from - 1)).toBe('hello world')
    expect((await as.send('GET', path('minutes', `/history/${encodeURIComponent(began_at)}`))).status).toBe(200)
    const { body: diff } = await as.send('GET', path('minutes', `/diff?from=${from - 1}`))
    const by = { user: 'bob', via: '', began_at: expect.any(String), ended_at: expect.any(String) }
    expect(diff.roots.text.content).toEqual([
      { format: 'hello', attributes: { bold: { before: null, after: true } }, by },
      { retain: 6 },
      { insert: '!', by },
    ])
  })

  it('keeps named versions, restores one while people edit, and takes back what one of them did', async () => {
    const ann = await editorOf('ann', 'plan')
    const bob = await editorOf('bob', 'plan')
    await type(ann, 'the plan. ')
    const as = http.as(await tokenOf('ann'))
    const made = await as.send('POST', path('plan', '/versions'), { name: 'first', description: 'before bob' })
    expect(made).toMatchObject({ status: 201, body: { id: '1', name: 'first', user: 'ann', description: 'before bob' } })
    await converged([ann, bob])
    bob.text.delete(0, 4)
    await type(bob, 'nonsense ')
    await converged([ann, bob])
    await type(ann, 'more. ')

    const rolled = await as.send('POST', path('plan', '/rollback'), { user: 'bob' })
    expect(rolled).toMatchObject({ status: 200, body: { means: 'undo' } })
    await until(() => [ann, bob].every(({ text }) => text.toString() === 'the plan. more. '))

    ann.text.insert(0, 'Typed at the same time. ')
    expect(await as.send('POST', path('plan', '/restore'), { to: 'version:1' })).toMatchObject({ status: 200 })
    await converged([ann, bob])
    await until(() => !bob.text.toString().includes('more.'))
    expect(bob.text.toString()).toContain('the plan. ')

    expect(await as.send('PATCH', path('plan', '/versions/1'), { name: 'renamed' })).toMatchObject({ body: { name: 'renamed' } })
    const ways = (await as.send('GET', path('plan', '/history'))).body.groups.map(
      ({ user, via }: Record<string, string>) => `${user} ${via}`,
    )
    expect(ways).toContain('ann rollback')
    expect(ways).toContain('ann restore')
  })

  it('survives a restart, and forgets what it is told to forget', async () => {
    const ann = await editorOf('ann', 'diary')
    await type(ann, 'secret ')
    const as = http.as(await tokenOf('ann'))
    await as.send('POST', path('diary', '/versions'), { name: 'kept' })
    ann.text.delete(0, 7)
    await type(ann, ...'what may be known')
    closeEditors()
    await troupe.close()
    await begin()
    const again = http.as(await tokenOf('ann'))
    const { body: history } = await again.send('GET', path('diary', '/history'))
    expect(history).toMatchObject({ first: 0 })
    expect(await textAt('diary', 1)).toBe('secret ')
    expect(await again.send('DELETE', path('diary', '/versions/1'))).toMatchObject({ status: 204 })
    expect(await again.send('POST', path('diary', '/prune'), { before: history.last })).toMatchObject({
      status: 200,
      body: { first: history.last },
    })
    expect(await again.send('GET', path('diary', '/history/1'))).toMatchObject({
      status: 410,
      body: { error: { code: 'document.pruned' } },
    })
    expect(await textAt('diary', history.last)).toBe('what may be known')
  })

  it('gives a view as an update that an editor can open', async () => {
    const ann = await editorOf('ann', 'sketch')
    await type(ann, 'one ', 'two ')
    const response = await fetch(`http://127.0.0.1:${port}${path('sketch', '/history/1?format=update')}`, {
      headers: { authorization: `Bearer ${await tokenOf('ann')}` },
    })
    expect(response.headers.get('document-offset')).toBe('1')
    const doc = new Y.Doc()
    Y.applyUpdate(doc, new Uint8Array(await response.arrayBuffer()))
    expect(doc.getText('text').toString()).toContain('one')
  })

  it('asks for reading, writing and deleting, as the content does', async () => {
    await type(await editorOf('ann', 'rules'), 'x')
    const reader = http.as(await tokenOf('reader', ['document:rules:read']))
    const writer = http.as(await tokenOf('writer', ['document:rules:write']))
    const nobody = http.as(await tokenOf('nobody', ['document:other:*']))
    for (const rest of ['/history', '/history/0', '/diff?from=0', '/versions']) {
      expect((await reader.send('GET', path('rules', rest))).status).toBe(200)
      expect((await nobody.send('GET', path('rules', rest))).status).toBe(403)
    }
    const writes = [
      ['/versions', { name: 'v' }],
      ['/restore', { to: 0 }],
      ['/rollback', { user: 'ann' }],
    ] as const
    for (const [rest, body] of writes) {
      expect((await reader.send('POST', path('rules', rest), body)).status).toBe(403)
      expect((await writer.send('POST', path('rules', rest), body)).status).toBeLessThan(300)
    }
    expect((await writer.send('POST', path('rules', '/prune'), {})).status).toBe(403)
  })

  it('refuses to show what nests without end, and goes back from it', async () => {
    const as = http.as(await tokenOf('ann'))
    const document = troupe.document('deep')
    await document.transact((doc) => doc.getText('text').insert(0, 'before'))
    const { last } = (await as.send('GET', path('deep', '/history'))).body
    await document.transact((doc) => {
      let map = doc.getMap<unknown>('deep')
      for (let level = 0; level < 4_000; level++) {
        const inner = new Y.Map<unknown>()
        map.set('in', inner)
        map = inner
      }
    })
    const refused = await Promise.all([`/diff?from=${last}`, '/content'].map((rest) => as.send('GET', path('deep', rest))))
    for (const { status, body } of refused) expect([status, body.error?.code ?? body.code]).toEqual([422, 'document.misfit'])
    expect((await as.send('POST', path('deep', '/restore'), { to: last })).body.means).toBe('undo')
    expect((await as.send('GET', path('deep', '/content'))).body).toEqual({ text: 'before', deep: null })
  })

  it('refuses what makes no sense', async () => {
    await type(await editorOf('ann', 'odd'), 'x')
    const as = http.as(await tokenOf('ann'))
    const refusals = [
      ['GET', '/history/never', undefined, 400],
      ['GET', '/history/-1', undefined, 400],
      ['GET', '/history/page%203', undefined, 400],
      ['GET', '/history/99', undefined, 400],
      ['GET', '/history?before=3&after=1', undefined, 400],
      ['GET', '/diff', undefined, 400],
      ['GET', '/diff?from=1&to=0', undefined, 400],
      ['GET', '/history/version:7', undefined, 404],
      ['POST', '/versions', { name: '' }, 400],
      ['POST', '/versions', { name: 'x', at: 'version:7' }, 404],
      ['PATCH', '/versions/7', { name: 'x' }, 404],
      ['DELETE', '/versions/7', undefined, 404],
      ['POST', '/restore', {}, 400],
      ['POST', '/rollback', {}, 400],
    ] as const
    for (const [method, rest, body, status] of refusals)
      expect([rest, (await as.send(method, path('odd', rest), body)).status]).toEqual([rest, status])
    for (const rest of ['/history', '/history/0', '/versions']) expect((await as.send('GET', path('nowhere', rest))).status).toBe(404)
  })
})
