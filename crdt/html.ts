/**
 * Nodes of ProseMirror JSON as HTML, as Tiptap itself spells its nodes and marks, so that Tiptap reads it back; prosemirror-schema-basic's
 * names are known, too.
 *
 * Promises: whatever the document holds, the result has no tag, attribute or URL scheme beyond what is written here and in
 * htmlAttributes.ts: it is made of them and of escaped text. What is not known is a `div` or `span` that says what it was in `data-type`.
 */
import {
  attribute,
  colourOf,
  escapeHtml,
  languageOf,
  linkUrl,
  listTypeOf,
  numbered,
  pictureUrl,
  sized,
  styled,
  targetOf,
} from './htmlAttributes.ts'
import { isJsonObject, type Json, type JsonObject } from './jsonValue.ts'

export const element = (tag: string, content: string, attributes = ''): string => `<${tag}${attributes}>${content}</${tag}>`

export const picture = ({ src, alt, title, width, height }: JsonObject): string =>
  `<img${attribute('src', pictureUrl(src))}${attribute('alt', alt)}${attribute('title', title)}${sized('width', width)}${sized('height', height)}>`

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
  subscript: 'sub',
  superscript: 'sup',
}

export const link = (content: string, { href, target, title }: JsonObject): string => {
  const safe = linkUrl(href)
  if (safe === undefined) return content
  const where = `${attribute('href', safe)}${attribute('target', targetOf(target))}${attribute('title', title)}`
  return element('a', content, `${where} rel="noopener noreferrer nofollow"`)
}

const highlight = (content: string, { color }: JsonObject): string => {
  const safe = colourOf(color)
  const attributes =
    safe === undefined ? '' : `${attribute('data-color', safe)}${attribute('style', `background-color: ${safe}; color: inherit`)}`
  return element('mark', content, attributes)
}

const textStyle = (content: string, { color, backgroundColor, fontFamily, fontSize, lineHeight }: JsonObject): string => {
  const style = styled({
    color,
    'background-color': backgroundColor,
    'font-family': fontFamily,
    'font-size': fontSize,
    'line-height': lineHeight,
  })
  return style === '' ? content : element('span', content, style)
}

/** A mark of ProseMirror or a format of Quill around its content. */
export const formatted = (content: string, name: string, attrs: JsonObject): string => {
  if (name === 'link') return link(content, attrs)
  if (name === 'highlight') return highlight(content, attrs)
  if (name === 'textStyle') return textStyle(content, attrs)
  const tag = Object.hasOwn(formatTags, name) ? formatTags[name] : undefined
  return tag === undefined ? element('span', content, attribute('data-type', name)) : element(tag, content)
}

// ── nodes ──────────────────────────────────────────────────────────────────────────────────────────────────────────

type Spelling = (content: string, attrs: JsonObject) => string

const block =
  (tag: string): Spelling =>
  (content, { textAlign }) =>
    element(tag, content, styled({ 'text-align': textAlign }))

const alone =
  (tag: string): Spelling =>
  () =>
    `<${tag}>`

const cell =
  (tag: string): Spelling =>
  (content, { colspan, rowspan, colwidth, align, textAlign }) => {
    const widths = Array.isArray(colwidth) && colwidth.every(Number.isSafeInteger) ? colwidth.join(',') : undefined
    const spans = `${numbered('colspan', colspan)}${numbered('rowspan', rowspan)}${attribute('colwidth', widths)}`
    return element(tag, content, `${spans}${styled({ 'text-align': textAlign ?? align })}`)
  }

const headingTag = (level: Json | undefined): string =>
  typeof level === 'number' && level >= 1 && level <= 6 ? `h${Math.floor(level)}` : 'h1'

export const heading: Spelling = (content, { level, textAlign }) => block(headingTag(level))(content, { textAlign: textAlign ?? null })

/** `order` is what prosemirror-schema-list calls it. */
const orderedList: Spelling = (content, { start, order, type, textAlign }) => {
  const first = start ?? order
  const attributes = `${first === 1 ? '' : numbered('start', first)}${attribute('type', listTypeOf(type))}`
  return element('ol', content, `${attributes}${styled({ 'text-align': textAlign })}`)
}

const taskItem: Spelling = (content, { checked }) => {
  const isChecked = checked === true
  const box = `<label><input type="checkbox"${isChecked ? ' checked="checked"' : ''}><span></span></label>`
  return element('li', `${box}<div>${content}</div>`, ` data-checked="${isChecked}" data-type="taskItem"`)
}

const codeBlock: Spelling = (content, { language }) => {
  const safe = languageOf(language)
  return element('pre', element('code', content, safe === undefined ? '' : attribute('class', `language-${safe}`)))
}

const mention: Spelling = (_content, { id, label, mentionSuggestionChar = '@' }) => {
  const said = `${attribute('data-id', id)}${attribute('data-label', label)}`
  const sign = typeof mentionSuggestionChar === 'string' ? mentionSuggestionChar : '@'
  const name = [label, id].find((text) => typeof text === 'string' || typeof text === 'number') ?? ''
  return element('span', escapeHtml(`${sign}${name}`), ` data-type="mention"${said}${attribute('data-mention-suggestion-char', sign)}`)
}

const spellings: Readonly<Record<string, Spelling>> = {
  paragraph: block('p'),
  heading,
  blockquote: block('blockquote'),
  bulletList: block('ul'),
  bullet_list: block('ul'),
  orderedList,
  ordered_list: orderedList,
  listItem: block('li'),
  list_item: block('li'),
  taskList: (content) => element('ul', content, ' data-type="taskList"'),
  taskItem,
  codeBlock,
  code_block: codeBlock,
  table: (content) => element('table', element('tbody', content)),
  tableRow: block('tr'),
  table_row: block('tr'),
  tableCell: cell('td'),
  table_cell: cell('td'),
  tableHeader: cell('th'),
  table_header: cell('th'),
  hardBreak: alone('br'),
  hard_break: alone('br'),
  horizontalRule: alone('hr'),
  horizontal_rule: alone('hr'),
  image: (_content, attrs) => picture(attrs),
  mention,
}

const listOf = (value: Json | undefined): readonly JsonObject[] => (Array.isArray(value) ? value.filter(isJsonObject) : [])

const objectOf = (value: Json | undefined): JsonObject => (isJsonObject(value) ? value : {})

const nodeHtml = (node: JsonObject): string => {
  if (typeof node.text === 'string')
    return listOf(node.marks).reduceRight((inner, mark) => formatted(inner, String(mark.type), objectOf(mark.attrs)), escapeHtml(node.text))
  const type = String(node.type)
  const content = nodesHtml(listOf(node.content))
  const spelling = Object.hasOwn(spellings, type) ? spellings[type] : undefined
  return spelling === undefined
    ? element(content === '' ? 'span' : 'div', content, attribute('data-type', type))
    : spelling(content, objectOf(node.attrs))
}

export const nodesHtml = (nodes: readonly Json[]): string => nodes.filter(isJsonObject).map(nodeHtml).join('')
