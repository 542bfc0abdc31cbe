import { Editor } from '@tiptap/core'
import Collaboration from '@tiptap/extension-collaboration'
import StarterKit from '@tiptap/starter-kit'
import { connect, place } from './connect.ts'

const { doc } = connect()
new Editor({
  element: place(),
  extensions: [StarterKit.configure({ undoRedo: false }), Collaboration.configure({ document: doc, field: 'prose' })],
})
