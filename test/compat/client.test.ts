/** The client library against the built server: what it says about saving is true, and it finds a way on when it is refused. */
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type * as Y from 'yjs'
import { type DocumentState, type OpenOptions, openDocument, type Persistence, type SharedDocument } from '../../src/client/index.ts'
import { secret, token as tokenOf } from '../auth/tokens.ts'
import { serve } from '../support/service.ts'
import { until } from '../support/wait.ts'

const open: SharedDocument[] = []
afterEach(async () => {
  for (const shared of open.splice(0)) await shared.close()
})

const opener =
  (http: () => string) =>
  async (name: string, more: Partial<OpenOptions> = {}) => {
    const provider = { WebSocketPolyfill: WebSocket as never, disableBc: true, maxBackoffTime: 100 }
    const shared = await openDocument({ url: http().replace('http', 'ws'), name, provider, ...more })
    open.push(shared)
    return shared
  }
const textOf = ({ doc }: { readonly doc: Y.Doc }) => doc.getText('t').toString()
const write = ({ doc }: SharedDocument, text: string) => doc.getText('t').insert(0, text)

describe('the client library', () => {
  const { server, stop, startAgain } = serve()
  const openAs = opener(() => server().http)

  it('[LIB1] what it calls saved is there after kill -9; what is typed meanwhile is saved later', async () => {
    const shared = await openAs('notes/ä b')
    const states: DocumentState[] = []
    shared.on('state', (state) => states.push(state))
    await shared.saved()
    write(shared, 'first ')
    expect(shared.state).toBe('saving')
    await shared.saved()
    await stop('SIGKILL')
    await until(() => shared.state === 'connecting')
    write(shared, 'second ')
    const isSaved = shared.saved()
    await startAgain()
    await isSaved
    expect(states.filter((state, at) => state !== states[at - 1])).toEqual([
      'saving',
      'saved',
      'saving',
      'saved',
      'connecting',
      'saving',
      'saved',
    ])
    await stop('SIGKILL')
    await startAgain()
    const other = await openAs('notes/ä b')
    await other.saved()
    expect(textOf(other)).toBe('second first ')
  })

  it('[LIB2] it learns which history the document has, and keeps it beside the local copy', async () => {
    const kept = new Map<string, unknown>()
    const persist = (): Persistence => ({
      whenSynced: Promise.resolve(),
      get: async (key) => kept.get(key),
      set: async (key, value) => kept.set(key, value),
      clearData: async () => kept.clear(),
      destroy: () => {},
    })
    const shared = await openAs('ledger', { persist })
    write(shared, 'x')
    await shared.saved()
    await until(() => shared.epoch !== undefined)
    expect(kept.get('troupe.epoch')).toBe(shared.epoch)
    expect(shared.provider.params.epoch).toBe(shared.epoch)
  })

  it('[LIB4] after a reset it goes on with an empty document under the new history, and nothing is doubled', async () => {
    const shared = await openAs('draft')
    write(shared, 'old words ')
    await shared.saved()
    const reset = new Promise<{ doc: Y.Doc; lost: Y.Doc; code: number }>((resolve) => shared.on('reset', resolve))
    const response = await fetch(`${server().http}/v1/documents/draft/reset`, { method: 'POST' })
    expect(response.status).toBe(200)
    const { doc, lost, code } = await reset
    expect(code).toBe(4409)
    expect(lost.getText('t').toString()).toBe('old words ')
    expect(doc).toBe(shared.doc)
    await shared.saved()
    expect(textOf(shared)).toBe('')
    write(shared, 'new words ')
    await shared.saved()
    const other = await openAs('draft')
    await other.saved()
    expect(textOf(other)).toBe('new words ')
  })

  it('[LIB5] what is closed, or given up at a reset, holds no timer', async () => {
    const shared = await openAs('short')
    const over: string[] = []
    const { awareness: first } = shared
    first.on('destroy', () => over.push('first'))
    write(shared, 'x')
    await shared.saved()
    const reset = new Promise((resolve) => shared.on('reset', resolve))
    await fetch(`${server().http}/v1/documents/short/reset`, { method: 'POST' })
    await reset
    expect(over).toEqual(['first'])
    shared.awareness.on('destroy', () => over.push('second'))
    await shared.close()
    expect(over).toEqual(['first', 'second'])
  })
})

describe('the client library, where everybody has to log in', () => {
  const { server, restart } = serve('auth.anonymous=false', `auth.jwtSecret=${secret}`, 'auth.clockSkewMs=0')
  const openAs = opener(() => server().http)

  it('[LIB3] it asks for a token before each connection, and stops when there is none that is good', async () => {
    let asked = 0
    const token = async () => {
      asked++
      return tokenOf({ sub: 'ada' })
    }
    const shared = await openAs('plan', { token })
    await shared.saved()
    await restart('SIGKILL')
    write(shared, 'after ')
    await shared.saved()
    expect(asked).toBeGreaterThan(1)

    const stranger = await openAs('plan', { token: 'no token at all' })
    const closed = await new Promise<{ code: number }>((resolve) => stranger.on('closed', resolve))
    expect([closed.code, stranger.state]).toEqual([4401, 'stopped'])
  })

  it('[LIB3] it goes on with another token when one ran out, though that takes its time, and stops when it is the same', async () => {
    const secondsFromNow = (seconds: number) => tokenOf({ sub: 'ada', exp: Math.ceil(Date.now() / 1_000) + seconds })
    let asked = 0
    const token = async () => {
      if (asked++ === 0) return secondsFromNow(1)
      if (asked === 2) throw new Error('offline')
      await new Promise((resolve) => setTimeout(resolve, 300)) // longer than the provider waits
      return secondsFromNow(3_600)
    }
    const shared = await openAs('night', { token })
    await shared.saved()
    await until(() => shared.state === 'connecting')
    write(shared, 'after ')
    await shared.saved()
    expect(asked).toBe(3)

    const brief = secondsFromNow(1)
    const stuck = await openAs('night', { token: () => brief })
    const closed = await new Promise<{ code: number }>((resolve) => stuck.on('closed', resolve))
    expect([closed.code, stuck.state]).toEqual([4401, 'stopped'])
  })
})
