/** Stock Hocuspocus providers of both majors that are in use, as they come, in Node, with real sockets. */
import { HocuspocusProvider, HocuspocusProviderWebsocket } from '@hocuspocus/provider'
import { HocuspocusProvider as Provider3, HocuspocusProviderWebsocket as Socket3 } from 'hocuspocus-provider-3'
import { WebSocket } from 'ws'
import * as Y from 'yjs'
import { until } from './wait.ts'

export type Major = 3 | 4
export const majors: readonly Major[] = [3, 4]

/** The parts of both that tests use are the same. */
type Provider = HocuspocusProvider
type Socket = HocuspocusProviderWebsocket

/** One socket that editors share, and what became of it. */
export interface SharedSocket {
  readonly socket: Socket
  readonly major: Major
  /** How often it was opened. */
  opened: number
  close(): void
}

export interface Tiptap {
  readonly doc: Y.Doc
  readonly text: Y.Text
  readonly provider: Provider
  readonly shared: SharedSocket
  /** `authenticated SCOPE`, `denied REASON`, `closed REASON`, `stateless PAYLOAD`, in the order in which they came. */
  readonly events: string[]
  close(): void
}

export interface TiptapOptions {
  readonly major?: Major
  readonly token?: string | (() => string)
  readonly doc?: Y.Doc
  readonly awareness?: null
  /** Several documents, or sessions, on one socket. */
  readonly shared?: SharedSocket
  readonly sessionAwareness?: boolean
  readonly flushDelay?: number
}

const sockets = new Set<SharedSocket>()
const editors = new Set<Tiptap>()

export const openSocket = (url: string, major: Major = 4): SharedSocket => {
  const Constructor = (major === 4 ? HocuspocusProviderWebsocket : Socket3) as typeof HocuspocusProviderWebsocket
  const socket = new Constructor({ url, WebSocketPolyfill: WebSocket, delay: 50, minDelay: 50, maxDelay: 250 })
  const shared: SharedSocket = {
    socket,
    major,
    opened: 0,
    close() {
      sockets.delete(shared)
      socket.destroy()
    },
  }
  socket.on('open', () => shared.opened++)
  sockets.add(shared)
  return shared
}

export const openTiptap = (url: string, name: string, options: TiptapOptions = {}): Tiptap => {
  const { major = options.shared?.major ?? 4, doc = new Y.Doc(), token = '', shared = openSocket(url, major), ...rest } = options
  const Constructor = (major === 4 ? HocuspocusProvider : Provider3) as typeof HocuspocusProvider
  const events: string[] = []
  const provider = new Constructor({
    websocketProvider: shared.socket,
    name,
    document: doc,
    token,
    ...rest,
    onAuthenticated: ({ scope }) => void events.push(`authenticated ${scope}`),
    onAuthenticationFailed: ({ reason }) => void events.push(`denied ${reason}`),
    onClose: ({ event }) => void events.push(`closed ${event.reason}`),
    onStateless: ({ payload }) => void events.push(`stateless ${payload}`),
  })
  provider.attach()
  const editor: Tiptap = {
    doc,
    text: doc.getText('text'),
    provider,
    shared,
    events,
    close() {
      editors.delete(editor)
      provider.destroy()
      if (options.shared === undefined) shared.close()
      doc.destroy()
    },
  }
  editors.add(editor)
  return editor
}

export const closeTiptaps = (): void => {
  for (const editor of [...editors]) editor.close()
  for (const socket of [...sockets]) socket.close()
}

/** In step with the server, and all that it wrote is on disk. */
export const saved = ({ provider }: Tiptap): Promise<void> =>
  until(() => provider.synced && !provider.hasUnsyncedChanges, 'synced and saved')
