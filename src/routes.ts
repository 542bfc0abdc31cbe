/**
 * Which door a WebSocket wants, by listener and path; never by what the client says first.
 *
 * `/docs/{name}` is a document everywhere. On a listener of profile `yjs` every other path is one, too: the room name of
 * y-websocket, which does not encode it. On the main listener some paths belong to other doors.
 */
import type { ErrorCode } from '../actors/errors.ts'
import { idDefect } from '../actors/system/address.ts'
import type { Profile } from './config.ts'

export type Route =
  | { readonly kind: 'document'; readonly name: string }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly detail: string }
  | { readonly kind: 'none'; readonly status: string }

const reserved = /^\/(?:chat|ws|hocuspocus|v1(?:\/.*)?)?$/
/** Cf: invisible characters and direction marks, with which two names look equal. */
const invisible = /\p{Cf}/u

/** A document name as its client sent it, normalised (NFC), or why it is not one. */
const documentName = (encoded: string): Route => {
  let name: string
  try {
    name = decodeURIComponent(encoded).normalize('NFC')
  } catch {
    return { kind: 'refused', code: 'connection.bad_name', detail: 'not a valid URL encoding' }
  }
  const defect = idDefect(name) ?? (invisible.test(name) ? 'the name has invisible characters' : undefined)
  return defect === undefined ? { kind: 'document', name } : { kind: 'refused', code: 'connection.bad_name', detail: defect }
}

export const route = (profile: Profile, url: string): Route => {
  const path = url.split(/[?#]/, 1)[0] ?? ''
  if (!path.startsWith('/')) return { kind: 'none', status: '400 Bad Request' }
  if (path.startsWith('/docs/')) return documentName(path.slice('/docs/'.length))
  if (profile === 'main' && reserved.test(path)) return { kind: 'none', status: '404 Not Found' }
  return documentName(path.slice(1))
}
