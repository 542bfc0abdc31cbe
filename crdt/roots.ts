/**
 * The root types of a document. A `Y.Doc` that was made of updates does not know what its roots are: programs say so when they
 * open them (`getMap`, `getText`). Here it is told from what lies in them.
 */
import * as Y from 'yjs'

/** `unknown`: it has no content (any more), so nothing tells what it is. */
export type RootKind = 'map' | 'array' | 'text' | 'xml' | 'unknown'

export type Root = Y.Map<unknown> | Y.Array<unknown> | Y.Text | Y.XmlFragment

/** In a text only: characters, formats, embedded objects. */
const isTextContent = (content: Y.Item['content']): boolean =>
  content instanceof Y.ContentString || content instanceof Y.ContentFormat || content instanceof Y.ContentEmbed

const isXml = (content: Y.Item['content']): boolean => {
  if (!(content instanceof Y.ContentType)) return false
  const { type } = content
  return type instanceof Y.XmlElement || type instanceof Y.XmlText || type instanceof Y.XmlHook
}

/** Types may stand in a text as well as in an array, so the first one of them does not decide; characters and values do. */
export const kindOf = (type: Y.AbstractType<unknown>): RootKind => {
  if (type instanceof Y.XmlFragment) return 'xml'
  if (type instanceof Y.Text) return 'text'
  if (type instanceof Y.Array) return 'array'
  if (type instanceof Y.Map) return 'map'
  let holdsTypes = false
  for (let item = type._start; item !== null; item = item.right) {
    if (item.deleted) continue
    const { content } = item
    if (isTextContent(content)) return 'text'
    if (isXml(content)) return 'xml'
    if (!(content instanceof Y.ContentType)) return 'array'
    holdsTypes = true
  }
  if (holdsTypes) return 'array'
  for (const item of type._map.values()) if (!item.deleted) return 'map'
  return 'unknown'
}

/** Opens a root as a kind; one that is not there comes into being, without a trace in the document until something is put into it. */
export const openRoot = (doc: Y.Doc, name: string, kind: Exclude<RootKind, 'unknown'>): Root => {
  switch (kind) {
    case 'map':
      return doc.getMap(name)
    case 'array':
      return doc.getArray(name)
    case 'text':
      return doc.getText(name)
    case 'xml':
      return doc.getXmlFragment(name)
  }
}

export const rootKind = (doc: Y.Doc, name: string): RootKind => {
  const type = doc.share.get(name)
  return type === undefined ? 'unknown' : kindOf(type as Y.AbstractType<unknown>)
}

/** As what it is; undefined when nothing tells. */
export const knownRoot = (doc: Y.Doc, name: string): Root | undefined => {
  const kind = rootKind(doc, name)
  return kind === 'unknown' ? undefined : openRoot(doc, name, kind)
}

export const rootKinds = (doc: Y.Doc): ReadonlyMap<string, RootKind> =>
  new Map([...doc.share.keys()].sort().map((name) => [name, rootKind(doc, name)]))
