/**
 * Formatting over time. A mark says what holds from its place on until the next one of its name, and editors put marks where they
 * suit: whoever takes the bold off the middle of a bold line writes the mark that makes its end bold again. So who formatted what
 * cannot be told from who wrote the marks, but from when the value changed that holds at a place, and by which edit.
 */
import * as Y from 'yjs'
import type { Value } from './content.ts'
import type { Edit, Traced } from './historyReplay.ts'

/** From an edit on, a value holds. */
interface Spell {
  readonly order: number
  /** Undefined: since before the period. */
  readonly edit: Edit | undefined
  readonly value: Value
}

export interface FormatChange {
  readonly key: string
  /** null: none. */
  readonly before: Value
  readonly after: Value
  /** The last one that changed the value. */
  readonly edit: Edit
}

const isSame = (a: Value, b: Value): boolean => a === b || JSON.stringify(a) === JSON.stringify(b)

const atFirst: readonly Spell[] = [{ order: -1, edit: undefined, value: null }]

/** The formatting at one place of a sequence, which goes from left to right. */
export class Formatting {
  readonly #traced: Pick<Traced, 'inserted' | 'deleted'>
  /** Of each name, in the order of time; neighbours have unlike values. */
  readonly #spells = new Map<string, readonly Spell[]>()
  #before: ReadonlyMap<string, Value> | undefined
  #after: ReadonlyMap<string, Value> | undefined
  #without: ReadonlyMap<string, Value> | undefined
  #changed: readonly FormatChange[] | undefined

  constructor(traced: Pick<Traced, 'inserted' | 'deleted'>) {
    this.#traced = traced
  }

  /** Goes past a mark: what it says holds here for the time in which it is there, and what held before it for the rest of time. */
  pass({ id, deleted }: Y.Item, { key, value }: Y.ContentFormat): void {
    const bringer = this.#traced.inserted.editOf(id)
    const remover = deleted ? this.#traced.deleted.editOf(id) : undefined
    if (deleted && remover === undefined) return // before the period
    const from = bringer?.order ?? -1
    const to = remover?.order ?? Number.POSITIVE_INFINITY
    if (to <= from) return
    const held = this.#spells.get(key) ?? atFirst
    const spells = [...held.filter(({ order }) => order < from), { order: from, edit: bringer, value: value as Value }]
    const next = held.findLast(({ order }) => order <= to)
    if (remover !== undefined && next !== undefined) spells.push({ order: to, edit: remover, value: next.value })
    spells.push(...held.filter(({ order }) => order > to))
    this.#spells.set(
      key,
      spells.filter((spell, at) => at === 0 || !isSame(spell.value, spells[at - 1]?.value)),
    )
    this.#before = this.#after = this.#without = this.#changed = undefined
  }

  /** Before the period. */
  get before(): ReadonlyMap<string, Value> {
    this.#before ??= this.#at((spells) => spells[0])
    return this.#before
  }

  /** After the period. */
  get after(): ReadonlyMap<string, Value> {
    this.#after ??= this.#at((spells) => spells.at(-1))
    return this.#after
  }

  /** What all but the wanted edits made of it. */
  get withoutWanted(): ReadonlyMap<string, Value> {
    this.#without ??= this.#at((spells) => spells.findLast(({ edit }) => edit?.isWanted !== true))
    return this.#without
  }

  get changed(): readonly FormatChange[] {
    if (this.#changed !== undefined) return this.#changed
    const found: FormatChange[] = []
    for (const [key, spells] of [...this.#spells].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const [first, last] = [spells[0], spells.at(-1)]
      if (first !== undefined && last?.edit !== undefined && !isSame(first.value, last.value))
        found.push({ key, before: first.value, after: last.value, edit: last.edit })
    }
    this.#changed = found
    return found
  }

  #at(choose: (spells: readonly Spell[]) => Spell | undefined): ReadonlyMap<string, Value> {
    const found = new Map<string, Value>()
    for (const [key, spells] of this.#spells) {
      const value = choose(spells)?.value ?? null
      if (value !== null) found.set(key, value)
    }
    return found
  }
}

// ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** What is to hold for each item of a sequence, and behind its last one. */
export interface WantedFormatting {
  readonly of: (item: Y.Item) => ReadonlyMap<string, Value> | undefined
  readonly atEnd: ReadonlyMap<string, Value>
  /** Marks that are not to stay where others say the same. */
  readonly isUnwanted: (mark: Y.Item) => boolean
}

type Parent = Y.AbstractType<unknown>

/** Gives a sequence the formatting that is wanted: marks that are not needed for it are deleted, and those that lack are written. */
export const reformat = (transaction: Y.Transaction, type: Parent, wanted: WantedFormatting): void => {
  let shown: ReadonlyMap<string, Value> = new Map()
  let gap: Y.Item[] = []
  let last: Y.Item | null = null
  for (let item = type._start; item !== null; item = item.right) {
    last = item
    if (item.deleted) continue
    if (item.content instanceof Y.ContentFormat) gap.push(item)
    else if (item.countable) {
      const wants = wanted.of(item)
      if (gap.length > 0 || (wants !== undefined && wants !== shown))
        shown = settleGap({ transaction, type, shown, gap, wants, left: item.left, right: item, isUnwanted: wanted.isUnwanted })
      gap = []
    }
  }
  settleGap({ transaction, type, shown, gap, wants: wanted.atEnd, left: last, right: null, isUnwanted: wanted.isUnwanted })
}

interface Gap extends Pick<WantedFormatting, 'isUnwanted'> {
  readonly transaction: Y.Transaction
  readonly type: Parent
  /** What holds before it. */
  readonly shown: ReadonlyMap<string, Value>
  /** The marks in it. */
  readonly gap: readonly Y.Item[]
  /** What is to hold behind it; undefined: whatever the marks say. */
  readonly wants: ReadonlyMap<string, Value> | undefined
  /** Its ends. */
  readonly left: Y.Item | null
  readonly right: Y.Item | null
}

/** Returns what holds behind it then. */
const settleGap = ({ transaction, type, shown, gap, wants, left, right, isUnwanted }: Gap): ReadonlyMap<string, Value> => {
  const holds = new Map(shown)
  const marks = new Map<string, Y.Item[]>()
  for (const item of gap) {
    const { key } = item.content as Y.ContentFormat
    marks.set(key, [...(marks.get(key) ?? []), item])
  }
  for (const key of new Set([...shown.keys(), ...marks.keys(), ...(wants ?? shown).keys()])) {
    const here = marks.get(key) ?? []
    const held = shown.get(key) ?? null
    const sayOf = (items: readonly Y.Item[]): Value => {
      const last = items.at(-1)
      return last === undefined ? held : (last.content as Y.ContentFormat).value
    }
    const value = wants === undefined ? sayOf(here) : (wants.get(key) ?? null)
    const others = here.filter((mark) => !isUnwanted(mark))
    if (isSame(sayOf(others), value)) remove(transaction, here.filter(isUnwanted))
    else if (isSame(held, value)) remove(transaction, here)
    else if (!isSame(sayOf(here), value)) {
      remove(transaction, here)
      left = insert(transaction, type, new Y.ContentFormat(key, value as object), left, right)
    }
    if (value === null) holds.delete(key)
    else holds.set(key, value)
  }
  return wants ?? holds
}

const remove = (transaction: Y.Transaction, items: readonly Y.Item[]): void => {
  for (const item of items) item.delete(transaction)
}

const insert = (transaction: Y.Transaction, type: Parent, mark: Y.ContentFormat, left: Y.Item | null, right: Y.Item | null): Y.Item => {
  const { clientID, store } = transaction.doc
  const id = Y.createID(clientID, Y.getState(store, clientID))
  const item = new Y.Item(id, left, left?.lastId ?? null, right, right?.id ?? null, type, null, mark)
  item.integrate(transaction, 0)
  return item
}
