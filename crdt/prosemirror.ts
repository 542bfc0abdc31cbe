/** ProseMirror JSON to the types that y-prosemirror and Tiptap keep it in, without a schema; the layout stands in jsonView.ts. */
import { encodeAny } from 'lib0/buffer'
import * as sha256 from 'lib0/hash/sha256'
import * as Y from 'yjs'
import { base64 } from './base64.ts'
import { type JsonObject, Unreadable, type Walk } from './jsonValue.ts'

interface MarkJson {
  readonly type: string
  readonly attrs?: JsonObject
}

interface NodeJson {
  readonly type: string
  readonly attrs?: JsonObject
  readonly content?: readonly NodeJson[]
  readonly text?: string
  readonly marks?: readonly MarkJson[]
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isMark = (value: unknown): value is MarkJson =>
  isRecord(value) &&
  typeof value.type === 'string' &&
  value.type !== '__proto__' &&
  (value.attrs === undefined || value.attrs === null || isRecord(value.attrs))

/** A value as a node; throws `Unreadable` when it is none. */
const nodeOf = (value: unknown): NodeJson => {
  if (!isRecord(value) || typeof value.type !== 'string' || value.type === '') throw new Unreadable('a node is an object with a `type`')
  const { type, attrs, content, text, marks } = value
  if (type === 'text' && (typeof text !== 'string' || text === '')) throw new Unreadable('a text node has a `text` that is not empty')
  if (attrs !== undefined && !isRecord(attrs)) throw new Unreadable(`the attrs of a ${type} are no object`)
  if (content !== undefined && !Array.isArray(content)) throw new Unreadable(`the content of a ${type} is no array`)
  if (marks !== undefined && !(Array.isArray(marks) && marks.every(isMark))) throw new Unreadable('marks are objects with a `type`')
  return value as unknown as NodeJson
}

/** As y-prosemirror names it, or its editors would see another mark than they would have made themselves. */
const hashOf = (mark: MarkJson): string => {
  const digest = sha256.digest(encodeAny(mark))
  const folded = digest.slice(0, 6)
  for (let at = 6; at < digest.length; at++) folded[at % 6] = (folded[at % 6] as number) ^ (digest[at] as number)
  return base64.encode(folded)
}

const formatsOf = (marks: readonly MarkJson[] = []): Record<string, unknown> => {
  const isRepeated = (type: string): boolean => marks.filter((mark) => mark.type === type).length > 1
  return Object.fromEntries(
    marks.map((mark) => [isRepeated(mark.type) ? `${mark.type}--${hashOf(mark)}` : mark.type, mark.attrs ?? {}] as const),
  )
}

const xmlText = (nodes: readonly NodeJson[]): Y.XmlText => {
  const text = new Y.XmlText()
  text.applyDelta(
    nodes.map(({ text: insert, marks }) => ({ insert: insert as string, attributes: formatsOf(marks) })),
    { sanitize: false },
  )
  return text
}

const xmlElement = (node: NodeJson, walk: Walk, depth: number): Y.XmlElement => {
  const element = new Y.XmlElement(node.type)
  for (const [name, value] of Object.entries(node.attrs ?? {})) if (value !== null) element.setAttribute(name, value as string) // takes any JSON
  const children = xmlChildren(node.content ?? [], walk, depth + 1)
  if (children.length > 0) element.insert(0, children)
  return element
}

/** The types for a list of nodes; text nodes beside each other become one. Throws `Unreadable`. */
export const xmlChildren = (values: readonly unknown[], walk: Walk, depth = 0): (Y.XmlElement | Y.XmlText)[] => {
  const children: (Y.XmlElement | Y.XmlText)[] = []
  let run: NodeJson[] = []
  const endRun = (): void => {
    if (run.length > 0) children.push(xmlText(run))
    run = []
  }
  for (const value of values) {
    const node = nodeOf(value)
    walk.step(depth, node.text?.length ?? 0)
    if (node.type === 'text') {
      run.push(node)
      continue
    }
    endRun()
    children.push(xmlElement(node, walk, depth))
  }
  endRun()
  return children
}

/** One node, several, or all of a `doc`, as a list. Throws `Unreadable`. */
export const nodesOf = (value: unknown): readonly unknown[] => {
  if (Array.isArray(value)) return value
  const node = nodeOf(value)
  return node.type === 'doc' ? (node.content ?? []) : [node]
}
