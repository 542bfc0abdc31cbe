/**
 * Changes of a document for programs that know no Yjs: JSON Patch (RFC 6902), and operations on texts.
 *
 *   add      path value [as]          into an object, before an element of an array (`-`: at its end), or a whole root
 *   remove   path                     of a root: all that it holds
 *   replace  path value [as]          what is there
 *   move     from path
 *   copy     from path
 *   test     path value               all fails unless it is equal
 *   insert   path index text|embed [attributes]
 *   delete   path index length
 *   replace  path index length text [attributes]
 *   format   path index length attributes      null takes a format away
 *
 * The first part of a path is the name of a root. One without content is what the operation needs: an array where an index or `-` follows,
 * else an object; a text for operations on texts. In XML, numbers are children (a run of text is one of them) and `@name` is an
 * attribute. Positions in texts are UTF-16 units.
 *
 * `as` says how a value is kept. Without it objects and arrays are shared (Y.Map, Y.Array), so that several may change parts of them
 * at once, and a value that is put where something shared of its kind is changes that one. `text`: a text becomes a shared text, Y.Text.
 * `plain`: the value is kept as one; of two changes at once the later counts. `xml`: nodes of ProseMirror JSON become XML.
 */
import type { Json, JsonObject } from './jsonValue.ts'

export type Keeping = 'text' | 'plain' | 'xml'

export type ValueOperation =
  | { readonly op: 'add' | 'replace'; readonly path: string; readonly value: Json; readonly as?: Keeping | undefined }
  | { readonly op: 'test'; readonly path: string; readonly value: Json }
  | { readonly op: 'remove'; readonly path: string }
  | { readonly op: 'move' | 'copy'; readonly from: string; readonly path: string }

export type TextOperation =
  | {
      readonly op: 'insert'
      readonly path: string
      readonly index: number
      readonly text?: string | undefined
      readonly embed?: JsonObject | undefined
      readonly attributes?: JsonObject | undefined
    }
  | { readonly op: 'delete'; readonly path: string; readonly index: number; readonly length: number }
  | {
      readonly op: 'replace'
      readonly path: string
      readonly index: number
      readonly length: number
      readonly text: string
      readonly attributes?: JsonObject | undefined
    }
  | { readonly op: 'format'; readonly path: string; readonly index: number; readonly length: number; readonly attributes: JsonObject }

export type Operation = ValueOperation | TextOperation

export const isTextOperation = (operation: Operation): operation is TextOperation => 'index' in operation
