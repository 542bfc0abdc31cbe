/** Stock editors' clients: the y-websocket provider as it comes, in Node, with real sockets. */
import { WebSocket } from 'ws'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'
import { until } from './wait.ts'

export interface Editor {
  readonly doc: Y.Doc
  readonly text: Y.Text
  readonly provider: WebsocketProvider
  close(): void
}

const opened = new Set<Editor>()

/**
 * `disableBc`: the clients live in one process, where they would otherwise talk past the server.
 * The polyfill is what y-websocket documents for Node, which has no WebSocket of its own before 22.
 */
export const openEditor = (url: string, room: string, options: { readonly doc?: Y.Doc; readonly text?: string } = {}): Editor => {
  const doc = options.doc ?? new Y.Doc()
  const provider = new WebsocketProvider(url, room, doc, { disableBc: true, maxBackoffTime: 250, WebSocketPolyfill: WebSocket as never })
  const editor: Editor = {
    doc,
    text: doc.getText(options.text ?? 'text'),
    provider,
    close() {
      opened.delete(editor)
      provider.destroy()
      doc.destroy()
    },
  }
  opened.add(editor)
  return editor
}

export const closeEditors = (): void => {
  for (const editor of [...opened]) editor.close()
}

export const synced = ({ provider }: Editor): Promise<void> => until(() => provider.synced, 'synced')

/** All of them hold the same text and nothing waits. */
export const converged = (editors: readonly Editor[]): Promise<void> =>
  until(() => {
    const [first, ...others] = editors
    const vector = first === undefined ? '' : Buffer.from(Y.encodeStateVector(first.doc)).toString('hex')
    return others.every(
      (editor) =>
        editor.text.toString() === first?.text.toString() && Buffer.from(Y.encodeStateVector(editor.doc)).length === vector.length / 2,
    )
  }, 'convergence')
