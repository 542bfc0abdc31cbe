/**
 * The messages of one channel as they lie in its journal: appended, read in ranges, and forgotten when they are too many or
 * too old.
 *
 * Promises: what is answered is without holes; `first` never says that a message is there which cannot be read; times
 * never decrease with the offset, so a time is found by halving.
 */
import { bodyHash, decodeMessage, repeatKey } from './channelEntry.ts'
import type { Page, Range } from './channelMessages.ts'
import type { Appended, Entry, Journals, Offset } from './journal.ts'
import type { ChannelMessage } from './output.ts'
import { type RecentBudget, RecentMessages } from './recentMessages.ts'
import type { Repeats } from './repeats.ts'
import type { Address } from './system/address.ts'
import type { EpochMs } from './world.ts'

export interface HistoryLimits {
  /** Messages that are kept, and for how long. */
  readonly messages: number
  readonly ms: number
  /** Newest messages that are kept in memory. */
  readonly recent: number
}

export interface Stretch {
  /** Ascending, without holes. */
  readonly messages: readonly ChannelMessage[]
  /** These are all in the range that was asked for. */
  readonly isWhole: boolean
}

const pageEntries = 1_000
/** Most of one answer, and of what is replayed: a client that asks and does not read makes the server hold it until its ping runs out. */
const answerBytes = 2 * 1024 * 1024
const recentBytes = 1024 * 1024
const defaultLimit = 50
const largestLimit = 1_000
/** Trimming is a write of its own, so it waits until it is worth one. */
const slackOf = (messages: number): number => Math.max(16, Math.floor(messages / 10))

export class ChannelHistory {
  readonly #journals: Journals
  readonly #journal: string
  readonly #channel: string
  readonly #limits: HistoryLimits
  readonly #recent: RecentMessages
  /** Of the oldest entry in the journal. */
  #oldest: Offset = 1
  /** Of the oldest that is not too old, when it was looked for last. */
  #young: Offset = 1
  /** '' until the first message. */
  epoch = ''
  /** Of the newest message that was published; what is on disk beyond it is on its way to the members. */
  offset: Offset = 0

  constructor(journals: Journals, journal: Address, channel: string, limits: HistoryLimits, budget: RecentBudget) {
    this.#journals = journals
    this.#journal = journal
    this.#channel = channel
    this.#limits = limits
    this.#recent = new RecentMessages(limits.recent, recentBytes, budget)
  }

