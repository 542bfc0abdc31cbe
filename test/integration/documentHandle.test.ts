/** Documents in the hands of a program, and agents: the library with a real port, disk and editors. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { type AgentSession, createTroupe, type Troupe, TroupeError } from '../../src/index.ts'
import { closeEditors, openEditor, synced } from '../support/editors.ts'
import { temporaryDirectory } from '../support/process.ts'
import { until } from '../support/wait.ts'

const data = temporaryDirectory()
let troupe: Troupe
let refuses = (_text: string): boolean => false

const start = () =>
  createTroupe({
    data: data.path,
    port: 0,
    log: { level: 'silent' },
    plugins: [
      {
        name: 'rules',
        hooks: {
          onDocumentChange: ({ doc }) => {
            if (refuses(doc.getText('text').toString())) throw new TroupeError('hook.rejected', 'not this word')
          },
        },
      },
    ],
  })

beforeAll(async () => {
  troupe = await start()
})
afterEach(() => {
  closeEditors()
  refuses = () => false
})
afterAll(async () => {
  await troupe.close()
  data.remove()
})

const url = () => `ws://127.0.0.1:${troupe.listeners[0]?.port}/docs`
const code = (wanted: string) => expect.objectContaining({ code: wanted })

describe('a document of the program', () => {
  it('[DAP1] is changed by a function; an editor sees it, and it is on disk', async () => {
    const editor = openEditor(url(), 'handle/one')
    await synced(editor)
    const document = troupe.document('handle/one')
    const made = await document.transact((doc) => doc.getText('text').insert(0, 'from the program'), { user: 'robot' })
    expect(made).toEqual({ epoch: expect.stringMatching(/.+/), offset: 1, isChanged: true })
    await until(() => editor.text.toString() === 'from the program', 'the change at the editor')
    expect(await document.get('text')).toBe('from the program')
    expect(await document.get()).toEqual({ text: 'from the program' })
    expect((await document.history()).groups).toMatchObject([{ author: { user: 'robot', via: 'server' } }])
  })

  it('[DAP2] is not changed by a function that throws, or that waits', async () => {
    const document = troupe.document('handle/two')
    await document.edit([{ op: 'add', path: '/m/a', value: 1 }])
    const failing = document.transact((doc) => {
      doc.getMap('m').set('a', 2)
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    const waiting = document.transact((async (doc: Y.Doc) => {
      doc.getMap('m').set('a', 3)
    }) as (doc: Y.Doc) => void)
    await expect(waiting).rejects.toEqual(code('command.bad_parameters'))
    refuses = () => true
    await expect(document.transact((doc) => doc.getMap('m').set('a', 4))).rejects.toBeInstanceOf(TroupeError)
    expect(await document.get()).toEqual({ m: { a: 1 } })
  })

  it('[DAP2] takes no number that JSON does not have, for it would be stored as null', async () => {
    const document = troupe.document('handle/numbers')
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, { a: [Number.NEGATIVE_INFINITY] }]) {
      await expect(document.edit([{ op: 'add', path: '/m/a', value }])).rejects.toEqual(code('command.bad_parameters'))
      await expect(document.create({ operations: [{ op: 'add', path: '/m/a', value }] })).rejects.toEqual(code('command.bad_parameters'))
    }
    await expect(document.get()).rejects.toEqual(code('document.unknown'))
  })

  it('[DAP3] is changed by many at once, and nothing is lost; all of it bears one client id', async () => {
    const document = troupe.document('handle/three')
    await document.edit([{ op: 'add', path: '/counts/n', value: 0 }])
    const add = (doc: Y.Doc) => {
      const counts = doc.getMap<number>('counts')
      counts.set('n', (counts.get('n') ?? 0) + 1)
    }
    await Promise.all(Array.from({ length: 50 }, () => document.transact(add)))
    expect(await document.get()).toEqual({ counts: { n: 50 } })
    const { stateVector } = await document.state()
    expect(Y.decodeStateVector(stateVector).size).toBeLessThanOrEqual(2) // the first change of all, and the others
  })

  it('[DAP4] is created, described, copied, renamed, deleted, restored and begun anew', async () => {
    const document = troupe.document('handle/four')
    await expect(document.get()).rejects.toEqual(code('document.unknown'))
    await document.create({ operations: [{ op: 'add', path: '/a', value: { b: [1] } }] }, { user: 'ann' })
    await expect(document.create()).rejects.toEqual(code('document.exists'))
    expect(await document.describe()).toMatchObject({ name: 'handle/four', createdBy: 'ann', connections: 0 })
    await document.copy('handle/four/copy')
    expect(await troupe.document('handle/four/copy').get()).toEqual({ a: { b: [1] } })
    await document.remove()
    await expect(document.get()).rejects.toEqual(code('document.deleted'))
    await document.undelete()
    await document.rename('handle/five')
    await expect(document.get()).rejects.toEqual(code('document.renamed'))
    const renamed = troupe.document('handle/five')
    const { epoch } = await renamed.describe()
    expect((await renamed.reset({ operations: [{ op: 'add', path: '/c', value: { d: 1 } }] })).epoch).not.toBe(epoch)
    expect(await renamed.get()).toEqual({ c: { d: 1 } })
  })

  it('[DAP5] of one tenant is not that of another', async () => {
    await troupe.document('same', { tenant: 'acme' }).edit([{ op: 'add', path: '/m/of', value: 'acme' }])
    await troupe.document('same').edit([{ op: 'add', path: '/m/of', value: 'nobody' }])
    expect(await troupe.document('same', { tenant: 'acme' }).get()).toEqual({ m: { of: 'acme' } })
    for (const name of ['~acme/same', '.', '..']) expect(() => troupe.document(name)).toThrow(code('connection.bad_name'))
  })

  it('[DAP7] is changed once by what bears a key, over a restart of the server, too', async () => {
    const once = async () => {
      const document = troupe.document('handle/keys')
      const made = await document.transact((doc) => doc.getText('text').insert(0, 'once '), { user: 'robot', key: 'a' })
      const edited = await document.edit([{ op: 'insert', path: '/text', index: 0, text: 'edited ' }], { user: 'robot', key: 'b' })
      const version = await document.createVersion('one', { user: 'robot', key: 'c' })
      const restored = await document.restore({ offset: made.offset }, { user: 'robot', key: 'd' })
      const copied = await document.copy('handle/keys copied', { user: 'robot', key: 'e' })
      return { made, edited, id: version.id, restored, copied: copied.epoch }
    }
    const first = await once()
    await troupe.document('handle/keys').transact((doc) => doc.getText('text').insert(0, 'since '))
    expect(await once()).toEqual(first)
    await troupe.close()
    troupe = await start()
    expect(await once()).toEqual(first)
    expect(await troupe.document('handle/keys').get('text')).toBe('since once ')
    const other = troupe.document('handle/keys').edit([{ op: 'remove', path: '/text' }], { user: 'robot', key: 'b' })
    await expect(other).rejects.toEqual(code('document.key_reused'))
  })

  it('[DAP7] has keys that nobody takes by HTTP, and each of them is that of one kind of request', async () => {
    const document = troupe.document('handle/doors')
    const at = `http://127.0.0.1:${troupe.listeners[0]?.port}/v1/documents/handle%2Fdoors/content`
    const body = JSON.stringify([{ op: 'add', path: '/m/stranger', value: 1 }])
    const headers = { 'content-type': 'application/json', 'idempotency-key': 'order' }
    expect((await fetch(at, { method: 'PATCH', headers, body })).status).toBe(200)
    await document.transact((doc) => doc.getMap('m').set('paid', true), { key: 'order' })
    expect(await document.get()).toEqual({ m: { stranger: 1, paid: true } })
    const others = [
      () => document.edit([{ op: 'remove', path: '/m/paid' }], { key: 'order' }),
      () => document.restore({ offset: 1 }, { key: 'order' }),
      () => document.rollback({ of: { user: '' }, key: 'order' }),
    ]
    for (const other of others) await expect(other()).rejects.toEqual(code('document.key_reused'))
    expect(await document.get()).toEqual({ m: { stranger: 1, paid: true } })
  })

  it('[DAP6] has a past: who changed what, versions by name, and the way back', async () => {
    const document = troupe.document('handle/past')
    const write = (user: string, text: string) => document.transact((doc) => doc.getText('text').insert(0, text), { user })
    await write('ada', 'first. ')
    const version = await document.createVersion('draft', { user: 'ada' })
    await document.renameVersion(version.id, { name: 'the draft' })
    expect((await document.versions()).map(({ name }) => name)).toEqual(['the draft'])
    await write('ben', 'second. ')
    await write('ada', 'third. ')
    const { groups } = await document.history({})
    expect(groups.map(({ author }) => author.user)).toEqual(expect.arrayContaining(['ada', 'ben']))
    await document.rollback({ user: 'cleo', of: { user: 'ben' } })
    expect(await document.get('text')).toBe('third. first. ')
    await document.restore({ version: version.id }, { user: 'cleo' })
    expect(await document.get('text')).toBe('first. ')
    await document.deleteVersion(version.id)
    expect(await document.versions()).toEqual([])
  })
})

describe('an agent', () => {
  const opened: AgentSession[] = []
  const open = async (name: string, options: Partial<Parameters<ReturnType<Troupe['document']>['connect']>[0]> = {}) => {
    const session = await troupe.document(name).connect({ user: 'robot', ...options })
    opened.push(session)
    return session
  }
  afterEach(() => {
    for (const session of opened.splice(0)) session.leave()
  })

  it('[DAG1] has the document live, writes into it under its name, and knows when that is saved', async () => {
    const editor = openEditor(url(), 'agent/one')
    await synced(editor)
    editor.text.insert(0, 'Hello')
    const agent = await open('agent/one')
    await until(() => agent.doc.getText('text').toString() === 'Hello', 'what the editor wrote')
    agent.doc.getText('text').insert(5, ' world')
    await agent.saved()
    await until(() => editor.text.toString() === 'Hello world', 'what the agent wrote')
    const { groups } = await troupe.document('agent/one').history()
    expect(JSON.stringify(groups)).toContain('"user":"robot","via":"agent"')
  })

  it('[DAG2] is seen while it is there, and no longer', async () => {
    const editor = openEditor(url(), 'agent/two')
    await synced(editor)
    const agent = await open('agent/two', { presence: { user: { name: 'Robot' } } })
    const seen = () => [...editor.provider.awareness.getStates().values()].some((state) => state.user?.name === 'Robot')
    await until(seen, 'the agent at the editor')
    editor.provider.awareness.setLocalState({ user: { name: 'Ann' } })
    await until(() => [...agent.awareness.getStates().values()].some((state) => state.user?.name === 'Ann'), 'the editor at the agent')
    await until(async () => (await troupe.document('agent/two').participants()).length === 2, 'both of them')
    await agent.close()
    await until(() => !seen(), 'the agent gone')
    expect(await agent.ended).toBe(undefined)
    await expect(agent.saved()).rejects.toBeInstanceOf(TroupeError)
  })

  it('[DAG3] may do what its account may, and nothing else', async () => {
    const account = { user: 'guest', tenant: '', isAnonymous: false, permissions: ['document:agent/three:read'] }
    await troupe.document('agent/three').edit([{ op: 'insert', path: '/text', index: 0, text: 'mine' }])
    const reader = await open('agent/three', { account })
    expect(reader.access).toBe('read')
    expect(reader.doc.getText('text').toString()).toBe('mine')
    reader.doc.getText('text').insert(0, 'not ')
    expect(await reader.ended).toEqual(code('access.denied'))
    expect(await troupe.document('agent/three').get('text')).toBe('mine')
    await expect(open('agent/other', { account })).rejects.toEqual(code('access.denied'))
  })

  it('[DAG4] ends when the application refuses what it wrote', async () => {
    refuses = (text) => text.includes('darn')
    const agent = await open('agent/four')
    agent.doc.getText('text').insert(0, 'darn')
    await expect(agent.saved()).rejects.toBeInstanceOf(TroupeError)
    expect(await agent.ended).toEqual(code('document.invalid'))
  })

  it('[DAG5] comes back when the document starts again, with what it wrote meanwhile', async () => {
    const agent = await open('agent/five', { presence: { user: { name: 'Robot' } } })
    agent.doc.getText('text').insert(0, 'before ')
    await agent.saved()
    troupe.stop('document/agent/five')
    await until(() => !agent.isLive, 'the agent without its document')
    agent.doc.getText('text').insert(7, 'and after')
    await agent.saved()
    expect(await troupe.document('agent/five').get('text')).toBe('before and after')
    await until(async () => (await troupe.document('agent/five').participants()).length === 1, 'its presence')
  })

  it('[DAG8] that is closed while the document is away leaves when what it wrote is on disk', async () => {
    const agent = await open('agent/eight')
    agent.doc.getText('text').insert(0, 'before ')
    await agent.saved()
    troupe.stop('document/agent/eight')
    await until(() => !agent.isLive, 'the agent without its document')
    agent.doc.getText('text').insert(7, 'and after')
    await agent.close()
    expect(await troupe.document('agent/eight').get('text')).toBe('before and after')

    const idle = await open('agent/eight')
    troupe.stop('document/agent/eight')
    await until(() => !idle.isLive, 'the other one without its document')
    const closing = idle.close()
    expect(idle.isLive).toBe(false) // it has nothing to wait for
    await closing
    expect(await idle.ended).toBeUndefined()
  })

  it('[DAG6] may write faster than the document takes it in', async () => {
    const agent = await open('agent/six')
    const text = agent.doc.getText('text')
    for (let at = 0; at < 20_000; at++) text.insert(at, 'x')
    await agent.saved()
    expect((await troupe.document('agent/six').get('text')).length).toBe(20_000)
  })

  it('[DAG7] ends with the server, which does not wait for it', async () => {
    const agent = await open('agent/seven')
    agent.doc.getText('text').insert(0, 'last words')
    await agent.saved()
    await troupe.close()
    expect(await agent.ended).toEqual(code('system.closed'))
    troupe = await start()
    expect(await troupe.document('agent/seven').get('text')).toBe('last words')
  })
})
