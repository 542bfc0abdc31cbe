/**
 * What a document says about its content, as attributes of HTML: each is one of those below, with a value that was checked for it. A value
 * that is not meant is left out, and so is its attribute.
 */
import type { Json } from './jsonValue.ts'

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (character) => entities[character] as string)

/** ` name="value"`; nothing for what is no scalar. */
export const attribute = (name: string, value: Json | undefined): string =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? ` ${name}="${escapeHtml(String(value))}"` : ''

// ── addresses ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Browsers skip control characters and spaces in a scheme, so they count for nothing here. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is left out
const invisible = /[\u0000-\u0020\u007f-\u00a0\u2028\u2029]/g
const linked = /^(?:https?|ftps?|mailto|tel|callto|sms|cid|xmpp):/i
const pictured = /^(?:https?:|data:image\/(?:png|gif|jpeg|webp);)/i

const hasScheme = (url: string): boolean => /^[^/?#]*:/.test(url)

const safeUrl = (value: Json | undefined, safe: RegExp): string | undefined => {
  if (typeof value !== 'string') return undefined
  const url = value.replace(invisible, '')
  return !hasScheme(url) || safe.test(url) ? value : undefined
}

export const linkUrl = (value: Json | undefined): string | undefined => safeUrl(value, linked)
export const pictureUrl = (value: Json | undefined): string | undefined => safeUrl(value, pictured)

// ── values that must have a form ───────────────────────────────────────────────────────────────────────────────────

/** No parenthesis, semicolon or backslash beyond these: nothing in a style ends a declaration or loads something. */
const colour = /^(?:#[\da-f]{3,8}|[a-z]{1,30}|(?:rgba?|hsla?|hwb|lab|lch|oklab|oklch)\([\w\s.,%/+-]{1,80}\)|var\(--[\w-]{1,60}\))$/i
const size = /^\d{1,4}(?:\.\d{1,4})?(?:px|pt|em|rem|ch|%)?$/
const family = /^[\p{L}\d\s,'"_-]{1,200}$/u
const alignment = /^(?:left|center|right|justify|start|end)$/
const language = /^[\w+#.-]{1,50}$/
const listType = /^[aAiI]$/
const target = /^_(?:blank|self|parent|top)$/

/** A text, or a number as its digits, of this form. */
const formed = (value: Json | undefined, form: RegExp): string | undefined => {
  const text = typeof value === 'number' ? String(value) : value
  return typeof text === 'string' && form.test(text) ? text : undefined
}

export const numbered = (name: string, value: Json | undefined): string => attribute(name, Number.isSafeInteger(value) ? value : undefined)
export const sized = (name: string, value: Json | undefined): string => attribute(name, formed(value, size))
export const colourOf = (value: Json | undefined): string | undefined => formed(value, colour)
export const languageOf = (value: Json | undefined): string | undefined => formed(value, language)
export const listTypeOf = (value: Json | undefined): string | undefined => formed(value, listType)
export const targetOf = (value: Json | undefined): string | undefined => formed(value, target)

const properties = {
  'text-align': alignment,
  color: colour,
  'background-color': colour,
  'font-family': family,
  'font-size': size,
  'line-height': size,
} as const

/** ` style="…"` of what is meant; nothing when nothing is. */
export const styled = (values: Readonly<Partial<Record<keyof typeof properties, Json | undefined>>>): string => {
  const declarations = Object.entries(properties).flatMap(([name, form]) => {
    const value = formed(values[name as keyof typeof properties], form)
    return value === undefined ? [] : [`${name}: ${value}`]
  })
  return declarations.length === 0 ? '' : attribute('style', declarations.join('; '))
}