  /** Of the oldest message that can be had; `offset + 1` when none can. */
  get first(): Offset {
    return Math.max(this.#oldest, this.#young, this.offset - this.#limits.messages + 1)
  }

  /** Reads the tail: the newest messages, and the ids that are to be recognised. Errors: those of the journal. */
  async load(repeats: Repeats, repeatMs: number, now: EpochMs): Promise<void> {
    const { epoch, first, last } = await this.#journals.head(this.#journal)
    this.epoch = epoch
    this.offset = last
    this.#oldest = first
    await this.age(now)
    const messages: ChannelMessage[] = []
    const sizes: number[] = []
    const known: (() => void)[] = []
    let bytes = 0
    for await (const entry of this.#entries(this.#oldest, last, true)) {
      const isNew = entry.time > now - repeatMs && repeats.mayHold(known.length, bytes)
      const isRecent = messages.length < this.#limits.recent && bytes < recentBytes
      if (!isNew && !isRecent) break
      const { message, isOwnId } = decodeMessage(entry, this.#channel, epoch)
      bytes += entry.data.length
      if (isRecent) {
        messages.push(message)
        sizes.push(entry.data.length)
      }
      if (!isNew || !isOwnId) continue
      const id = { offset: entry.offset, time: entry.time, hash: bodyHash(message), bytes: entry.data.length }
      known.push(() => repeats.add(repeatKey(message), id))
    }
    this.#recent.push(messages.reverse(), sizes.reverse())
    for (const add of known.reverse()) add()
  }

  /** On disk when resolved, and not published. One at a time. Errors: those of the journal. */
  async append(entries: readonly Uint8Array[]): Promise<Appended> {
    const appended = await this.#journals.append(this.#journal, entries, { expected: this.offset === 0 ? 'none' : this.offset })
    // A journal has no epoch before its first entry.
    if (this.epoch === '') this.epoch = (await this.#journals.head(this.#journal)).epoch
    return appended
  }

  /** These follow upon `offset`, and are on disk. */
  published(messages: readonly ChannelMessage[], sizes: readonly number[]): void {
    this.offset += messages.length
    this.#recent.push(messages, sizes)
  }

  // ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * The messages from `low` to `high` as far as they are kept, at most `limit` and 2 MiB of them, the first ones or the
   * last ones. A promise only where the disk is read.
   */
  stretch(low: Offset, high: Offset, limit: number, end: 'first' | 'last'): Stretch | Promise<Stretch> {
    const from = Math.max(low, this.first)
    const to = Math.min(high, this.offset)
    const count = Math.min(limit, to - from + 1)
    if (count <= 0) return { messages: [], isWhole: from > to }
    const start = end === 'first' ? from : to - count + 1
    const messages = this.#recent.slice(start, start + count - 1)
    if (messages !== undefined) return { messages, isWhole: count === to - from + 1 }
    return this.#read(from, to, start, start + count - 1, end)
  }

  async #read(from: Offset, to: Offset, low: Offset, high: Offset, end: 'first' | 'last'): Promise<Stretch> {
    const messages: ChannelMessage[] = []
    let bytes = 0
    for await (const entry of this.#entries(low, high, end === 'last')) {
      bytes += entry.data.length
      if (bytes > answerBytes && messages.length > 0) break
      messages.push(decodeMessage(entry, this.#channel, this.epoch).message)
    }
    if (end === 'last') messages.reverse()
    // What was forgotten while it was read is missing at its beginning.
    return { messages, isWhole: messages.length === to - from + 1 }
  }

  async page({ limit = defaultLimit, after = 0, before, since, until, direction = 'backwards' }: Range): Promise<Page> {
    const { epoch, first, offset } = this
    let low = Math.max(after + 1, first)
    let high = Math.min(before === undefined ? offset : before - 1, offset)
    if (since !== undefined) low = Math.max(low, await this.firstWhere((time) => time >= since))
    if (until !== undefined) high = Math.min(high, (await this.firstWhere((time) => time > until)) - 1)
    const most = Math.max(1, Math.min(limit, largestLimit))
    const { messages, isWhole } = await this.stretch(low, high, most, direction === 'forwards' ? 'first' : 'last')
    return { messages, epoch, first, offset, hasMore: !isWhole && messages.length > 0 }
  }

  /** Offset of the first message whose time is so, for a test that stays true once it is; `offset + 1` when there is none. */
  async firstWhere(isSo: (time: EpochMs) => boolean): Promise<Offset> {
    let low = this.first
    let high = this.offset + 1
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      const found = this.#recent.at(middle) ?? (await this.#journals.read(this.#journal, { after: middle - 1, limit: 1 }))[0]
      // An entry that was trimmed meanwhile is passed over: the next one is read, and it is as good.
      if (found === undefined || isSo(found.time)) high = middle
      else low = Math.max(middle, found.offset) + 1
    }
    return low
  }

  /** Entries from `low` to `high`, or the other way round, page by page. */
  async *#entries(low: Offset, high: Offset, isReverse: boolean): AsyncGenerator<Entry> {
    let after = isReverse ? high + 1 : low - 1
    for (;;) {
      const limit = Math.min(pageEntries, isReverse ? after - low : high - after)
      if (limit <= 0) return
      const entries = await this.#journals.read(this.#journal, { after, limit, maxBytes: answerBytes, reverse: isReverse })
      if (entries.length === 0) return
      for (const entry of entries) {
        if (entry.offset < low || entry.offset > high) return
        yield entry
        after = entry.offset
      }
    }
  }

  /** Nobody reads here any more. */
  close(): void {
    this.#recent.forget()
  }

  // ── forgetting ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** So many messages more than are kept that it is worth a write. */
  get hasTooMany(): boolean {
    return this.first - this.#oldest > slackOf(this.#limits.messages)
  }

  /** From now on what is too old cannot be had. Errors: those of the journal. */
  async age(now: EpochMs): Promise<void> {
    const isYoung = (time: EpochMs) => time > now - this.#limits.ms
    const [oldest] = await this.#journals.read(this.#journal, { after: this.first - 1, limit: 1 })
    if (oldest !== undefined && !isYoung(oldest.time)) this.#young = await this.firstWhere(isYoung)
  }

  /** Removes from the disk what cannot be had any more. Errors: those of the journal. */
  async trim(): Promise<void> {
    const before = this.first
    if (before === this.#oldest) return
    await this.#journals.trim(this.#journal, before)
    this.#oldest = before
  }
}
