/** Who formatted what, against a list of what held for each character before and after each change. */
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { compact } from '../../crdt/compact.ts'
import type { PastChange } from '../../crdt/history.ts'
import { diff } from '../../crdt/historyDiff.ts'
import { rollback } from '../../crdt/historyRevert.ts'
import { blocksOf, pastOf, together } from './pasts.ts'
import { docOf, type Random } from './sessions.ts'

const nothing = new Uint8Array(0)
const people = ['ann', 'bob', 'eve']
const first = 'abcdefghijklmnop'

type Attributes = Readonly<Record<string, unknown>>

/** Of the characters that were there from the start, by character. */
const formattingOf = (doc: Y.Doc): Map<string, Attributes> => {
  const found = new Map<string, Attributes>()
  for (const { insert, attributes = {} } of doc.getText('t').toDelta() as { insert: string; attributes?: Attributes }[])
    for (const char of typeof insert === 'string' ? insert : '') if (first.includes(char)) found.set(char, attributes)
  return found
}

const charactersOf = (doc: Y.Doc): readonly (readonly [string, Attributes])[] =>
  (doc.getText('t').toDelta() as { insert: string; attributes?: Attributes }[]).flatMap(({ insert, attributes = {} }) =>
    [...insert].map((char) => [char, attributes] as const),
  )

/** Stretches of equal formatting. */
const formattingIn = (doc: Y.Doc): readonly unknown[] => {
  const found: [string, Attributes][] = []
  for (const [char, attributes] of charactersOf(doc)) {
    const last = found.at(-1)
    if (last !== undefined && JSON.stringify(last[1]) === JSON.stringify(attributes)) last[0] += char
    else found.push([char, attributes])
  }
  return found
}

const keys = ['bold', 'color', 'link']
const values = [null, null, true, 'red', { href: 'x' }]

/** Formats, and now and then types or deletes something. */
const formats = (doc: Y.Doc, _: number, r: Random): void => {
  const text = doc.getText('t')
  if (text.length === 0) return text.insert(0, first)
  const at = r.below(text.length)
  const length = 1 + r.below(Math.min(7, text.length - at))
  const what = r.below(10)
  if (what === 0) text.insert(at, 'XY'.repeat(1 + r.below(2)))
  else if (what === 1) text.insert(at, 'Z', { bold: true })
  else if (what === 2) text.delete(at, Math.min(2, length))
  else text.format(at, length, { [keys[r.below(keys.length)] as string]: values[r.below(values.length)] })
}

interface Held {
  readonly value: unknown
  readonly user: string
}

/** Without what a client would sweep up on reading; it sends that as a change of its own. */
const applyUnswept = (doc: Y.Doc, update: Uint8Array): void =>
  Y.transact(doc, (transaction) => {
    Y.applyUpdate(doc, update)
    transaction.local = true
  })

/** The values of one name of one character, in the order of time; the first is from the start. */
const heldOver = (past: readonly PastChange[], after: number) => {
  const doc = docOf(past.slice(0, after).map(({ update }) => update))
  const held = new Map<string, Held[]>()
  const note = (user: string) => {
    for (const [char, attributes] of formattingOf(doc))
      for (const key of keys) {
        const all = held.get(char + key) ?? []
        const value = attributes[key] ?? null
        if (all.length === 0 || JSON.stringify(all.at(-1)?.value) !== JSON.stringify(value)) all.push({ value, user })
        held.set(char + key, all)
      }
  }
  note('')
  for (const { update, author } of past.slice(after)) {
    applyUnswept(doc, update)
    note(author.user)
  }
  return { doc, held }
}

const snapshotOf = (past: readonly PastChange[]): Uint8Array => {
  const compaction = compact(
    nothing,
    past.map(({ update }) => update),
  )
  if (!compaction.ok) throw new Error(compaction.code)
  return compaction.snapshot
}

const rolledBack = (past: readonly PastChange[], user: string, after = 0) => {
  const live = { at: past.length, snapshot: snapshotOf(past), tail: [] }
  const period = { after, upTo: past.length, author: { user } }
  const { update, means } = rollback({ base: nothing, baseAt: 0, blocks: blocksOf(past) }, period, live)
  return { means, doc: docOf([live.snapshot, ...(update === undefined ? [] : [update])]) }
}

const seeds = Array.from({ length: 100 }, (_, i) => 1_000 + i)

