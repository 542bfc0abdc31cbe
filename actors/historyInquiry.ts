/** One request about the past of a document, while it is its turn: what to read, what the worker makes of it, what is written. */
import type { Author, RequestKey } from '../crdt/change.ts'
import { type ChangeGroup, joinGroups, packChanges, unpackChanges } from '../crdt/history.ts'
import type { Material, Period } from '../crdt/historyReplay.ts'
import type { Live, Reverted } from '../crdt/historyRevert.ts'
import type { DocumentWork, Readable } from '../crdt/work.ts'
import type { DocumentLog } from './documentLog.ts'
import type { DocumentMessage, Edited } from './documentMessages.ts'
import { checkSame } from './documentRequests.ts'
import { TroupeError } from './errors.ts'
import type { HistoryJournal, StoredState } from './historyJournal.ts'
import type { HistoryDifference, HistoryPage, HistoryRequest, HistoryView, Moment, Place, Pruned, Reversion } from './historyMessages.ts'
import type { HistoryOptions } from './historyOptions.ts'
import type { NamedVersion } from './historyVersions.ts'
import type { Offset } from './journal.ts'
import type { EpochMs } from './world.ts'

/** What it needs of the document in memory. */
export interface HistoryHost {
  readonly log: DocumentLog
  /** Whether there is a document; it may be on its way to another name. */
  readonly existence: {
    readonly isBusy: boolean
    readonly refusal: TroupeError | undefined
    readonly epoch: { current(): Promise<string> }
    whenFree(): Promise<void>
  }
  readonly changes: {
    edit(message: Extract<DocumentMessage, { type: 'document.edit' }>): Promise<Edited>
    recall(request: RequestKey | undefined): Promise<Edited | undefined>
  }
}

export interface InquiryNeeds {
  readonly work: DocumentWork
  readonly journal: HistoryJournal
  readonly options: HistoryOptions
  readonly host: HistoryHost
  readonly now: EpochMs
}

type Request<Type extends HistoryRequest['type']> = Extract<HistoryRequest, { type: Type }>
type Answers = { readonly [Type in HistoryRequest['type']]: (request: Request<Type>) => Promise<unknown> }

/** A moment that was found; `version` when it was asked for by its name. */
interface Found {
  readonly offset: Offset
  readonly version?: NamedVersion
}

const mebibyte = 1024 * 1024
const dayMs = 24 * 3_600_000
const defaultKeepMs = 90 * dayMs
const defaultKeepBytes = 64 * mebibyte
const defaultReplayBytes = 64 * mebibyte
const defaultDiffBytes = 8 * mebibyte
const defaultVersions = 1_000
const defaultGapMs = 5 * 60_000
const defaultGroups = 50
const mostGroups = 1_000
/** Bytes of changes that one page looks at; where it stops, a group may be cut in two. */
const pageBytes = 32 * mebibyte
/** To write so much anew costs less than to keep what is too old; more waits until a state lies between old and new. */
const rewrittenBytes = mebibyte
/** What is too old goes when so much of the whole time has passed since, so that not each compaction prunes a little. */
const overdueShare = 1 / 8

/** Errors: `document.misfit` for what nests too deep to be shown, `document.history_too_large`. */
const read = async <Value>(answer: Promise<Readable<Value>>): Promise<Value> => {
  const found = await answer
  if (found.ok) return found.value
  throw new TroupeError(found.isTooLarge ? 'document.history_too_large' : 'document.misfit', found.detail)
}

export class HistoryInquiry {
  readonly #work: DocumentWork
  readonly #journal: HistoryJournal
  readonly #options: HistoryOptions
  readonly #host: HistoryHost
  readonly #now: EpochMs
  /** The document after the last change on disk, when its turn came. */
  readonly #live: Live

  constructor({ work, journal, options, host, now }: InquiryNeeds) {
    this.#work = work
    this.#journal = journal
    this.#options = options
    this.#host = host
    this.#now = now
    const { saved, unsaved, document } = host.log
    this.#live = { at: saved, snapshot: document.snapshot, tail: document.tail.slice(0, document.tail.length - unsaved) }
  }

