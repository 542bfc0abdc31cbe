/** Stock providers that were given the path of another wire: they are served, or told where to go, and do not try for ever. */
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { secret, token } from '../auth/tokens.ts'
import { closeEditors, openEditor, synced } from '../support/editors.ts'
import { closeTiptaps, majors, openTiptap, saved } from '../support/hocuspocus.ts'
import { serve } from '../support/service.ts'
import { until } from '../support/wait.ts'
import { emptyVector, wire } from '../support/wire.ts'

afterEach(() => {
  closeEditors()
  closeTiptaps()
})

interface Closed {
  readonly code: number
  readonly reason: string
}

const firstClosing = async (listen: (heard: (event: Closed) => void) => void): Promise<Closed> => {
  let closed: Closed | undefined
  listen(({ code, reason }) => {
    closed ??= { code, reason }
  })
  await until(() => closed !== undefined, 'the end of the connection')
  return closed as Closed // it came
}

const opened = async (url: string): Promise<WebSocket> => {
  const socket = new WebSocket(url)
  await until(() => socket.readyState === WebSocket.OPEN, `the socket to ${url}`)
  return socket
}

/** What HocuspocusProvider says first: the document `plan`, no token, its version. */
const hocuspocusToken = Buffer.from('\x04plan\x02\x00\x00\x054.8.0')

describe('where nobody logs in', () => {
  const { server } = serve('--listen=0:hocuspocus')

  it.each(majors)('[DW1] Hocuspocus provider %i at the path of a document has the documents that its messages name', async (major) => {
    const editor = openEditor(`${server().ws}/docs`, `named ${major}`)
    await synced(editor)
    for (const path of ['/docs/of the path', '/some room']) {
      const tiptap = openTiptap(`${server().ws}${encodeURI(path)}`, `named ${major}`, { major })
      tiptap.text.insert(0, 'x')
      await saved(tiptap)
      tiptap.close()
    }
    await until(() => editor.text.length === 2, 'both changes')
    expect((await fetch(`${server().http}/v1/documents/of%20the%20path`)).status).toBe(404)
  })

  it.each(['/hocuspocus', 'a listener of Hocuspocus'])(
    '[DW2] y-websocket at %s is closed for good and told where it is served',
    async (at) => {
      const [base, room] = at === '/hocuspocus' ? [server().ws, 'hocuspocus'] : [`ws://127.0.0.1:${server().ports[1]}`, 'plan']
      const { provider } = openEditor(base, room)
      const closed = await firstClosing((heard) => provider.on('connection-close', (event) => event !== null && heard(event)))
      expect(closed).toEqual({ code: 4400, reason: 'connection.bad_message: y-websocket is spoken at /docs/NAME of the main listener' })
      await until(() => !provider.shouldConnect, 'the end of its attempts')
    },
  )

  const elsewhere = { code: 4400, reason: 'connection.bad_message: documents are at /docs/NAME (y-websocket) and /hocuspocus' }

  it.each(['/', '/chat', '/ws', '/arqonbus'])(
    '[DW3] both at %s, where JSON is spoken, are closed and told where documents are',
    async (path) => {
      // By hand: both stock clients throw at the first text that they hear.
      for (const frame of [wire.step1(emptyVector), hocuspocusToken]) {
        const raw = await opened(`${server().ws}${path}`)
        raw.send(frame)
        expect(await firstClosing((heard) => raw.on('close', (code, reason) => heard({ code, reason: `${reason}` })))).toEqual(elsewhere)
      }
    },
  )

  it('[DW3] another binary frame there gets the error of the door, and the connection stays', async () => {
    const socket = await opened(`${server().ws}/`)
    const heard: string[] = []
    socket.on('message', (data) => heard.push(String(data)))
    socket.send(Uint8Array.of(250, 1, 2, 3))
    await until(() => heard.some((text) => text.includes('message.malformed')), 'the refusal')
    expect(socket.readyState).toBe(WebSocket.OPEN)
    socket.terminate()
  })
})

describe('where everybody has to log in', () => {
  const { server } = serve(`auth.jwtSecret=${secret}`, 'auth.anonymous=false')

  it('[DW1] Hocuspocus at the path of a document logs in with its messages, and who does not is denied', async () => {
    const good = token({ sub: 'ada', permissions: ['document:*'] })
    const tiptap = openTiptap(`${server().ws}/docs/plan`, 'plan', { token: good })
    tiptap.text.insert(0, 'x')
    await saved(tiptap)
    const stranger = openTiptap(`${server().ws}/docs/plan`, 'plan')
    await until(() => stranger.events.length > 0, 'the denial')
    expect(stranger.events[0]).toMatch(/^denied auth\.required/)
    expect(stranger.shared.opened).toBe(1)
  })
})
