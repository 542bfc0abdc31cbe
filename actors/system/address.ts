/**
 * Addresses: `kind/id`, for instance `document/readme`. The id may itself contain slashes.
 *
 * Parsed once, at activation; from then on the whole string is the key.
 */
import { TroupeError } from '../errors.ts'

export type Address = string

/** Longest id, in UTF-8 bytes: with the kind it must fit into a journal name. */
export const maxIdBytes = 255

const kindPattern = /^[a-z][a-z0-9_-]{0,63}$/
/** C0, DEL and C1 controls: they forge log lines; surrogates alone cannot be stored as UTF-8. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const forbidden = /[\u0000-\u001f\u007f-\u009f]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/

const utf8Bytes = (text: string): number => {
  let bytes = 0
  for (const character of text) {
    const point = character.codePointAt(0) ?? 0
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4
  }
  return bytes
}

export const isKindName = (name: string): boolean => kindPattern.test(name)

/** Why `id` cannot be the id of an actor, or undefined when it can. */
export const idDefect = (id: string): string | undefined => {
  if (id.length === 0) return 'the id is empty'
  if (forbidden.test(id)) return 'the id has control characters or is not well-formed'
  if (id.length > maxIdBytes || utf8Bytes(id) > maxIdBytes) return `the id is longer than ${maxIdBytes} bytes`
  return undefined
}

/** Throws `actor.bad_address`. */
export const parseAddress = (address: Address): { readonly kind: string; readonly id: string } => {
  const slash = address.indexOf('/')
  const kind = address.slice(0, Math.max(slash, 0))
  const id = address.slice(slash + 1)
  const defect = slash < 1 || !isKindName(kind) ? 'the kind is missing or malformed' : idDefect(id)
  if (defect !== undefined) throw new TroupeError('actor.bad_address', `${JSON.stringify(address.slice(0, 300))}: ${defect}`)
  return { kind, id }
}
