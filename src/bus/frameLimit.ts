/**
 * What fits into a frame. Many clients refuse a message above 1 MiB and close the connection (the default of Python's
 * `websockets`), so nothing larger leaves, and what could not leave again is not taken in.
 */
import type { PublishOptions } from '../../actors/command.ts'

const frameBytes = 1024 * 1024

/** Items of one answer are cut to this, so that the answer fits into a frame with what stands around them. */
export const answerBytes = 900 * 1024

/** Most that stands around the fields of a client: the envelope, or an answer with one envelope in it, with the longest names. */
const aroundBytes = 8 * 1024

/** JSON text does not grow by more than this when it is parsed and written again: `1e20` becomes 100000000000000000000. */
const growth = 6

const utf8 = (text: string): number => Buffer.byteLength(text)

/** Larger frames than 1 MiB only where the configuration takes in larger messages. */
export const mostBytes = (messageBytes: number): number => Math.max(frameBytes, messageBytes)

/** True when nothing in a text of this length needs to be measured. */
export const isSurelySmall = (characters: number, messageBytes: number): boolean =>
  characters * growth + aroundBytes <= mostBytes(messageBytes)

/** Why a message would not fit into a frame with its envelope; undefined when it does. */
export const excess = (
  { body, metadata, id, sender, room }: PublishOptions,
  messageBytes: number,
): { readonly detail: string; readonly rule: string } | undefined => {
  const bytes = utf8(JSON.stringify([body, metadata, id, sender, room])) + aroundBytes
  const most = mostBytes(messageBytes)
  if (bytes <= most) return undefined
  return { detail: `${bytes} bytes with its envelope, and no frame above ${most} is sent`, rule: `bus.messageBytes ${messageBytes}` }
}

/** False when a frame is larger than `most`. A UTF-16 unit is three bytes at most, so most frames need no counting. */
export const fits = (frame: string, most: number): boolean => frame.length * 3 <= most || utf8(frame) <= most

/** As many items as fit into an answer, from the first on, or up to the last; at least one. */
export const fittingItems = <Item>(items: readonly Item[], from: 'first' | 'last' = 'first'): readonly Item[] => {
  let left = answerBytes
  const ordered = from === 'first' ? items : items.toReversed()
  const cut = ordered.findIndex((item, index) => (left -= utf8(JSON.stringify(item)) + 1) < 0 && index > 0)
  if (cut < 0) return items
  return from === 'first' ? items.slice(0, cut) : items.slice(-cut)
}
