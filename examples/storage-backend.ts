/**
 * A storage backend of your own: one file of JSON lines for each journal.
 *
 *   npm start -- --set plugins=dist/programs/storage-backend.js --set storage.backend=files
 *
 * It keeps the whole contract of journals (what was acknowledged is on disk, what was refused is not), and it is small: it
 * holds every journal in memory, reads all of them at start, flushes once for each append, and writes a file anew at every
 * snapshot and trim. It has no lock against a second process, no checksums and no backup, and takes a full disk for a broken
 * one. Good for some ten thousand entries; the built-in backend is for more.
 *
 *   {"journal":"channel/general","epoch":"…","first":1,"time":0}     first line; with `snapshot` if there is one
 *   {"time":1700000000000,"data":["base64",…]}                       one append: all of it is there, or none
 */
import { createHash } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type Appended,
  definePlugin,
  type Entry,
  type Head,
  type Journals,
  journalRules,
  type OpenJournals,
  type ReadOptions,
  type Snapshot,
  StatusBoard,
  type StorageStatus,
  TroupeError,
} from 'troupe'

interface Journal {
  readonly epoch: string
  first: number
  /** Of the last write. */
  time: number
  /** Entry of offset n is at n - first. */
  entries: Entry[]
  snapshot?: Snapshot
}

const lastOf = ({ first, entries }: Journal): number => first + entries.length - 1

// ── lines and files ────────────────────────────────────────────────────────────────────────────────────────────────

const toText = (data: Uint8Array): string => Buffer.from(data).toString('base64')
const toBytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'))
const appendLine = (time: number, data: readonly Uint8Array[]): string => `${JSON.stringify({ time, data: data.map(toText) })}\n`

const textOf = (name: string, { epoch, first, time, entries, snapshot }: Journal): string => {
  const stored = snapshot && { ...snapshot, data: toText(snapshot.data) }
  const head = JSON.stringify({ journal: name, epoch, first, time, snapshot: stored })
  return `${head}\n${entries.map((entry) => appendLine(entry.time, [entry.data])).join('')}`
}

const parse = (text: string): { readonly name: string; readonly journal: Journal } => {
  const [head, ...appends] = text.split('\n').map((line) => JSON.parse(line))
  const journal: Journal = { epoch: head.epoch, first: head.first, time: head.time, entries: [] }
  if (head.snapshot !== undefined) journal.snapshot = { ...head.snapshot, data: toBytes(head.snapshot.data) }
  for (const { time, data } of appends) {
    for (const entry of data) journal.entries.push({ offset: lastOf(journal) + 1, time, data: toBytes(entry) })
    journal.time = time
  }
  return { name: head.journal, journal }
}

/** A name may be longer than a file name, and hold any character. */
const fileOf = (name: string): string => `${createHash('sha256').update(name).digest('hex')}.jsonl`

/** Adds to the file, flushed. When that fails, the file is what it was before. */
const extend = async (path: string, text: string): Promise<void> => {
  const file = await open(path, 'a')
  const { size } = await file.stat()
  try {
    await file.appendFile(text)
    await file.sync()
  } catch (error) {
    await file.truncate(size)
    throw error
  } finally {
    await file.close()
  }
}

/** New names and removed ones are on disk only when their directory is. */
const syncDirectory = async (directory: string): Promise<void> => {
  const handle = await open(directory, 'r')
  await handle.sync().finally(() => handle.close())
}

/** The old file stays until the new one is on disk. */
const replace = async (directory: string, file: string, text: string): Promise<void> => {
  const draft = join(directory, `${file}.draft`)
  await rm(draft, { force: true })
  await extend(draft, text)
  await rename(draft, join(directory, file))
  await syncDirectory(directory)
}

// ── journals ───────────────────────────────────────────────────────────────────────────────────────────────────────

class FileJournals implements Journals {
  readonly #directory: string
  readonly #options: OpenJournals
  readonly #board: StatusBoard
  readonly #journals = new Map<string, Journal>()
  /** The last call for each journal: calls for one journal take effect in their order, each when it is on disk. */
  readonly #turns = new Map<string, Promise<unknown>>()

  constructor(options: OpenJournals) {
    this.#options = options
    this.#directory = join(options.directory, 'journals')
    this.#board = new StatusBoard(options.log)
  }

