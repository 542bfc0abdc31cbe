/** A ProseMirror editor without a page: state and plugins are real, nothing is drawn. For what a stock editor does to a document. */
import { Schema } from 'prosemirror-model'
import { marks, nodes } from 'prosemirror-schema-basic'
import { EditorState, type PluginView, type Transaction } from 'prosemirror-state'
import type { EditorView } from 'prosemirror-view'
import { ySyncPlugin } from 'y-prosemirror'
import type * as Y from 'yjs'

export interface Headless {
  readonly state: () => EditorState
  dispatch(transaction: Transaction): void
  close(): void
}

/** Binds a fragment as `EditorView` would; the schema wants a block in each quote, and deletes a quote that has none. */
export const openHeadless = (fragment: Y.XmlFragment): Headless => {
  const plugin = ySyncPlugin(fragment)
  let pluginView: PluginView | undefined
  const view = {
    state: EditorState.create({ schema: new Schema({ nodes, marks }), plugins: [plugin] }),
    isDestroyed: false,
    hasFocus: () => false,
    dispatch(transaction: Transaction) {
      const before = view.state
      view.state = before.apply(transaction)
      pluginView?.update?.(view as unknown as EditorView, before)
    },
  }
  pluginView = plugin.spec.view?.(view as unknown as EditorView) // the binding uses nothing else of a view
  return { state: () => view.state, dispatch: view.dispatch, close: () => pluginView?.destroy?.() }
}