  answer(request: HistoryRequest): Promise<unknown> {
    return (this.#answers[request.type] as (request: HistoryRequest) => Promise<unknown>)(request) // the table has it for this type
  }

  readonly #answers: Answers = {
    'document.history': (request) => this.#page(request),
    'document.view': (request) => this.#view(request),
    'document.diff': (request) => this.#difference(request),
    'document.version.list': async () => (await this.#journal.versions.list()).versions,
    'document.version.create': (request) => this.#createVersion(request),
    'document.version.rename': (request) => this.#renameVersion(request),
    'document.version.delete': (request) => this.#deleteVersion(request),
    'document.restore': (request) => this.#restore(request),
    'document.rollback': (request) => this.#rollback(request),
    'document.prune': ({ before }) => (before === undefined ? this.#retain() : this.#forget(before)),
  }

  /** Of the last change that is looked at. */
  get #last(): Offset {
    return this.#live.at
  }

  get #replayBytes(): number {
    return this.#options.replayBytes ?? defaultReplayBytes
  }

  /** Before anything is written: the next incarnation of the document may have its own requests. */
  #check(): void {
    if (this.#host.log.background.isOver) throw new TroupeError('document.unavailable', 'it was closed meanwhile; ask again')
  }

  // ── moments ────────────────────────────────────────────────────────────────────────────────────────────────────

  async #find(moment: Moment): Promise<Found> {
    if ('version' in moment) {
      const version = await this.#version(moment.version)
      return { offset: version.offset, version }
    }
    if ('offset' in moment) {
      if (moment.offset <= this.#last) return { offset: moment.offset }
      throw new TroupeError('command.bad_parameters', `offset: the last change is ${this.#last}`)
    }
    const found = await this.#journal.blockAtTime(moment.time, this.#last)
    if (found === undefined) throw new TroupeError('document.pruned', 'at that time')
    const offset = found.block.length === 0 ? undefined : await this.#work.run('offsetAt', [found.block], moment.time)
    return { offset: offset ?? found.before }
  }

  /** Now, without `to`. */
  async #end(to: Moment | undefined, start: Found): Promise<Found> {
    const end = to === undefined ? { offset: this.#last } : await this.#find(to)
    if (start.offset > end.offset) throw new TroupeError('command.bad_parameters', 'from: it comes after `to`')
    return end
  }

