/**
 * Conditional requests (RFC 9110 §13) on the content of a document. An ETag is epoch and offset, and the form unless that is JSON, for
 * two forms of one state are two representations (§8.8.3). A change goes by the state alone.
 *
 *   If-None-Match   of reading: 304 when it is among them.  Of changing: only `*`, "only while there is no content"
 *   If-Match        else 412. Weak ones match nothing (§13.1.1)
 */
import type { IncomingHttpHeaders } from 'node:http'
import { TroupeError } from '../../actors/errors.ts'
import type { Position } from '../documents/edits.ts'

export const etagOf = ({ epoch, offset }: Position, form = 'json'): string => `"${epoch}-${offset}${form === 'json' ? '' : `.${form}`}"`

/** `*` or entity tags. Undefined: none are given. Errors: `command.bad_parameters`. */
const tagsOf = (name: string, header: string | undefined): '*' | readonly string[] | undefined => {
  if (header === undefined) return undefined
  const text = header.trim()
  if (text === '*') return '*'
  if (!/^(?:W\/)?"[^"]*"(?:\s*,\s*(?:W\/)?"[^"]*")*$/.test(text))
    throw new TroupeError('command.bad_parameters', `${name}: neither * nor a list of ETags`)
  return text.match(/(?:W\/)?"[^"]*"/g) as readonly string[] // it has one at least
}

/** True: whoever asks has this already. Errors: `document.changed`, `command.bad_parameters`. */
export const isKnown = (headers: IncomingHttpHeaders, etag: string): boolean => {
  const wanted = tagsOf('If-Match', headers['if-match'])
  if (wanted !== undefined && wanted !== '*' && !wanted.includes(etag)) throw new TroupeError('document.changed', `its ETag is ${etag}`)
  const known = tagsOf('If-None-Match', headers['if-none-match'])
  return known === '*' || (known?.some((one) => one.replace(/^W\//, '') === etag) ?? false)
}

const noContent: Position = { epoch: '', offset: 0 }

/** Where the document must be for a change to be made. Undefined: anywhere. Errors: `command.bad_parameters`. */
export const expectedOf = (headers: IncomingHttpHeaders): readonly Position[] | undefined => {
  const unwanted = tagsOf('If-None-Match', headers['if-none-match'])
  if (unwanted !== undefined && unwanted !== '*')
    throw new TroupeError('command.bad_parameters', 'If-None-Match: only * is taken of changes')
  const wanted = tagsOf('If-Match', headers['if-match'])
  if (unwanted === '*') return wanted === undefined ? [noContent] : []
  if (wanted === undefined || wanted === '*') return undefined
  return wanted.flatMap((tag) => {
    const [, epoch, offset] = /^"(.*)-(\d{1,15})(?:\.\w+)?"$/.exec(tag) ?? []
    return epoch === undefined ? [] : [{ epoch, offset: Number(offset) }]
  })
}
