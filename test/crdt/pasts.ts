/** Histories to test with: several people who edit one document, and what a server would have kept of it. */
import * as Y from 'yjs'
import type { Content } from '../../crdt/content.ts'
import { type PastChange, packChanges } from '../../crdt/history.ts'
import { inspectUpdate, storedLimits } from '../../crdt/update.ts'
import { type Random, random, session } from './sessions.ts'
import { trace } from './traces.ts'

/** The characters of a text. */
export const textOf = ({ content = [] }: Content = {}): string => content.map(({ insert }) => insert).join('')

/** Blocks of at most so many changes. */
export const blocksOf = (changes: readonly PastChange[], size = 50): Uint8Array[] => {
  const blocks: Uint8Array[] = []
  for (let i = 0; i < changes.length; i += size) blocks.push(packChanges(changes.slice(i, i + size)))
  return blocks
}

/** One change a second, by the user that `of` names. */
export const pastOf = (updates: readonly Uint8Array[], of: (index: number) => string): PastChange[] =>
  updates.map((update, index) => ({ offset: index + 1, time: 1_000 * (index + 1), author: { user: of(index), via: '' }, update }))

/** A session of random edits; who made a change is told from the client whose structs it brings, or who deleted. */
export const randomPast = (seed: number, steps = 120): PastChange[] => {
  const { updates, docs } = session(seed, steps)
  return pastOf(updates, (index) => {
    const found = inspectUpdate(updates[index] as Uint8Array, storedLimits)
    const client = found.ok ? found.ranges[0]?.client : undefined
    return `user${docs.findIndex(({ clientID }) => clientID === client)}`
  })
}

/** Several people with a document each, who write unlike characters into one text, so that each can be told apart. */
export const writers = (seed: number, steps: number, people: readonly string[]) => {
  const r = random(seed)
  const updates: { user: string; update: Uint8Array }[] = []
  const docs = people.map((user, i) => {
    const doc = new Y.Doc()
    doc.clientID = 10 + i
    doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin !== 'log') updates.push({ user, update })
    })
    return doc
  })
  const writer = new Map<string, string>()
  /** Whoever's deletion reaches the server first. */
  const remover = new Map<string, string>()
  let next = 0x4e00
  const read = people.map(() => 0)
  for (let step = 0; step < steps; step++) {
    const i = r.below(people.length)
    const user = people[i] as string
    const doc = docs[i] as Y.Doc
    const text = doc.getText('t')
    if (r.below(2) === 0)
      for (; (read[i] as number) < updates.length; read[i] = (read[i] as number) + 1)
        Y.applyUpdate(doc, (updates[read[i] as number] as { update: Uint8Array }).update, 'log')
    if (r.below(3) > 0 || text.length === 0) {
      const chars = String.fromCharCode(...Array.from({ length: 1 + r.below(3) }, () => next++))
      for (const char of chars) writer.set(char, user)
      text.insert(r.below(text.length + 1), chars)
    } else {
      const at = r.below(text.length)
      const length = Math.min(text.length - at, 1 + r.below(4))
      for (const char of text.toString().slice(at, at + length)) if (!remover.has(char)) remover.set(char, user)
      text.delete(at, length)
    }
  }
  const past = pastOf(
    updates.map(({ update }) => update),
    (index) => (updates[index] as { user: string }).user,
  )
  /** All characters that ever were, in the order of the document. */
  const order = (): string => {
    const whole = new Y.Doc({ gc: false })
    for (const { update } of past) Y.applyUpdate(whole, update)
    return charsOf(whole.getText('t'))
  }
  return { past, writer, remover, order }
}

/** Deleted characters included. */
export const charsOf = (text: Y.Text): string => {
  let chars = ''
  for (let item = text._start; item !== null; item = item.right) if (item.content instanceof Y.ContentString) chars += item.content.str
  return chars
}

/**
 * A trace of two people who write at the same time, typed into a document each, merged when the trace says so. `removedBy` says of
 * each deleted character, as `client:clock`, who deleted it first.
 */