  /** What is needed to show the document at a moment. A version that outlived the history is a state of its own. */
  async #material({ offset, version }: Found, to = offset): Promise<Material> {
    if (version !== undefined && (await this.#isForgotten(version)))
      return { base: await this.#journal.versions.keptState(version), baseAt: offset, blocks: [] }
    return this.#journal.material(offset, to, this.#replayBytes)
  }

  async #isForgotten({ offset }: NamedVersion): Promise<boolean> {
    return offset < (await this.#journal.firstMoment()).offset
  }

  // ── looking ────────────────────────────────────────────────────────────────────────────────────────────────────

  async #page({ after, before, limit = defaultGroups, gapMs = defaultGapMs }: Request<'document.history'>): Promise<HistoryPage> {
    const most = Math.min(Math.max(1, limit), mostGroups)
    const isForwards = after !== undefined
    const start = Math.min(after ?? before ?? Number.POSITIVE_INFINITY, this.#last + 1)
    const [from, to] = isForwards ? [start + 1, this.#last] : [0, start - 1]
    const { offset: first, bytes } = await this.#journal.firstMoment()
    let groups: ChangeGroup[] = []
    let seen = 0
    for await (const block of this.#journal.blocks(start, isForwards, this.#last)) {
      const rest = isForwards ? { from: (groups.at(-1)?.to ?? from - 1) + 1, to } : { from, to: (groups[0]?.from ?? to + 1) - 1 }
      const found = await this.#work.run('groupChanges', [block], rest, gapMs)
      groups = isForwards ? joinGroups(groups, found, gapMs) : joinGroups(found, groups, gapMs)
      seen += block.length
      if (groups.length > most || seen > pageBytes) break
    }
    const shown = isForwards ? groups.slice(0, most) : groups.slice(-most).reverse()
    const end = shown.at(-1)
    const isMore = end !== undefined && (isForwards ? end.to < this.#last : end.from > first + 1)
    return { groups: shown, ...(isMore ? { next: isForwards ? end.to : end.from } : {}), first, last: this.#last, bytes }
  }

  async #view({ at, withContent }: Request<'document.view'>): Promise<HistoryView> {
    const found = await this.#find(at)
    return { offset: found.offset, ...(await this.#show(found, withContent)) }
  }

  async #show(found: Found, withContent: boolean) {
    return read(this.#work.run('historyView', await this.#material(found), found.offset, withContent))
  }

  async #difference({ from, to, gapMs = defaultGapMs }: Request<'document.diff'>): Promise<HistoryDifference> {
    const start = await this.#find(from)
    const end = await this.#end(to, start)
    const range = { from: start.offset, to: end.offset }
    if (start.version === undefined || !(await this.#isForgotten(start.version))) {
      const period = { after: start.offset, upTo: end.offset }
      return { ...range, roots: await this.#compare(await this.#material(start, end.offset), period, gapMs) }
    }
    // What happened since is forgotten in part: the difference is there, but nobody knows who made it.
    const material = await this.#material(start)
    const { update } = await this.#show(end, false)
    const change = { offset: start.offset + 1, time: this.#now, author: { user: '', via: 'forgotten' }, update }
    const period = { after: start.offset, upTo: change.offset }
    return { ...range, roots: await this.#compare({ ...material, blocks: [packChanges([change])] }, period, gapMs) }
  }

  async #compare(material: Material, period: Period, gapMs: number) {
    return read(this.#work.run('historyDiff', material, period, gapMs, this.#options.diffBytes ?? defaultDiffBytes))
  }

  // ── going back ─────────────────────────────────────────────────────────────────────────────────────────────────

  async #restore({ to, user, expected, request }: Request<'document.restore'>): Promise<Reversion> {
    const done = await this.#host.changes.recall(request)
    if (done !== undefined) return reversionOf(done)
    await this.#demand(expected)
    const found = await this.#find(to)
    const material = await this.#material(found, this.#last)
    const reverted = await read(this.#work.run('historyRestore', material, found.offset, this.#live))
    return this.#edit(reverted, { user, via: 'restore' }, expected !== undefined, request)
  }

  async #rollback({ of, from, to, user, expected, request }: Request<'document.rollback'>): Promise<Reversion> {
    const done = await this.#host.changes.recall(request)
    if (done !== undefined) return reversionOf(done)
    await this.#demand(expected)
    const start = from === undefined ? await this.#journal.firstMoment() : await this.#find(from)
    const end = await this.#end(to, start)
    const material = await this.#journal.material(start.offset, this.#last, this.#replayBytes)
    const period = { after: start.offset, upTo: end.offset, author: of }
    const reverted = await read(this.#work.run('historyRollback', material, period, this.#live))
    return this.#edit(reverted, { user, via: 'rollback' }, expected !== undefined, request)
  }

  /** Errors: `document.changed`. */
  async #demand(expected: readonly Place[] | undefined): Promise<void> {
    if (expected === undefined) return
    const current = await this.#host.existence.epoch.current()
    this.#check()
    const isThere = expected.some(({ epoch, offset }) => epoch === current && offset === this.#last)
    if (!isThere || this.#host.log.unsaved > 0) throw new TroupeError('document.changed', `it is at ${this.#last}`)
  }

  async #edit({ update, means }: Reverted, author: Author, isConditional: boolean, key: RequestKey | undefined): Promise<Reversion> {
    if (update === undefined) return { offset: this.#last, means }
    this.#check()
    const request = key && { ...key, answer: means }
    const condition = isConditional ? { expectedOffset: this.#last } : {}
    const { offset } = await this.#host.changes.edit({ type: 'document.edit', update, author, request, ...condition })
    return { offset, means }
  }

  // ── versions ───────────────────────────────────────────────────────────────────────────────────────────────────

  async #version(id: string): Promise<NamedVersion> {
    const version = (await this.#journal.versions.list()).versions.find((one) => one.id === id)
    if (version === undefined) throw new TroupeError('document.version_unknown', id)
    return version
  }

  async #createVersion({ name, description = '', user, at, request }: Request<'document.version.create'>): Promise<NamedVersion> {
    const done = request && (await this.#journal.versions.list()).versions.find((one) => one.request?.id === request.id)
    if (request !== undefined && done?.request !== undefined) {
      checkSame(request, done.request)
      return done
    }
    const { offset } = at === undefined ? { offset: this.#last } : await this.#find(at)
    const { offset: first } = await this.#journal.firstMoment()
    if (offset < first) throw new TroupeError('document.pruned', `it begins with ${first}`)
    const list = await this.#journal.versions.list()
    const most = this.#options.versions ?? defaultVersions
    if (list.versions.length >= most) throw new TroupeError('document.full', `documents.historyVersions ${most}`)
    const time = await this.#timeOf(offset)
    const made = { id: String(list.next), name, description, user, offset, time, createdAt: this.#now }
    const version: NamedVersion = { ...made, ...(request && { request: { id: request.id, hash: request.hash } }) }
    const versions = [...list.versions, version].sort((a, b) => a.offset - b.offset || Number(a.id) - Number(b.id))
    this.#check()
    await this.#journal.versions.save({ ...list, next: list.next + 1, versions })
    return version
  }

  /** Of the change at this offset; now, when it is not there to be asked. */
  async #timeOf(offset: Offset): Promise<EpochMs> {
    for await (const block of this.#journal.blocks(offset - 1, true, this.#last))
      return unpackChanges(block, { from: offset, to: offset })[0]?.time ?? this.#now
    return this.#now
  }

  async #renameVersion({ id, name, description }: Request<'document.version.rename'>): Promise<NamedVersion> {
    const old = await this.#version(id)
    const version = { ...old, name: name ?? old.name, description: description ?? old.description }
    await this.#saveVersions((versions) => versions.map((one) => (one.id === id ? version : one)))
    return version
  }

  async #deleteVersion({ id }: Request<'document.version.delete'>): Promise<void> {
    await this.#version(id)
    await this.#saveVersions((versions) => versions.filter((one) => one.id !== id))
  }

  async #saveVersions(change: (versions: readonly NamedVersion[]) => readonly NamedVersion[]): Promise<void> {
    const list = await this.#journal.versions.list()
    this.#check()
    await this.#journal.versions.save({ ...list, versions: change(list.versions) })
  }

  // ── forgetting ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** What the options say. It is enough when about the right part goes, if that spares writing the rest anew. */
  async #retain(): Promise<Pruned> {
    const { keepMs = defaultKeepMs, keepBytes = defaultKeepBytes } = this.#options
    const { offset: first, bytes } = await this.#journal.firstMoment()
    const oldest = await this.#journal.oldestTime()
    let cut = first
    if (keepMs > 0 && oldest !== undefined && oldest < this.#now - keepMs * (1 + overdueShare))
      cut = Math.max(cut, (await this.#find({ time: this.#now - keepMs })).offset)
    const isTooLarge = keepBytes > 0 && bytes > keepBytes
    if (isTooLarge) cut = Math.max(cut, await this.#journal.offsetOfBytes(keepBytes * (1 - overdueShare)))
    if (cut > first) {
      const state = await this.#journal.stateUpTo(cut)
      if (state !== undefined) await this.#prune(state)
      else if (bytes <= rewrittenBytes || isTooLarge) await this.#prune({ offset: cut })
    }
    return this.#pruned()
  }

  /** At once, and out of the document's own journal, too. */
  async #forget(before: Moment): Promise<Pruned> {
    const { offset } = await this.#find(before)
    await this.#host.log.compaction.all()
    if (offset > (await this.#journal.firstMoment()).offset) await this.#prune({ offset })
    return this.#pruned()
  }

  async #pruned(): Promise<Pruned> {
    const { offset, bytes } = await this.#journal.firstMoment()
    return { first: offset, bytes }
  }

  /** Versions from before get a state of their own; so do those whose state lies where it is cut. */
  async #prune(cut: StoredState | { readonly offset: Offset }): Promise<void> {
    const { offset } = cut
    const list = await this.#journal.versions.list()
    const kept = new Map<string, Uint8Array>()
    for (const version of list.versions) {
      const staysWhereItIs = 'place' in cut && version.kept !== undefined && version.kept >= cut.place
      if (version.offset < offset && !staysWhereItIs)
        kept.set(version.id, (await this.#show({ offset: version.offset, version }, false)).update)
    }
    const begin = 'place' in cut ? cut : { offset, time: await this.#timeOf(offset), update: (await this.#show({ offset }, false)).update }
    this.#check()
    await this.#journal.prune(begin, list, kept)
  }
}

const allMeans = ['none', 'undo', 'replacement'] as const satisfies readonly Reversion['means'][]

/** Errors: `document.key_reused`: it was something else that was done with this key. */
const reversionOf = ({ offset, answer }: Edited): Reversion => {
  const means = allMeans.find((one) => one === answer)
  if (means === undefined) throw new TroupeError('document.key_reused')
  return { offset, means }
}
