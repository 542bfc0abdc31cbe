/**
 * Which door a WebSocket wants, by listener and path. Where a path names a document, either wire of documents may be spoken: what
 * the client says first decides (wires.ts), and the path counts for y-websocket only.
 *
 * `/docs/{name}` is a document everywhere but on a listener of profile `hocuspocus`. On the main listener some paths belong to
 * other doors, and every other path is a document, too: the room name of y-websocket, which does not encode it. A listener of
 * another profile has its door at every path.
 */
import { type ErrorCode, isTroupeError } from '../actors/errors.ts'
import type { Profile } from './config.ts'
import { documentName } from './documents/name.ts'

export type BusProfile = Exclude<Profile, 'main' | 'yjs' | 'hocuspocus'>

/** The document that the path names. */
export type DocumentRoute =
  | { readonly kind: 'document'; readonly name: string }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly detail: string }

export type Route =
  /** For y-websocket; messages of Hocuspocus name their documents themselves. */
  | { readonly kind: 'documents'; readonly document: DocumentRoute }
  /** Many documents, named by the messages. */
  | { readonly kind: 'hocuspocus' }
  | { readonly kind: 'bus'; readonly door: BusProfile }
  | { readonly kind: 'none'; readonly status: string }

const busPaths: Readonly<Record<string, BusProfile>> = { '/': 'bus', '/chat': 'chat', '/ws': 'pubsub', '/arqonbus': 'arqonbus' }
const hocuspocusPath = /^\/hocuspocus\/?$/
const reserved = /^\/v1(?:\/.*)?$/

const documentRoute = (encoded: string): DocumentRoute => {
  try {
    return { kind: 'document', name: documentName(decodeURIComponent(encoded)) }
  } catch (error) {
    const detail = isTroupeError(error) ? error.detail : 'not a valid URL encoding'
    return { kind: 'refused', code: 'connection.bad_name', detail }
  }
}

export const route = (profile: Profile, url: string): Route => {
  const path = url.split(/[?#]/, 1)[0] ?? ''
  if (!path.startsWith('/')) return { kind: 'none', status: '400 Bad Request' }
  if (profile === 'hocuspocus') return { kind: 'hocuspocus' }
  const document = documentRoute(path.slice(path.startsWith('/docs/') ? '/docs/'.length : 1))
  if (profile === 'yjs' || path.startsWith('/docs/')) return { kind: 'documents', document }
  if (profile !== 'main') return { kind: 'bus', door: profile }
  const door = busPaths[path]
  if (door !== undefined) return { kind: 'bus', door }
  if (hocuspocusPath.test(path)) return { kind: 'hocuspocus' }
  return reserved.test(path) ? { kind: 'none', status: '404 Not Found' } : { kind: 'documents', document }
}
