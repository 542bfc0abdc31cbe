/**
 * A collaborative editor: CodeMirror 6 on a Yjs text, synchronised by the stock y-websocket provider.
 * `?room=NAME` chooses the document, `?name=NAME` what others see at your cursor.
 */
import { basicSetup, EditorView } from 'codemirror'
import { yCollab } from 'y-codemirror.next'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'

const query = new URLSearchParams(location.search)
const room = query.get('room') ?? 'example'
const name = query.get('name') ?? `guest ${Math.floor(Math.random() * 1000)}`
const colors = ['#d1495b', '#00798c', '#b8860b', '#6a4c93', '#2e7d32']

const doc = new Y.Doc()
const text = doc.getText('codemirror')
const provider = new WebsocketProvider(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/docs`, room, doc)
provider.awareness.setLocalStateField('user', { name, color: colors[doc.clientID % colors.length] })

new EditorView({
  doc: text.toString(),
  extensions: [basicSetup, EditorView.lineWrapping, yCollab(text, provider.awareness)],
  parent: document.querySelector('#editor') as HTMLElement, // in editor.html
})

const show = (id: string, value: string) => {
  const element = document.querySelector(`#${id}`)
  if (element !== null) element.textContent = value
}
const showPeople = () => {
  const people = [...provider.awareness.getStates().values()].map((state) => (state as { user?: { name: string } }).user?.name ?? '?')
  show('people', people.join(', '))
}
show('room', room)
provider.on('status', ({ status }) => show('status', status))
provider.on('closed', ({ reason }) => show('status', `refused: ${reason}`)) // for good: deleted, no permission, …
provider.on('sync', (isSynced: boolean) => show('synced', isSynced ? 'synchronised' : 'synchronising'))
provider.awareness.on('change', showPeople)
showPeople()
