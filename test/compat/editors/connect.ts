/** What the pages of all editors share: the document, over the wire that `?wire=` names, with stock providers only. */
import { HocuspocusProvider } from '@hocuspocus/provider'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'

declare global {
  interface Window {
    /** Set by the test before the page's program runs. */
    troupeTest: { readonly wire: 'yjs' | 'hocuspocus'; readonly server: string; readonly room: string; readonly user: string }
    /** True when the document is there and nothing of the page's own is unsaved. */
    isSettled: () => boolean
    sharedDocument: Y.Doc
  }
}

export const connect = () => {
  const { wire, server, room, user } = window.troupeTest
  const doc = new Y.Doc()
  window.sharedDocument = doc
  if (wire === 'yjs') {
    const provider = new WebsocketProvider(`${server}/docs`, room, doc, { disableBc: true })
    window.isSettled = () => provider.synced
    provider.awareness.setLocalStateField('user', { name: user, color: '#00798c' })
    return { doc, provider, awareness: provider.awareness }
  }
  const provider = new HocuspocusProvider({ url: `${server}/hocuspocus`, name: room, document: doc })
  window.isSettled = () => provider.synced && !provider.hasUnsyncedChanges
  provider.setAwarenessField('user', { name: user, color: '#d1495b' })
  return { doc, provider, awareness: provider.awareness }
}

export const place = (): HTMLElement => document.querySelector('#editor') as HTMLElement // every page has it
