/**
 * Which wire a client speaks, by its first frame. The path says which one is wanted; clients that were given the wrong path are served
 * all the same where both wires lead to documents, and elsewhere told where to go: most would otherwise try again for ever.
 */
import { decodeFrame } from './doors/hocuspocus.ts'
import { yjsDoor } from './doors/yjs.ts'

/**
 * Where both wires are spoken. Providers of Hocuspocus begin with a token, and no first message of y-websocket looks like one; other
 * programs may begin with something else. What is a message of neither is for y-websocket to refuse.
 */
export const isHocuspocus = (frame: Uint8Array): boolean => {
  const request = decodeFrame(frame)
  if (request.type === 'lane.misnamed') return request.isToken
  return request.type === 'lane.token' || (request.type === 'lane.request' && !yjsDoor.decode(frame).ok)
}

/** Where neither is. Other binary frames are for the door to refuse. */
export const isForDocuments = (frame: Uint8Array): boolean => isHocuspocus(frame) || yjsDoor.decode(frame).ok

export const whereDocumentsAre = 'documents are at /docs/NAME (y-websocket) and /hocuspocus'
