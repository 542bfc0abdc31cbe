/** Bytes as text. lib0 has a version for browsers and one for Node; both are plain functions. */
import { fromBase64, toBase64 } from 'lib0/buffer'

export const base64 = { encode: toBase64, decode: fromBase64 } as const