describe('who formatted a text', () => {
  it('[HIS5] is whoever changed what holds for a character, not whoever wrote the mark', () => {
    for (const seed of seeds) {
      const past = together(seed, 30, people, formats)
      const after = 1 + (seed % past.length)
      const { doc, held } = heldOver(past, after)
      const { t = {} } = diff({ base: nothing, baseAt: 0, blocks: blocksOf(past) }, { after, upTo: past.length }, 0)
      const told: Record<string, unknown> = {}
      for (const { format, attributes = {}, by } of t.content ?? [])
        for (const char of typeof format === 'string' ? format : '')
          for (const [key, change] of Object.entries(attributes) as [string, { before: unknown; after: unknown; by?: typeof by }][])
            if (first.includes(char)) told[char + key] = [change.before, change.after, (change.by ?? by)?.author.user]
      const expected: Record<string, unknown> = {}
      const now = formattingOf(doc)
      for (const [place, all] of held) {
        const [start, end] = [all[0], all.at(-1)]
        if (now.has(place[0] as string) && JSON.stringify(start?.value) !== JSON.stringify(end?.value))
          expected[place] = [start?.value, end?.value, end?.user]
      }
      expect([seed, told]).toEqual([seed, expected])
    }
  })

  it('[HIS5] is undone alone: each character has what others gave it last', () => {
    let undone = 0
    for (const seed of seeds) {
      const past = together(seed, 30, people, formats)
      const user = people[seed % 3] as string
      const after = user === 'ann' ? 1 : 0
      const { held, doc: before } = heldOver(past, 1)
      const stayed = formattingOf(before)
      const { doc, means } = rolledBack(past, user, after)
      if (means === 'undo') undone++
      const found: Record<string, unknown> = {}
      const expected: Record<string, unknown> = {}
      for (const [char, attributes] of formattingOf(doc))
        for (const key of stayed.has(char) ? keys : []) {
          found[char + key] = attributes[key] ?? null
          expected[char + key] = held.get(char + key)?.findLast((one) => one.user !== user)?.value
        }
      expect([seed, user, found]).toEqual([seed, user, expected])
    }
    expect(undone).toBeGreaterThan(seeds.length * 0.9)
  })

  it('[HIS5] is the same when somebody deletes it, and that is undone', () => {
    for (const seed of seeds) {
      const past = together(seed, 20, people, formats)
      const { doc } = heldOver(past, past.length)
      const expected = charactersOf(doc)
      const updates: Uint8Array[] = []
      doc.on('update', (update: Uint8Array) => updates.push(update))
      const [at, length] = [seed % 5, 4 + (seed % 7)]
      doc.getText('t').delete(at, Math.min(length, doc.getText('t').length - at))
      const change = { offset: past.length + 1, time: 1e6, author: { user: 'zoe', via: '' }, update: Y.mergeUpdates(updates) }
      expect([seed, charactersOf(rolledBack([...past, change], 'zoe').doc)]).toEqual([seed, expected])
    }
  })

  const turns = (...acts: readonly (readonly [user: string, act: (text: Y.Text) => void])[]): readonly PastChange[] => {
    const doc = new Y.Doc()
    const updates: Uint8Array[] = []
    doc.on('update', (update: Uint8Array) => updates.push(update))
    for (const [, act] of acts) doc.transact(() => act(doc.getText('t')))
    return pastOf(updates, (index) => acts[index]?.[0] ?? '')
  }
  const who = (past: readonly PastChange[]) =>
    diff({ base: nothing, baseAt: 0, blocks: blocksOf(past) }, { after: 1, upTo: past.length }, 0).t?.content?.map((step) =>
      step.retain === undefined ? [step.format, step.by?.author.user] : step.retain,
    )

  it('[HIS5] stays theirs where somebody else takes a part of it away', () => {
    const past = turns(
      ['bob', (text) => text.insert(0, '0123456789')],
      ['ann', (text) => text.format(0, 10, { bold: true })],
      ['bob', (text) => text.format(3, 3, { bold: null })],
    )
    expect(who(past)).toEqual([['012', 'ann'], 3, ['6789', 'ann']])
    expect(formattingIn(rolledBack(past, 'ann').doc)).toEqual([['0123456789', {}]])
  })

  it('[HIS5] is each their own where two stretches overlap', () => {
    const past = turns(
      ['bob', (text) => text.insert(0, '0123456789abcdefghij')],
      ['ann', (text) => text.format(0, 10, { bold: true })],
      ['bob', (text) => text.format(5, 10, { bold: true })],
    )
    expect(who(past)).toEqual([
      ['0123456789', 'ann'],
      ['abcde', 'bob'],
    ])
    expect(formattingIn(rolledBack(past, 'ann').doc)).toEqual([
      ['0123456789', {}],
      ['abcde', { bold: true }],
      ['fghij', {}],
    ])
    expect(formattingIn(rolledBack(past, 'bob', 1).doc)).toEqual([
      ['0123456789', { bold: true }],
      ['abcdefghij', {}],
    ])
  })
})