export const typedTrace = (name: string) => {
  const { txns, endContent } = trace(name)
  const agents = new Set(txns.map(({ agent = 0 }) => agent))
  const docs = [...agents].map((agent) => {
    const doc = new Y.Doc({ gc: false })
    doc.clientID = 100 + agent // the recorded text has agent 0 before agent 1 where both wrote at one place
    return doc
  })
  const updates: { agent: number; update: Uint8Array }[] = []
  const removedBy = new Map<string, number>()
  const seen = docs.map(() => -1)
  for (const [index, { agent = 0, parents = [index - 1], patches }] of txns.entries()) {
    const doc = docs[agent] as Y.Doc
    const upTo = Math.max(seen[agent] as number, ...parents.filter((parent) => txns[parent]?.agent !== agent))
    for (let i = (seen[agent] as number) + 1; i <= upTo; i++) {
      const other = updates[i] as { agent: number; update: Uint8Array }
      if (other.agent !== agent) Y.applyUpdate(doc, other.update, 'log')
    }
    seen[agent] = upTo
    const text = doc.getText('t')
    const before = Y.encodeStateVector(doc)
    const deleted: string[] = []
    const note = ({ deleteSet }: Y.Transaction) => {
      for (const [client, ranges] of deleteSet.clients)
        for (const { clock, len } of ranges) for (let at = clock; at < clock + len; at++) deleted.push(`${client}:${at}`)
    }
    doc.once('afterTransaction', note)
    let update: Uint8Array | undefined
    const keep = (made: Uint8Array) => {
      update = made
    }
    doc.once('update', keep)
    doc.transact(() => {
      for (const [position, length, inserted] of patches) {
        if (length > 0) text.delete(position, length)
        if (inserted !== '') text.insert(position, inserted)
      }
    })
    doc.off('update', keep)
    for (const id of deleted) if (!removedBy.has(id)) removedBy.set(id, agent)
    updates.push({ agent, update: update ?? Y.encodeStateAsUpdate(doc, before) })
  }
  const past = pastOf(
    updates.map(({ update }) => update),
    (index) => `agent${(updates[index] as { agent: number }).agent}`,
  )
  return { past, removedBy, endContent }
}

/**
 * Several people with a document each: in each step one of them may read what others have sent, acts, and may send. The first step is the
 * first person's and reaches everybody. What Yjs sweeps up on reading is sent, too, as providers do.
 */
export const together = (seed: number, steps: number, people: readonly string[], act: (doc: Y.Doc, person: number, r: Random) => void) => {
  const r = random(seed)
  const sent: { user: string; update: Uint8Array }[] = []
  const docs = people.map((_, i) => {
    const doc = new Y.Doc({ gc: r.below(2) === 0 })
    doc.clientID = 10 + i
    return doc
  })
  const unsent: Uint8Array[][] = people.map(() => [])
  for (const [i, doc] of docs.entries())
    doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin !== 'log') unsent[i]?.push(update)
    })
  const read = people.map(() => 0)
  const reads = (i: number) => {
    for (const { update } of sent.slice(read[i])) Y.applyUpdate(docs[i] as Y.Doc, update, 'log')
    read[i] = sent.length
  }
  const sends = (i: number) => {
    const updates = unsent[i]?.splice(0) ?? []
    if (updates.length > 0) sent.push({ user: people[i] as string, update: Y.mergeUpdates(updates) })
  }
  for (let step = 0; step < steps; step++) {
    const i = step === 0 ? 0 : r.below(people.length)
    if (r.below(5) < 3) reads(i)
    act(docs[i] as Y.Doc, i, r)
    if (r.below(10) < 7) sends(i)
    if (step === 0) {
      sends(0)
      for (const all of people.keys()) reads(all)
    }
  }
  for (const i of people.keys()) sends(i)
  return pastOf(
    sent.map(({ update }) => update),
    (index) => (sent[index] as { user: string }).user,
  )
}