  /** Errors: `storage.corrupt`. */
  async load(): Promise<this> {
    await mkdir(this.#directory, { recursive: true })
    for (const file of await readdir(this.#directory)) {
      const path = join(this.#directory, file)
      const bytes = await readFile(path)
      const end = bytes.lastIndexOf('\n') // what is behind it was being written when the process ended, and nobody was told
      if (end < 0 || file.endsWith('.draft')) {
        await rm(path)
        continue
      }
      if (end + 1 < bytes.length) await truncate(path, end + 1)
      try {
        const { name, journal } = parse(bytes.toString('utf8', 0, end))
        this.#journals.set(name, journal)
      } catch (error) {
        throw new TroupeError('storage.corrupt', path, { cause: error })
      }
    }
    return this
  }

  append(name: string, entries: readonly Uint8Array[], options?: { readonly expected?: number | 'none' }): Promise<Appended> {
    const data = entries.map((entry) => Uint8Array.from(entry)) // the caller may use its bytes again at once
    return this.#inTurn(name, async (found) => {
      const last = found === undefined ? 0 : lastOf(found)
      journalRules.admitEntries(data, this.#options.maxEntryBytes ?? journalRules.defaultMaxEntryBytes)
      journalRules.admitExpected(options?.expected, last)
      if (data.length === 0) return { first: last + 1, last, time: found?.time ?? 0 }
      const time = this.#timeAfter(found)
      const added = data.map((entry, i) => ({ offset: last + 1 + i, time, data: entry }))
      if (found === undefined) await this.#write(name, { ...this.#newJournal(), time, entries: added })
      else {
        await this.#attempt(() => extend(join(this.#directory, fileOf(name)), appendLine(time, data)))
        found.entries.push(...added)
        found.time = time
      }
      return { first: last + 1, last: last + data.length, time }
    })
  }

  read(name: string, options: ReadOptions = {}): Promise<Entry[]> {
    return this.#inTurn(name, async (journal) => {
      if (journal === undefined) return []
      const page = new journalRules.Page(options)
      const { low, high } = journalRules.readRange(options, journal.first, lastOf(journal))
      const wanted = journal.entries.slice(low - journal.first, Math.max(low, high + 1) - journal.first)
      if (options.reverse === true) wanted.reverse()
      for (const entry of wanted) if (!page.take(entry)) break
      return page.entries
    })
  }

  head(name: string): Promise<Head> {
    return this.#inTurn(name, async (journal) =>
      journal === undefined ? { epoch: '', first: 1, last: 0 } : { epoch: journal.epoch, first: journal.first, last: lastOf(journal) },
    )
  }

  snapshot(name: string): Promise<Snapshot | undefined> {
    return this.#inTurn(name, async (journal) => journal?.snapshot)
  }

  saveSnapshot(name: string, offset: number, given: Uint8Array, options?: { readonly trim?: boolean }): Promise<void> {
    const data = Uint8Array.from(given)
    return this.#inTurn(name, async (found) => {
      const journal = found ?? this.#newJournal()
      journalRules.admitSnapshot(offset, lastOf(journal))
      const first = options?.trim === true ? journalRules.trimmedFirst(offset + 1, journal.first, lastOf(journal)) : journal.first
      const entries = journal.entries.slice(first - journal.first)
      await this.#write(name, { ...journal, first, entries, snapshot: { offset, time: this.#timeAfter(found), data } })
    })
  }

  trim(name: string, before: number): Promise<void> {
    return this.#inTurn(name, async (journal) => {
      if (journal === undefined) return
      const first = journalRules.trimmedFirst(before, journal.first, lastOf(journal))
      if (first > journal.first) await this.#write(name, { ...journal, first, entries: journal.entries.slice(first - journal.first) })
    })
  }

  remove(name: string): Promise<void> {
    return this.#inTurn(name, async (journal) => {
      if (journal === undefined) return
      await this.#attempt(async () => {
        await rm(join(this.#directory, fileOf(name)))
        await syncDirectory(this.#directory)
      })
      this.#journals.delete(name)
    })
  }

  async list(prefix: string, { after = '', limit = journalRules.defaultListLimit } = {}): Promise<string[]> {
    this.#admitCall()
    return [...this.#journals.keys()]
      .filter((name) => name.startsWith(prefix) && Buffer.compare(Buffer.from(name), Buffer.from(after)) > 0)
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      .slice(0, limit)
  }

  status(): StorageStatus {
    return this.#board.status
  }

  onStatus(changed: (status: StorageStatus) => void): () => void {
    return this.#board.listen(changed)
  }

  async close(): Promise<void> {
    this.#board.set({ state: 'closed' })
    await Promise.all(this.#turns.values())
  }

  #admitCall(): void {
    if (this.#board.status.state === 'closed') throw new TroupeError('storage.closed')
  }

  async #inTurn<Result>(name: string, work: (journal: Journal | undefined) => Promise<Result>): Promise<Result> {
    this.#admitCall()
    journalRules.nameKey(name)
    const turn = (this.#turns.get(name) ?? Promise.resolve()).then(() => work(this.#journals.get(name)))
    const over = turn.then(
      () => undefined,
      () => undefined,
    )
    this.#turns.set(name, over)
    over.then(() => this.#turns.get(name) === over && this.#turns.delete(name))
    return turn
  }

  #newJournal(): Journal {
    return { epoch: this.#options.random.id(), first: 1, time: 0, entries: [] }
  }

  /** The clock of a machine may be set back; that of a journal does not go back. */
  #timeAfter(journal: Journal | undefined): number {
    return Math.max(this.#options.clock.now(), journal?.time ?? 0)
  }

  async #write(name: string, journal: Journal): Promise<void> {
    await this.#attempt(() => replace(this.#directory, fileOf(name), textOf(name, journal)))
    this.#journals.set(name, journal)
  }

  /** After a failed flush nobody knows what is on disk but a process that reads it anew, so no write is tried again. */
  async #attempt(write: () => Promise<void>): Promise<void> {
    const { status } = this.#board
    if (status.state === 'failed') throw new TroupeError('storage.failed', status.reason)
    try {
      await write()
    } catch (error) {
      this.#board.set({ state: 'failed', since: this.#options.clock.now(), reason: String(error) })
      throw new TroupeError('storage.failed', String(error), { cause: error })
    }
  }
}

export default definePlugin({ name: 'storage-backend', storage: { files: (options) => new FileJournals(options).load() } })
