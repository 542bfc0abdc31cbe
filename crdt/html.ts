/**
 * Rich text as HTML: nodes of ProseMirror JSON (Tiptap's names and prosemirror-schema-basic's), and deltas of Quill.
 *
 * Promises: whatever the document holds, the result has no tag, attribute or URL scheme beyond the tables below: it is made of
 * them and of escaped text. What is not in a table is a `div` or `span` that says what it was in `data-type`.
 */
import { isJsonObject, type Json, type JsonObject } from './jsonValue.ts'

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (character) => entities[character] as string)

/** Browsers skip control characters and spaces in a scheme, so they count for nothing here. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is left out
const invisible = /[\u0000-\u0020\u007f-\u00a0\u2028\u2029]/g
const safeScheme = /^(?:https?|mailto|tel):/i
const safePicture = /^(?:https?:|data:image\/(?:png|gif|jpeg|webp);)/i

const hasScheme = (url: string): boolean => /^[^/?#]*:/.test(url)

const safeUrl = (value: Json | undefined, safe: RegExp): string | undefined => {
  if (typeof value !== 'string') return undefined
  const url = value.replace(invisible, '')
  return !hasScheme(url) || safe.test(url) ? value : undefined
}

const attribute = (name: string, value: Json | undefined): string =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? ` ${name}="${escapeHtml(String(value))}"` : ''

const element = (tag: string, content: string, attributes = ''): string => `<${tag}${attributes}>${content}</${tag}>`

const picture = ({ src, alt, title }: JsonObject): string =>
  `<img${attribute('src', safeUrl(src, safePicture))}${attribute('alt', alt)}${attribute('title', title)}>`

// ── formats ────────────────────────────────────────────────────────────────────────────────────────────────────────

const formatTags: Readonly<Record<string, string>> = {
  bold: 'strong',
  strong: 'strong',
  italic: 'em',
  em: 'em',
  underline: 'u',
  strike: 's',
  strikethrough: 's',
  code: 'code',
  highlight: 'mark',
  subscript: 'sub',
  superscript: 'sup',
}

const link = (content: string, href: Json | undefined): string => {
  const safe = safeUrl(href, safeScheme)
  return safe === undefined ? content : element('a', content, `${attribute('href', safe)} rel="noopener noreferrer nofollow"`)
}

const formatted = (content: string, name: string, value: Json): string => {
  if (name === 'link') return link(content, isJsonObject(value) ? value.href : value)
  if (name === 'script') return element(value === 'super' ? 'sup' : 'sub', content)
  const tag = Object.hasOwn(formatTags, name) ? formatTags[name] : undefined
  return tag === undefined ? element('span', content, attribute('data-type', name)) : element(tag, content)
}

// ── nodes ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const nodeTags: Readonly<Record<string, string>> = {
  paragraph: 'p',
  blockquote: 'blockquote',
  bulletList: 'ul',
  bullet_list: 'ul',
  orderedList: 'ol',
  ordered_list: 'ol',
  taskList: 'ul',
  listItem: 'li',
  list_item: 'li',
  taskItem: 'li',
  table: 'table',
  tableRow: 'tr',
  table_row: 'tr',
  tableCell: 'td',
  table_cell: 'td',
  tableHeader: 'th',
  table_header: 'th',
}
const emptyTags: Readonly<Record<string, string>> = { hardBreak: 'br', hard_break: 'br', horizontalRule: 'hr', horizontal_rule: 'hr' }

const listOf = (value: Json | undefined): readonly JsonObject[] => (Array.isArray(value) ? value.filter(isJsonObject) : [])

const headingTag = (level: Json | undefined): string =>
  typeof level === 'number' && level >= 1 && level <= 6 ? `h${Math.floor(level)}` : 'h1'

const nodeHtml = (node: JsonObject): string => {
  const type = String(node.type)
  const attrs = isJsonObject(node.attrs) ? node.attrs : {}
  const content = nodesHtml(listOf(node.content))
  if (type === 'text')
    return listOf(node.marks).reduceRight(
      (inner, mark) => formatted(inner, String(mark.type), mark.attrs ?? null),
      escapeHtml(String(node.text)),
    )
  if (type === 'heading') return element(headingTag(attrs.level), content)
  if (type === 'codeBlock' || type === 'code_block') return element('pre', element('code', content))
  if (type === 'image') return picture(attrs)
  if (Object.hasOwn(emptyTags, type)) return `<${emptyTags[type]}>`
  if (Object.hasOwn(nodeTags, type)) return element(nodeTags[type] as string, content, cellSpan(attrs))
  return element(content === '' ? 'span' : 'div', content, attribute('data-type', type))
}

const cellSpan = ({ colspan, rowspan }: JsonObject): string =>
  attribute('colspan', typeof colspan === 'number' ? colspan : undefined) +
  attribute('rowspan', typeof rowspan === 'number' ? rowspan : undefined)

export const nodesHtml = (nodes: readonly Json[]): string => nodes.filter(isJsonObject).map(nodeHtml).join('')

// ── deltas ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** One part of a delta: characters or an embedded object, with its formats. */
export interface DeltaPart {
  readonly insert: Json
  readonly attributes?: JsonObject
}

interface Line {
  readonly html: string
  /** Formats of the line, which Quill puts on the line break at its end. */
  readonly formats: JsonObject
}

const embedHtml = (embed: Json): string => {
  if (isJsonObject(embed) && typeof embed.image === 'string') return picture({ src: embed.image })
  return element('span', '', attribute('data-type', isJsonObject(embed) ? (Object.keys(embed)[0] ?? 'embed') : 'embed'))
}

const linesOf = (delta: readonly DeltaPart[]): readonly Line[] => {
  const lines: Line[] = []
  let html = ''
  for (const { insert, attributes = {} } of delta) {
    const pieces = typeof insert === 'string' ? insert.split('\n') : [insert]
    pieces.forEach((piece, index) => {
      if (index > 0) {
        lines.push({ html, formats: attributes })
        html = ''
      }
      if (piece === '') return
      const inner = typeof piece === 'string' ? escapeHtml(piece) : embedHtml(piece)
      html += Object.entries(attributes).reduce((within, [name, value]) => formatted(within, name, value), inner)
    })
  }
  if (html !== '') lines.push({ html, formats: {} })
  return lines
}

/** The element around several lines, and around each of them. */
const frameOf = ({ formats }: Line): { readonly outer: string; readonly inner: string } => {
  if (formats.list !== undefined) return { outer: formats.list === 'ordered' ? 'ol' : 'ul', inner: 'li' }
  if (formats['code-block'] !== undefined) return { outer: 'pre', inner: '' }
  if (formats.blockquote !== undefined) return { outer: 'blockquote', inner: 'p' }
  return { outer: '', inner: formats.header === undefined ? 'p' : headingTag(formats.header) }
}

export const deltaHtml = (delta: readonly DeltaPart[]): string => {
  let html = ''
  let open = ''
  for (const line of linesOf(delta)) {
    const { outer, inner } = frameOf(line)
    if (outer !== open) html += (open === '' ? '' : `</${open}>`) + (outer === '' ? '' : `<${outer}>`)
    open = outer
    html += inner === '' ? `${line.html}\n` : element(inner, line.html)
  }
  return open === '' ? html : `${html}</${open}>`
}
