import fc from 'fast-check'
import * as encoding from 'lib0/encoding'
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { compact } from '../../crdt/compact.ts'
import { mergeUpdates } from '../../crdt/merge.ts'
import { inspectUpdate, type UpdateInspection, updateLimits } from '../../crdt/update.ts'
import { random, session } from './sessions.ts'

const bytes = (...values: number[]) => new Uint8Array(values)
const code = (update: Uint8Array, limits = updateLimits) => {
  const result = inspectUpdate(update, limits)
  return result.ok ? 'accepted' : result.code
}
const inspected = (update: Uint8Array): UpdateInspection => {
  const result = inspectUpdate(update)
  if (!result.ok) throw new Error(result.code)
  return result
}

/** Its arguments are evaluated one after the other; that is all. */
const inOrder = (..._steps: unknown[]): void => {}

/** An update of client 1 from clock 0: structs as the writer leaves them, and no deletions. */
const forged = (structs: number, write: (encoder: encoding.Encoder) => void, clock = 0) =>
  encoding.encode((encoder) => {
    for (const number of [1, structs, 1, clock]) encoding.writeVarUint(encoder, number)
    write(encoder)
    encoding.writeVarUint(encoder, 0)
  })

/** An item without neighbours in root 'r' (or another one), and its content. */
const item = (encoder: encoding.Encoder, kind: number, root = 'r', key?: string) => {
  encoding.writeUint8(encoder, kind | (key === undefined ? 0 : 0x20))
  encoding.writeVarUint(encoder, 1)
  encoding.writeVarString(encoder, root)
  if (key !== undefined) encoding.writeVarString(encoder, key)
}

const anyOf = (value: unknown) =>
  forged(1, (encoder) => {
    item(encoder, 8)
    encoding.writeVarUint(encoder, 1)
    encoding.writeAny(encoder, value as never)
  })

const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)])

describe('inspectUpdate: what Yjs writes', () => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    it(`accepts every update of a session and agrees with Yjs about its clocks (seed ${seed})`, () => {
      const { updates, docs } = session(seed)
      expect(updates.length).toBeGreaterThan(60)
      for (const update of [...updates, ...docs.map((doc) => Y.encodeStateAsUpdate(doc)), Y.mergeUpdates([...updates])]) {
        const found = inspected(update)
        const { structs, ds } = Y.decodeUpdate(update)
        expect(found.structs).toBe(structs.length)
        const own = structs.filter((struct) => struct.constructor !== Y.Skip)
        const covered = found.ranges.reduce((sum, { from, to }) => sum + to - from, 0)
        expect(covered).toBe(own.reduce((sum, { length }) => sum + length, 0))
        const { from, to } = Y.parseUpdateMeta(update)
        for (const [client, clock] of from) expect(found.ranges.find((range) => range.client === client)?.from).toBe(clock)
        for (const [client, clock] of to) expect(found.ranges.findLast((range) => range.client === client)?.to).toBe(clock)
        const deleted = [...ds.clients.values()].flat()
        expect(found.deleteRanges).toBe(deleted.length)
        expect(found.deletedLength).toBe(deleted.reduce((sum, { len }) => sum + len, 0))
      }
    })
  }

  it('tells clocks, needs, deletions and roots of a small update', () => {
    const a = new Y.Doc()
    const b = new Y.Doc()
    a.clientID = 5
    b.clientID = 9
    a.getText('body').insert(0, 'hello')
    Y.applyUpdate(b, Y.encodeStateAsUpdate(a))
    let update: Uint8Array = bytes()
    b.on('update', (bytes: Uint8Array) => {
      update = bytes
    })
    b.transact(() => {
      b.getText('body').insert(3, '𝄞')
      b.getText('body').delete(0, 2)
      b.getMap('other').set('k', 1)
    })
    expect(inspected(update)).toMatchObject({
      ranges: [{ client: 9, from: 0, to: 3, structs: 2 }],
      needs: [{ client: 5, to: 4 }],
      deletes: [{ client: 5, to: 2 }],
      deletedLength: 2,
      roots: ['other'],
      isEmpty: false,
    })
    expect(inspected(bytes(0, 0)).isEmpty).toBe(true)
  })

  it('divides the ranges of a client where a stretch is skipped', () => {
    const doc = new Y.Doc()
    const updates: Uint8Array[] = []
    doc.on('update', (update: Uint8Array) => updates.push(update))
    for (const at of [0, 1, 2, 3]) doc.getText('t').insert(at, 'x')
    const [first, , , last] = updates as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
    expect(inspected(Y.mergeUpdates([first, last])).ranges).toMatchObject([
      { from: 0, to: 1 },
      { from: 3, to: 4 },
    ])
  })
})

