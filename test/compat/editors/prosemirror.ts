import { Schema } from 'prosemirror-model'
import { EditorState } from 'prosemirror-state'
import { EditorView } from 'prosemirror-view'
import { ySyncPlugin, yUndoPlugin } from 'y-prosemirror'
import { connect, place } from './connect.ts'

/** The part of Tiptap's schema that the test writes. */
const schema = new Schema({
  nodes: {
    doc: { content: 'block+' },
    paragraph: { group: 'block', content: 'inline*', toDOM: () => ['p', 0], parseDOM: [{ tag: 'p' }] },
    text: { group: 'inline' },
  },
  marks: { bold: { toDOM: () => ['strong', 0], parseDOM: [{ tag: 'strong' }] } },
})

const { doc } = connect()
new EditorView(place(), {
  state: EditorState.create({ schema, plugins: [ySyncPlugin(doc.getXmlFragment('prose')), yUndoPlugin()] }),
})
