import Quill from 'quill'
import { QuillBinding } from 'y-quill'
import { connect, place } from './connect.ts'

const { doc } = connect()
new QuillBinding(doc.getText('plain'), new Quill(place(), { modules: { toolbar: false, history: { userOnly: true } } }))
