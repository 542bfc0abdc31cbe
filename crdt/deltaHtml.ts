/** A delta of Quill as HTML; what html.ts promises holds here, too. */
import { element, formatted, heading, link, picture } from './html.ts'
import { attribute, escapeHtml, languageOf, styled } from './htmlAttributes.ts'
import { isJsonObject, type Json, type JsonObject } from './jsonValue.ts'

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

const styles: Readonly<Record<string, 'color' | 'background-color' | 'font-family' | 'font-size'>> = {
  color: 'color',
  background: 'background-color',
  font: 'font-family',
  size: 'font-size',
}

const withFormat = (content: string, name: string, value: Json): string => {
  if (name === 'link') return link(content, { href: value })
  if (name === 'script') return element(value === 'super' ? 'sup' : 'sub', content)
  const property = Object.hasOwn(styles, name) ? styles[name] : undefined
  if (property === undefined) return formatted(content, name, isJsonObject(value) ? value : {})
  const style = styled({ [property]: value })
  return style === '' ? content : element('span', content, style)
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
      html += Object.entries(attributes).reduce((within, [name, value]) => withFormat(within, name, value), inner)
    })
  }
  if (html !== '') lines.push({ html, formats: {} })
  return lines
}

/** The element around several lines, with its attributes, and each of the lines. */
interface Framed {
  readonly outer: string
  readonly attributes: string
  readonly inner: string
}

const listed = ({ html, formats: { list, align } }: Line): Framed => {
  const state = list === 'checked' || list === 'unchecked' ? attribute('data-list', list) : ''
  return {
    outer: list === 'ordered' ? 'ol' : 'ul',
    attributes: '',
    inner: element('li', html, `${state}${styled({ 'text-align': align })}`),
  }
}

const framed = (line: Line): Framed => {
  const { html, formats } = line
  const { align, header } = formats
  if (formats.list !== undefined) return listed(line)
  const code = formats['code-block']
  if (code !== undefined) return { outer: 'pre', attributes: attribute('data-language', languageOf(code)), inner: `${html}\n` }
  if (header !== undefined) return { outer: '', attributes: '', inner: heading(html, { level: header, textAlign: align ?? null }) }
  const inner = element('p', html, styled({ 'text-align': align }))
  return { outer: formats.blockquote === undefined ? '' : 'blockquote', attributes: '', inner }
}

export const deltaHtml = (delta: readonly DeltaPart[]): string => {
  let html = ''
  let open: Pick<Framed, 'outer' | 'attributes'> = { outer: '', attributes: '' }
  const close = (): string => (open.outer === '' ? '' : `</${open.outer}>`)
  for (const { outer, attributes, inner } of linesOf(delta).map(framed)) {
    if (outer !== open.outer || attributes !== open.attributes) html += close() + (outer === '' ? '' : `<${outer}${attributes}>`)
    open = { outer, attributes }
    html += inner
  }
  return html + close()
}
