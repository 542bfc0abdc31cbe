/** The forms in which content goes out, of now and of the past: their media types, and what keeps a browser from running them. */
import type { ContentFormat } from '../../crdt/read.ts'

export const binary = 'application/octet-stream'
const json = 'application/json; charset=utf-8'

/** `update`: one Yjs update. */
export const contentForms = ['json', 'roots', 'text', 'prosemirror', 'html', 'delta', 'update'] as const
export type ContentForm = (typeof contentForms)[number]

export const mediaTypes: Readonly<Record<ContentForm, string>> = {
  json,
  roots: json,
  text: 'text/plain; charset=utf-8',
  prosemirror: json,
  html: 'text/html; charset=utf-8',
  delta: json,
  update: binary,
} satisfies Record<ContentFormat | 'update', string>

/** Beside JSON. */
export const otherTypes = [binary, 'text/plain', 'text/html'] as const

/** Content comes from whoever may write: a browser that shows it must not run or load any of it. */
export const harmless = { 'content-security-policy': "sandbox; default-src 'none'", 'x-content-type-options': 'nosniff' }
