/**
 * Which door a WebSocket wants, by listener and path; never by what the client says first.
 *
 * `/docs/{name}` is a document everywhere. On the main listener some paths belong to doors of the bus, and every other path is
 * a document, too: the room name of y-websocket, which does not encode it. A listener of a profile has its door at every path.
 */
import { hasInvisible } from '../actors/account.ts'
import type { ErrorCode } from '../actors/errors.ts'
import { idDefect } from '../actors/system/address.ts'
import type { Profile } from './config.ts'

export type BusProfile = Exclude<Profile, 'main' | 'yjs'>

export type Route =
  | { readonly kind: 'document'; readonly name: string }
  | { readonly kind: 'bus'; readonly door: BusProfile }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly detail: string }
  | { readonly kind: 'none'; readonly status: string }

const busPaths: Readonly<Record<string, BusProfile>> = { '/': 'bus', '/chat': 'chat', '/ws': 'pubsub', '/arqonbus': 'arqonbus' }
const reserved = /^\/(?:hocuspocus|v1(?:\/.*)?)$/

/** A document name as its client sent it, normalised (NFC), or why it is not one. */
const documentName = (encoded: string): Route => {
  const refused = (detail: string): Route => ({ kind: 'refused', code: 'connection.bad_name', detail })
  let name: string
  try {
    name = decodeURIComponent(encoded).normalize('NFC')
  } catch {
    return refused('not a valid URL encoding')
  }
  if (name.startsWith('~')) return refused('names that begin with ~ are those of tenants')
  const defect = idDefect(name) ?? (hasInvisible(name) ? 'the name has invisible characters' : undefined)
  return defect === undefined ? { kind: 'document', name } : refused(defect)
}

export const route = (profile: Profile, url: string): Route => {
  const path = url.split(/[?#]/, 1)[0] ?? ''
  if (!path.startsWith('/')) return { kind: 'none', status: '400 Bad Request' }
  if (path.startsWith('/docs/')) return documentName(path.slice('/docs/'.length))
  if (profile !== 'main' && profile !== 'yjs') return { kind: 'bus', door: profile }
  const door = busPaths[path]
  if (profile === 'main' && door !== undefined) return { kind: 'bus', door }
  if (profile === 'main' && reserved.test(path)) return { kind: 'none', status: '404 Not Found' }
  return documentName(path.slice(1))
}
