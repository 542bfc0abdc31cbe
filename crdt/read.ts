/** A document, or one root of it, in a form for programs that know no Yjs. Runs in the worker. */
import * as Y from 'yjs'
import { materialize } from './compact.ts'
import { type DeltaPart, deltaHtml } from './deltaHtml.ts'
import { DocumentState } from './document.ts'
import { nodesHtml } from './html.ts'
import { type Json, Unreadable, Walk } from './jsonValue.ts'
import { documentJson, jsonOf } from './jsonView.ts'
import { mergeUpdates } from './merge.ts'
import type { Rejection } from './rejection.ts'
import { knownRoot, type Root, rootKinds } from './roots.ts'
import { emptyUpdate } from './update.ts'

export type ContentFormat = 'json' | 'roots' | 'text' | 'prosemirror' | 'html' | 'delta'

export interface Wanted {
  readonly format: ContentFormat
  /** Undefined: for `json` all of them, for the others the only one that fits. */
  readonly root?: string
}

export type ReadContent =
  | { readonly ok: true; readonly text: string }
  /** `unreadable`: the document does not allow it; `root`: the root is not there, or is none of the format. */
  | { readonly ok: false; readonly code: 'unreadable' | 'root'; readonly detail: string }

class NoSuchRoot extends Error {}

const fits: Readonly<Record<Exclude<ContentFormat, 'json' | 'roots'>, readonly string[]>> = {
  text: ['text', 'xml'],
  html: ['text', 'xml'],
  prosemirror: ['xml'],
  delta: ['text'],
}

/** Elements that hold text are blocks, each a line; one beside text is part of its line. */
const linesOf = (parent: Y.XmlFragment, walk: Walk, lines: string[], depth = 0): void => {
  const children = parent.toArray()
  if (!children.some((child) => child instanceof Y.XmlText)) {
    for (const child of children) {
      walk.step(depth)
      if (child instanceof Y.XmlFragment) linesOf(child, walk, lines, depth + 1)
    }
    if (children.length === 0 && parent instanceof Y.XmlElement) lines.push('')
    return
  }
  lines.push(children.map((child) => inlineText(child, walk, depth)).join(''))
}

const inlineText = (child: Y.XmlElement | Y.XmlText | Y.XmlHook | Y.XmlFragment, walk: Walk, depth: number): string => {
  walk.step(depth, child instanceof Y.XmlText ? child.length : 0)
  if (child instanceof Y.XmlText) return Y.Text.prototype.toString.call(child) // its own would have tags
  if (child instanceof Y.XmlElement && /^hard_?break$/i.test(child.nodeName)) return '\n'
  return child instanceof Y.XmlFragment
    ? child
        .toArray()
        .map((inner) => inlineText(inner, walk, depth + 1))
        .join('')
    : ''
}

const textOf = (root: Root, walk: Walk): string => {
  if (!(root instanceof Y.XmlFragment)) return root.toString()
  const lines: string[] = []
  linesOf(root, walk, lines)
  return lines.join('\n')
}

const deltaOf = (text: Y.Text, walk: Walk): readonly DeltaPart[] =>
  (text.toDelta() as { insert: unknown; attributes?: object }[]).map(({ insert, attributes }) => ({
    insert: jsonOf(insert, walk),
    ...(attributes === undefined ? {} : { attributes: jsonOf(attributes, walk) as DeltaPart['attributes'] & object }), // of an object
  }))

/** An empty document has no roots; then it is empty in every format. */
const wantedRoot = (doc: Y.Doc, { format, root }: Wanted & { readonly format: keyof typeof fits }): Root | undefined => {
  const kinds = rootKinds(doc)
  if (root !== undefined) {
    const kind = kinds.get(root) ?? 'unknown'
    if (kind !== 'unknown' && !fits[format].includes(kind)) throw new NoSuchRoot(`the root ${JSON.stringify(root)} is of type ${kind}`)
    return knownRoot(doc, root)
  }
  const fitting = [...kinds].filter(([, kind]) => fits[format].includes(kind)).map(([name]) => name)
  if (fitting.length > 1) throw new NoSuchRoot(`several roots have this form: ${fitting.slice(0, 10).join(', ')}; name one`)
  return fitting[0] === undefined ? undefined : knownRoot(doc, fitting[0])
}

const spell = (doc: Y.Doc, wanted: Wanted, walk: Walk): string => {
  const { format, root: name } = wanted
  if (format === 'roots') return JSON.stringify({ roots: Object.fromEntries(rootKinds(doc)) })
  if (format === 'json') {
    if (name === undefined) return JSON.stringify(documentJson(doc, walk))
    return JSON.stringify(jsonOf(knownRoot(doc, name) ?? null, walk))
  }
  const root = wantedRoot(doc, { ...wanted, format })
  const isXml = root instanceof Y.XmlFragment
  if (format === 'text') return root === undefined ? '' : textOf(root, walk)
  if (format === 'prosemirror') return JSON.stringify(isXml ? jsonOf(root, walk) : { type: 'doc', content: [] })
  if (isXml) return nodesHtml((jsonOf(root, walk) as { content: readonly Json[] }).content)
  const delta = root instanceof Y.Text ? deltaOf(root, walk) : []
  return format === 'html' ? deltaHtml(delta) : JSON.stringify({ ops: delta })
}

export const readContent = (snapshot: Uint8Array, tail: readonly Uint8Array[], wanted: Wanted): ReadContent => {
  const doc = materialize(snapshot, tail)
  try {
    return { ok: true, text: spell(doc, wanted, new Walk()) }
  } catch (reason) {
    if (reason instanceof NoSuchRoot) return { ok: false, code: 'root', detail: reason.message }
    if (reason instanceof Unreadable) return { ok: false, code: 'unreadable', detail: reason.message }
    throw reason
  } finally {
    doc.destroy()
  }
}

/** What somebody with this state vector lacks, as one update; without a vector, everything. A rejection is that of the vector. */
export const encodeContent = (
  snapshot: Uint8Array,
  tail: readonly Uint8Array[],
  since: Uint8Array | undefined,
): { readonly ok: true; readonly bytes: Uint8Array } | Rejection => {
  const state = DocumentState.load(snapshot, tail, Number.POSITIVE_INFINITY) // in one piece
  if (!(state instanceof DocumentState)) return state
  const answer = state.answer(since)
  if (!answer.ok) return answer
  return { ok: true, bytes: answer.updates.length === 0 ? emptyUpdate : mergeUpdates([...answer.updates]) }
}
