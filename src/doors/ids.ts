/** Ids as other protocols want them: made of ours, so that the same thing has the same id for everybody and after a restart. */
import { createHash } from 'node:crypto'

/**
 * 32 hex digits for an id: its own 16 bytes when it is one that the world made (22 characters of base64url), the hash of any
 * other. The way back is compared because the last character carries two bits only: 16 texts would mean the same bytes.
 */
export const hexOf = (id: string): string => {
  const bytes = Buffer.from(id, 'base64url')
  return bytes.length === 16 && bytes.toString('base64url') === id
    ? bytes.toString('hex')
    : createHash('sha256').update(id).digest('hex').slice(0, 32)
}

/** A UUID of version 4 (RFC 9562 §5.4): the digits of `hexOf` with the bits of version and variant set. */
export const uuidOf = (id: string): string => {
  const hex = hexOf(id)
  const variant = ((Number.parseInt(hex.charAt(16), 16) & 3) | 8).toString(16)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`
}
