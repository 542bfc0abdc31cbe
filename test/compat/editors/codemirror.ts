import { basicSetup, EditorView } from 'codemirror'
import { yCollab } from 'y-codemirror.next'
import { connect, place } from './connect.ts'

const { doc, awareness } = connect()
const text = doc.getText('plain')
new EditorView({ doc: text.toString(), extensions: [basicSetup, EditorView.lineWrapping, yCollab(text, awareness)], parent: place() })