describe('inspectUpdate: what Yjs does not write', () => {
  it('rejects every prefix of an update', () => {
    for (const seed of [11, 12]) {
      const { docs } = session(seed, 60)
      const update = Y.encodeStateAsUpdate(docs[0] as Y.Doc)
      for (let size = 0; size < update.length; size++) expect(inspectUpdate(update.subarray(0, size)).ok, `prefix of ${size}`).toBe(false)
      expect(inspectUpdate(update).ok).toBe(true)
    }
  })

  it('rejects trailing bytes and V2 bytes', () => {
    const { docs, updates } = session(13, 40)
    expect(code(bytes(0, 0, 0))).toBe('trailing_bytes')
    for (const update of updates) expect(inspectUpdate(Y.convertUpdateFormatV1ToV2(update)).ok).toBe(false)
    for (const doc of docs) expect(inspectUpdate(Y.encodeStateAsUpdateV2(doc)).ok).toBe(false)
  })

  it('rejects 7 bytes that announce 33 million structs, and counts of any other kind', () => {
    expect(code(bytes(0x01, 0xff, 0xff, 0xff, 0x0f, 0x01, 0x00))).toBe('count')
    expect(code(bytes(0xff, 0xff, 0x7f, 0, 0))).toBe('count') // clients
    expect(code(bytes(0, 0xff, 0x7f, 0))).toBe('count') // clients with deletions
    expect(code(bytes(0, 1, 1, 0xff, 0x7f, 0, 1))).toBe('count') // deletions
    for (const kind of [2, 8])
      expect(code(forged(1, (e) => inOrder(item(e, kind), encoding.writeVarUint(e, 1e6)))), `values of content ${kind}`).toBe('count')
  })

  it('rejects numbers above 2^53 and endless varints', () => {
    expect(code(bytes(...new Array(20).fill(0xff)))).toBe('number')
    expect(code(bytes(0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 0, 1))).toBe('number')
    expect(code(bytes(0x80))).toBe('truncated')
  })

  it('rejects clocks above 2^50, lengths above 2^31 and their sum', () => {
    const gc = (length: number, clock = 0) => forged(1, (e) => inOrder(encoding.writeUint8(e, 0), encoding.writeVarUint(e, length)), clock)
    expect(code(gc(2 ** 31))).toBe('accepted')
    expect(code(gc(2 ** 31 + 1))).toBe('clock')
    expect(code(gc(2 ** 53 - 7))).toBe('clock')
    expect(code(gc(1, 2 ** 50))).toBe('clock')
    expect(code(gc(2 ** 31, 2 ** 50 - 5))).toBe('clock')
    expect(code(gc(1, 2 ** 50 - 1))).toBe('accepted')
  })

  it('rejects structs, clients and deletions of length 0', () => {
    expect(code(bytes(1, 1, 1, 0, 0, 0, 0))).toBe('empty_struct') // GC
    expect(code(bytes(1, 1, 1, 0, 10, 0, 0))).toBe('empty_struct') // skip
    expect(code(bytes(1, 0, 1, 0, 0, 0))).toBe('empty_struct') // client
    expect(code(bytes(0, 1, 1, 1, 0, 0))).toBe('empty_struct') // deletion
    for (const kind of [1, 2, 4, 8])
      expect(code(forged(1, (e) => inOrder(item(e, kind), encoding.writeVarUint(e, 0))))).toBe('empty_struct')
  })

  it('rejects unknown structs, parents, types, values and options', () => {
    for (const info of [11, 31, 0x8b])
      expect(code(forged(1, (e) => encoding.writeUint8Array(e, bytes(info, 1, 0, 1, 1, 1))))).not.toBe('accepted')
    expect(code(forged(1, (e) => encoding.writeUint8Array(e, bytes(4, 2, 1, 0, 1, 65))))).toBe('kind')
    expect(code(forged(1, (e) => inOrder(item(e, 7), encoding.writeVarUint(e, 7))))).toBe('kind')
    expect(code(forged(1, (e) => inOrder(item(e, 8), encoding.writeUint8Array(e, bytes(1, 100)))))).toBe('kind')
    expect(code(forged(1, (e) => inOrder(item(e, 9), encoding.writeVarString(e, 'guid'), encoding.writeAny(e, null))))).toBe('kind')
  })

  it('rejects a struct that refers to its own future, which makes Yjs throw in mid-transaction', () => {
    const self = forged(1, (e) => encoding.writeUint8Array(e, bytes(0x84, 1, 0, 1, 65)))
    expect(code(self)).toBe('reference')
    expect(() => Y.applyUpdate(new Y.Doc(), self)).toThrow()
  })

  it('rejects a client with two sections, of which Yjs would lose the first', () => {
    const section = [1, 1, 0, 0, 1]
    expect(code(bytes(2, ...section, 1, 1, 1, 0, 1, 0))).toBe('duplicate_client')
  })

  it('rejects strings that are not UTF-8, as TextDecoder does', () => {
    const text = (utf8: Uint8Array) => forged(1, (e) => inOrder(item(e, 4), encoding.writeVarUint8Array(e, utf8)))
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    const r = random(99)
    let refused = 0
    const leads = [0x41, 0x7f, 0x80, 0xc0, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff, 0x9f, 0xa0, 0xbf, 0x90, 0x8f]
    for (let i = 0; i < 20_000; i++) {
      const utf8 = Uint8Array.from({ length: 1 + r.below(6) }, () => leads[r.below(leads.length)] ?? 0)
      let length = 0
      try {
        length = decoder.decode(utf8).length
      } catch {
        refused++
      }
      const found = inspectUpdate(text(utf8))
      expect(found.ok ? found.ranges[0]?.to : found.code, String(utf8)).toBe(length > 0 ? length : 'text')
    }
    expect(refused).toBeGreaterThan(1000)
  })

  it('rejects values nested deeper than 64', () => {
    expect(code(anyOf(nested(64)))).toBe('accepted')
    expect(code(anyOf(nested(65)))).toBe('depth')
    const embed = (json: string) => forged(1, (e) => inOrder(item(e, 5), encoding.writeVarString(e, json)))
    expect(code(embed('['.repeat(64) + ']'.repeat(64)))).toBe('accepted')
    expect(code(embed('['.repeat(65) + ']'.repeat(65)))).toBe('depth')
    expect(code(embed('['.repeat(200_000)))).toBe('depth')
    expect(
      code(
        forged(1, (e) =>
          inOrder(
            item(e, 8),
            encoding.writeUint8(e, 1),
            encoding.writeUint8Array(
              e,
              new Uint8Array(400_000).map((_, i) => (i % 2 === 0 ? 117 : 1)),
            ),
          ),
        ),
      ),
    ).toBe('depth')
  })

  it('rejects embeds, formats and old JSON contents that are not JSON', () => {
    for (const json of ['', '{', 'undefined', '{"a":}', 'nul']) {
      expect(code(forged(1, (e) => inOrder(item(e, 5), encoding.writeVarString(e, json)))), json).toBe('json')
      expect(code(forged(1, (e) => inOrder(item(e, 6), encoding.writeVarString(e, 'bold'), encoding.writeVarString(e, json)))), json).toBe(
        'json',
      )
    }
    const old = (json: string) => forged(1, (e) => inOrder(item(e, 2), encoding.writeVarUint(e, 1), encoding.writeVarString(e, json)))
    expect(code(old('undefined'))).toBe('accepted')
    expect(code(old('{"a":[1]}'))).toBe('accepted')
    expect(code(old('{'))).toBe('json')
  })

  it('rejects __proto__ as root, map key, attribute, node name and key of a value', () => {
    const value = JSON.parse('{"__proto__":{"x":1}}') as unknown
    expect(code(anyOf(value))).toBe('reserved_key')
    expect(code(anyOf([{ a: value }]))).toBe('reserved_key')
    expect(code(anyOf('__proto__'))).toBe('accepted') // a text is no key
    const text = (root: string, key?: string) => forged(1, (e) => inOrder(item(e, 4, root, key), encoding.writeVarString(e, 'A')))
    expect(code(text('__proto__'))).toBe('reserved_key')
    expect(code(text('r', '__proto__'))).toBe('reserved_key')
    expect(code(text('r', '__proto'))).toBe('accepted')
    expect(code(forged(1, (e) => inOrder(item(e, 7), encoding.writeVarUint(e, 3), encoding.writeVarString(e, '__proto__'))))).toBe(
      'reserved_key',
    )
    expect(code(forged(1, (e) => inOrder(item(e, 6), encoding.writeVarString(e, '__proto__'), encoding.writeVarString(e, 'true'))))).toBe(
      'reserved_key',
    )
  })

  it('counts structs, deletions, roots and subdocuments: at the limit yes, above no', () => {
    const many = (n: number, write: (e: encoding.Encoder, i: number) => void) =>
      forged(n, (e) => {
        for (let i = 0; i < n; i++) write(e, i)
      })
    const text = (e: encoding.Encoder, root: string) => inOrder(item(e, 4, root), encoding.writeVarString(e, 'A'))
    const sub = (e: encoding.Encoder, i: number) => inOrder(item(e, 9), encoding.writeVarString(e, `${i}`), encoding.writeAny(e, {}))
    const limits = { ...updateLimits, structs: 50, deletes: 3 }
    expect(
      code(
        many(50, (e) => text(e, 'r')),
        limits,
      ),
    ).toBe('accepted')
    expect(
      code(
        many(51, (e) => text(e, 'r')),
        limits,
      ),
    ).toBe('too_many_structs')
    expect(code(bytes(0, 1, 1, 3, 0, 1, 2, 1, 4, 1), limits)).toBe('accepted')
    expect(code(bytes(0, 1, 1, 4, 0, 1, 2, 1, 4, 1, 6, 1), limits)).toBe('too_many_deletes')
    expect(code(many(1000, (e, i) => text(e, `root${i}`)))).toBe('accepted')
    expect(code(many(1001, (e, i) => text(e, `root${i}`)))).toBe('too_many_roots')
    expect(code(many(1000, sub))).toBe('accepted')
    expect(code(many(1001, sub))).toBe('too_many_subdocuments')
  })

  it('survives 4 000 bit flips: nothing that it accepts makes Yjs throw, what hangs in the air is quarantined, all of it merges', () => {
    const r = random(7)
    const sources = [21, 22, 23, 24].map((seed) => Y.encodeStateAsUpdate(session(seed, 40).docs[0] as Y.Doc))
    let accepted = 0
    let quarantined = 0
    for (let i = 0; i < 4000; i++) {
      const source = sources[i % sources.length] as Uint8Array
      const update = new Uint8Array(source)
      for (let flips = 1 + r.below(2); flips > 0; flips--) {
        const at = r.below(update.length)
        update[at] = (update[at] ?? 0) ^ (1 << r.below(8))
      }
      if (!inspectUpdate(update).ok) continue
      accepted++
      const result = compact(new Uint8Array(0), [update])
      expect(result.ok).toBe(true)
      if (!result.ok) continue
      expect(result.quarantined.filter(({ reason }) => reason === 'throws')).toEqual([])
      quarantined += result.quarantined.length
      expect(inspectUpdate(mergeUpdates([source, update]), updateLimits).ok).toBe(true)
    }
    expect(accepted).toBeGreaterThan(200)
    expect(quarantined).toBeGreaterThan(10)
  })

  it('answers any bytes with a value (property)', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (update) => {
        expect(typeof inspectUpdate(update).ok).toBe('boolean')
      }),
      { seed: 42, numRuns: 5000 },
    )
  })
})
