/**
 * The bytes that load clients write and read: WebSocket frames, messages of y-websocket and of Hocuspocus, Yjs updates.
 *
 * Everything here is made to cost little, for the clients share the machine with the server. Updates are written struct by
 * struct and read by walking over them, without a Y.Doc.
 */

// ── numbers ────────────────────────────────────────────────────────────────────────────────────────────────────────

export const varUint = (number) => {
  const bytes = []
  let rest = number
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  bytes.push(rest)
  return bytes
}

/** A reader of lib0 numbers. One for the process, since everything is synchronous. */
export const cursor = {
  bytes: Buffer.alloc(0),
  at: 0,
  open(bytes, at) {
    this.bytes = bytes
    this.at = at
  },
  varUint() {
    const { bytes } = this
    let byte = bytes[this.at++]
    if (byte < 128) return byte
    let number = byte & 127
    let unit = 128
    do {
      byte = bytes[this.at++]
      number += (byte & 127) * unit
      unit *= 128
    } while (byte >= 128)
    return number
  },
}

// ── messages ───────────────────────────────────────────────────────────────────────────────────────────────────────

const block = (bytes) => [...varUint(bytes.length), ...bytes]
const text = (string) => block(Buffer.from(string))

/** A masked client frame with mask 0, which leaves the bytes as they are. The server unmasks all the same. */
export const clientFrame = (payload, opcode = 2) => {
  const { length } = payload
  const size = length < 126 ? 6 : length < 65_536 ? 8 : 14
  const frame = Buffer.alloc(size + length)
  frame[0] = 0x80 | opcode
  if (size === 6) frame[1] = 0x80 | length
  else if (size === 8) {
    frame[1] = 0x80 | 126
    frame.writeUInt16BE(length, 2)
  } else {
    frame[1] = 0x80 | 127
    frame.writeBigUInt64BE(BigInt(length), 2)
  }
  frame.set(payload, size)
  return frame
}

/** What a client of each wire writes. `head`: what precedes every message. */
export const wires = {
  yjs: {
    path: (document) => `/${document}`,
    head: () => [],
    hello: () => [],
  },
  /** To a server that knows no document: nobody answers, so nobody asks. */
  relay: {
    path: (document) => `/${document}`,
    head: () => [],
    hello: () => [],
    isSilent: true,
  },
  hocuspocus: {
    path: () => '/',
    head: (document) => text(document),
    /** Auth with an empty token, as the provider sends it on open. */
    hello: (document) => [[...text(document), 2, 0, ...text(''), ...text('4.8.0')]],
  },
}

export const emptyUpdate = [0, 0]
export const syncMessage = (head, kind, bytes) =>
  Buffer.concat([Buffer.from([...head, 0, kind, ...varUint(bytes.length)]), Buffer.from(bytes)])

// ── updates ────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * One insertion of `content` (ASCII) by `client`, whose clock stands at `clock`: behind its own last character, or, as its first,
 * at the beginning of the root `text`.
 */
export const insertion = (client, clock, content) =>
  Buffer.from([
    ...[1, 1, ...varUint(client), ...varUint(clock)],
    ...(clock === 0 ? [0x04, 1, ...text('text')] : [0x84, ...varUint(client), ...varUint(clock - 1)]),
    ...text(content),
    0,
  ])

const skipText = () => {
  const length = cursor.varUint()
  cursor.at += length
  return length
}

/** Length in clock units of the next struct, which begins with `info`. Knows the contents that the benchmarks write. */
const structLength = (info) => {
  if (info === 0 || info === 10) return cursor.varUint()
  if (info & 0x80) {
    cursor.varUint()
    cursor.varUint()
  }
  if (info & 0x40) {
    cursor.varUint()
    cursor.varUint()
  }
  if ((info & 0xc0) === 0) {
    if (cursor.varUint() === 1) skipText()
    else {
      cursor.varUint()
      cursor.varUint()
    }
    if (info & 0x20) skipText()
  }
  switch (info & 0x1f) {
    case 1:
      return cursor.varUint()
    case 4:
      return skipText() // ASCII: bytes are UTF-16 units
    default:
      throw new Error(`a struct of content ${info & 0x1f}, which no benchmark writes`)
  }
}

/**
 * Walks over the update at the cursor: `inserted(client, clock, length)` for each struct but skips, `deleted(client, clock, length)`
 * for each range of the delete set.
 */
export const walkUpdate = (inserted, deleted) => {
  for (let clients = cursor.varUint(); clients > 0; clients--) {
    let structs = cursor.varUint()
    const client = cursor.varUint()
    let clock = cursor.varUint()
    for (; structs > 0; structs--) {
      const info = cursor.bytes[cursor.at++]
      const length = structLength(info)
      if (info !== 10) inserted(client, clock, length)
      clock += length
    }
  }
  if (deleted === undefined) return
  for (let clients = cursor.varUint(); clients > 0; clients--) {
    const client = cursor.varUint()
    for (let ranges = cursor.varUint(); ranges > 0; ranges--) deleted(client, cursor.varUint(), cursor.varUint())
  }
}
