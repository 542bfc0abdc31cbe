/**
 * A real document actor in a world in which nothing happens by itself: each read, commit, compaction and step of time is an event
 * that a test lets happen, or fail. One client counts its changes as HocuspocusProvider does and believes what it is told.
 */
import * as Y from 'yjs'
import { documentKind } from '../../actors/document.ts'
import { Life, type LifeEvent, type Position } from '../../actors/documentLife.ts'
import type { DocumentMessage, Refused } from '../../actors/documentMessages.ts'
import { isTroupeError, TroupeError } from '../../actors/errors.ts'
import type { Appended, Entry, Head, Journals, Offset, ReadOptions, Snapshot } from '../../actors/journal.ts'
import type { Publication } from '../../actors/publication.ts'
import { defineActor } from '../../actors/system/definition.ts'
import { ActorSystem } from '../../actors/system/system.ts'
import { decodeChange, unseal } from '../../crdt/change.ts'
import { type DocumentWork, documentWork } from '../../crdt/work.ts'
import { type TestWorld, testWorld } from '../support/world.ts'

export type Document = Parameters<NonNullable<ReturnType<typeof documentKind>['stopped']>>[0]

const address = 'document/d'
const probe = 'probe/client'
const idleMs = 1_000
const account = { user: 'u', tenant: '', isAnonymous: true, permissions: [] }

type GateKind = 'read' | 'append' | 'snapshot' | 'compact' | 'integrablePart'

interface Gate {
  readonly kind: GateKind
  open(): void
  fail(code: 'storage.failed' | 'journal.conflict'): void
}

interface Stored {
  entries: Entry[]
  last: Offset
  snapshot: Snapshot | undefined
}

/** Journals of which each call to the document's own waits at a gate. */
export class GatedJournals implements Journals {
  readonly #stored = new Map<string, Stored>()
  readonly #gate: <T>(kind: GateKind, run: () => T) => Promise<T>

  constructor(gate: <T>(kind: GateKind, run: () => T) => Promise<T>) {
    this.#gate = gate
  }

  of(journal: string): Stored {
    const stored = this.#stored.get(journal) ?? { entries: [], last: 0, snapshot: undefined }
    this.#stored.set(journal, stored)
    return stored
  }

  append(journal: string, data: readonly Uint8Array[], { expected }: { readonly expected?: Offset | 'none' } = {}): Promise<Appended> {
    return this.#pass('append', journal, () => {
      const stored = this.of(journal)
      if (expected !== undefined && (expected === 'none' ? 0 : expected) !== stored.last) throw new TroupeError('journal.conflict', journal)
      const first = stored.last + 1
      for (const entry of data) stored.entries.push({ offset: ++stored.last, time: 0, data: entry })
      return { first, last: stored.last, time: 0 }
    })
  }

  async read(journal: string, { after, limit, reverse = false }: ReadOptions = {}): Promise<Entry[]> {
    const { entries } = this.of(journal)
    const all = reverse
      ? entries.filter(({ offset }) => offset < (after ?? Infinity)).reverse()
      : entries.filter(({ offset }) => offset > (after ?? 0))
    return all.slice(0, limit)
  }

  async head(journal: string): Promise<Head> {
    const { last } = this.of(journal)
    return { epoch: last === 0 ? '' : 'e', first: 1, last }
  }

  /** The first call of a load, so it stands for all of them. */
  snapshot(journal: string): Promise<Snapshot | undefined> {
    return this.#pass('read', journal, () => this.of(journal).snapshot)
  }

  saveSnapshot(journal: string, offset: Offset, data: Uint8Array, { trim = false } = {}): Promise<void> {
    return this.#pass('snapshot', journal, () => {
      const stored = this.of(journal)
      stored.snapshot = { offset, time: 0, data }
      if (trim) stored.entries = stored.entries.filter((entry) => entry.offset > offset)
    })
  }

  async trim(): Promise<void> {}
  async remove(journal: string): Promise<void> {
    this.#stored.delete(journal)
  }
  async list(): Promise<string[]> {
    return [...this.#stored.keys()]
  }
  status(): { readonly state: 'ready' } {
    return { state: 'ready' }
  }
  onStatus(): () => void {
    return () => {}
  }
  async close(): Promise<void> {}

  #pass<T>(kind: GateKind, journal: string, run: () => T): Promise<T> {
    return journal === address ? this.#gate(kind, run) : Promise.resolve().then(run)
  }
}

/** Counts as HocuspocusProvider 4.8 does. */
class Client {
  readonly doc = new Y.Doc()
  state: 'out' | 'joining' | 'in' = 'out'
  unsynced = 0
  isSynced = false
  /** Questions of the server that it has not answered. */
  readonly questions: Uint8Array[] = []
  surplus = 0

  constructor() {
    this.doc.clientID = 7
  }

  /** It shows "saved". */
  get believes(): boolean {
    return this.state === 'in' && this.isSynced && this.unsynced === 0
  }
}

export type Act =
  | 'join'
  | 'leave'
  | 'edit'
  | 'edit past a gap'
  | 'answer'
  | 'ask anew'
  | 'read'
  | 'read fails'
  | 'commit'
  | 'commit fails'
  | 'conflict'
  | 'snapshot'
  | 'snapshot fails'
  | 'compact'
  | 'compact fails'
  | 'part'
  | 'soon'
  | 'later'
  | 'remove'
  | 'undelete'
  | 'stop'
  | 'close'
  | 'boot'

/** Edits in one story; more would make the same states again, with larger numbers. */
const mostEdits = 3

export interface Plant {
  readonly definition?: (definition: ReturnType<typeof documentKind>) => ReturnType<typeof documentKind>
  readonly journals?: (journals: GatedJournals) => Journals
}

export class Model {
  readonly #world: TestWorld = testWorld()
  readonly #turns: (() => void)[] = []
  #system: ActorSystem
  readonly #boot: () => ActorSystem
  /** The process ends in good order. */
  #closing: 'no' | 'closing' | 'closed' = 'no'
  #hasFailed = false
  /** Somebody deleted the document, and the answer has come or not. */
  #removal: 'none' | 'asked' | 'removed' | 'undeleting' = 'none'
  #unwatch = (): void => {}
  readonly #journals: GatedJournals
  readonly #gates: Gate[] = []
  readonly #client = new Client()
  #edits = 0
  #unsavedShown = 0
  #loading = 0
  /** Clocks that the document had taken in, since it was last told to stop or lost its journal. */
  #admitted = new Map<number, number>()
  #mayForget = true
  readonly violations: string[] = []

  constructor(plant: Plant = {}) {
    const { random, clock, log } = this.#world
    this.#journals = new GatedJournals((kind, run) => this.#wait(kind, run))
    const work: DocumentWork = {
      run: (name, ...given) => {
        const run = documentWork[name] as (...given: unknown[]) => ReturnType<(typeof documentWork)[typeof name]> // `given` fits `name`
        return name === 'compact' || name === 'integrablePart' ? this.#wait(name, () => run(...given)) : Promise.resolve(run(...given))
      },
    }
    const definition = documentKind({
      journals: plant.journals?.(this.#journals) ?? this.#journals,
      work,
      idleMs,
      windowMs: 5,
      retryMs: 20,
      askAgainMs: 700,
      compareMs: 700,
      compaction: { updates: 2, share: 0, bytes: 1e9 },
      observe: {
        stored: () => {},
        unsaved: (change) => {
          this.#unsavedShown += change
        },
        commitRefused: () => {},
        loadFailed: () => {},
        damaged: () => {},
        compacted: () => {},
        refused: () => {},
      },
    })
    const ear = defineActor<null, Publication | Refused>({
      kind: 'probe',
      state: () => null,
      handlers: {
        'connection.publish': (_, message) => this.#hear(message),
        'connection.refused': (_, { code, detail }) => {
          if (code === 'document.deleted') return this.#lost()
          this.#violate(`a change is refused: ${code} ${detail}`)
        },
      },
    })
    this.#boot = () => {
      const system = new ActorSystem({
        world: { clock, random, log, turns: { soon: queueMicrotask, later: (work) => void this.#turns.push(work) } },
        actors: [plant.definition?.(definition) ?? definition, ear],
      })
      system.begin(probe)
      return system
    }
    this.#system = this.#boot()
  }

  async run(act: Act): Promise<void> {
    this.#do(act)
    await this.#settle()
    this.#check()
  }

  /** What may happen now. */
  get possible(): Act[] {
    const acts: Act[] = ['soon', 'later']
    const { state, questions } = this.#client
    if (this.#closing === 'no') acts.push('close')
    // The next process gets the store when all is written that was begun.
    if (this.#closing !== 'no') acts.push(...(this.#closing === 'closed' && this.#gates.length === 0 ? (['boot'] as const) : []))
    else if (this.#removal === 'removed') acts.push('undelete')
    else if (this.#removal === 'none' && this.#edits > 0) acts.push('remove')
    if (this.#system.actors('document/').length > 0 && this.#closing === 'no') acts.push('stop')
    if (this.#closing !== 'no' || this.#removal !== 'none') return [...acts, ...this.#gateActs]
    if (state === 'out') acts.push('join')
    else acts.push('leave')
    if (state === 'in') {
      acts.push('ask anew')
      if (this.#edits < mostEdits) acts.push('edit')
      if (this.#edits + 1 < mostEdits) acts.push('edit past a gap')
      if (questions.length > 0) acts.push('answer')
    }
    return [...acts, ...this.#gateActs]
  }

  get #gateActs(): Act[] {
    return gateActs.flatMap(([kind, ...acts]) => (this.#gates.some((gate) => gate.kind === kind) ? acts : []))
  }

  /** Everything that decides what comes next, as far as it differs. */
  get key(): string {
    const { state, unsynced, isSynced, questions, doc } = this.#client
    const document = this.#system.inspect(address) as Document | undefined // the state of its kind
    const info = this.#system.actors('document/')[0]
    const dues = [...(document?.sessions.values() ?? [])].map(({ dues: { due, unanswered, isCounting, held, askableAt, waitMs } }) => [
      due,
      unanswered,
      isCounting,
      held?.receipts,
      askableAt > this.#world.clock.now(),
      waitMs > 700,
    ])
    return JSON.stringify([
      info?.phase,
      document && position(document.log.life),
      document?.log.unsaved,
      document?.log.document.tailCount,
      dues,
      state,
      unsynced,
      isSynced,
      questions.length,
      this.#gates.map(({ kind }) => kind),
      this.#edits,
      this.#closing,
      this.#removal,
      Y.getState(doc.store, 7) - (this.#durable().get(7) ?? 0),
      this.#world.clock.pending,
    ])
  }

  get life(): string {
    const document = this.#system.inspect(address) as Document | undefined // the state of its kind
    const phase = this.#system.actors('document/')[0]?.phase ?? 'absent'
    return document === undefined ? phase : JSON.stringify(position(document.log.life))
  }

  /** All works again, and the client is patient: then all is on disk and it knows. */
  async heal(): Promise<void> {
    for (let round = 0; round < 80; round++) {
      const { state, questions, believes } = this.#client
      if (this.#gates.length > 0) for (const gate of this.#gates.splice(0)) gate.open()
      else if (this.#closing === 'closing') this.#do('soon')
      else if (this.#closing === 'closed') this.#do('boot')
      else if (this.#removal === 'removed') this.#do('undelete')
      else if (this.#removal !== 'none') this.#do('soon')
      else if (state === 'out') this.#do('join')
      else if (questions.length > 0) this.#do('answer')
      else if (believes && this.#isSame()) break
      else this.#do('later')
      await this.#settle()
      this.#check()
    }
    if (!this.#client.believes || !this.#isSame()) {
      const { state, unsynced, isSynced } = this.#client
      this.#violate(`it does not heal: ${JSON.stringify({ state, unsynced, isSynced, isSame: this.#isSame(), life: this.life })}`)
    }
    if (this.#unsavedShown !== 0) this.#violate('it is healed and shown as not saved')
    this.#do('leave')
    for (let round = 0; round < 12; round++) {
      for (const gate of this.#gates.splice(0)) gate.open()
      this.#do('later')
      await this.#settle()
      this.#check()
    }
    if (this.#system.actors('document/').length > 0) this.#violate('nobody needs it and it stays')
  }

  // ── what happens ───────────────────────────────────────────────────────────────────────────────────────────────

  #do(act: Act): void {
    switch (act) {
      case 'join':
        return this.#join()
      case 'close':
        return this.#close()
      case 'remove':
        return this.#remove()
      case 'undelete':
        return this.#undelete()
      case 'boot':
        this.#closing = 'no'
        this.#system = this.#boot()
        return
      case 'leave':
        this.#client.state = 'out'
        this.#client.questions.length = 0
        return this.#tell({ type: 'document.leave' })
      case 'edit':
        return this.#edit()
      case 'edit past a gap':
        this.#insert() // the server never hears of this one by itself
        return this.#edit()
      case 'answer': {
        const question = this.#client.questions.shift()
        const update = Y.encodeStateAsUpdate(this.#client.doc, question)
        return this.#tell({ type: 'document.update', update, isAnswer: true })
      }
      case 'ask anew':
        return this.#ask()
      case 'soon':
        this.#pass(30)
        return
      case 'later':
        if (this.#closing === 'closing') this.#hasFailed = true // it ends without waiting for ever
        this.#pass(idleMs * 1.5)
        return
      case 'stop':
        this.#system.stop(address)
        this.#forget()
        return
      default:
        return this.#gate(act)
    }
  }

  #close(): void {
    this.#closing = 'closing'
    this.#hasFailed = false
    this.#lost()
    void this.#system.close().then(() => {
      this.#closing = 'closed'
      if (!this.#hasFailed) this.#assertDurable(this.#admitted, 'the process has ended in good order')
      this.#forget()
    })
  }

  /** Its content stays on disk and can be brought back; so nothing that was promised may be missing then. */
  #remove(): void {
    this.#removal = 'asked'
    this.#system.ask(address, { type: 'document.remove', by: '' }, { timeoutMs: 1e9 }).then(
      () => {
        this.#removal = 'removed'
        if (this.#client.state === 'in') this.#violate('the document is deleted and its client does not know')
      },
      () => {
        this.#removal = 'none'
      },
    )
  }

  #undelete(): void {
    this.#removal = 'undeleting'
    this.#system.ask(address, { type: 'document.undelete', by: '' }, { timeoutMs: 1e9 }).then(
      () => {
        this.#removal = 'none'
      },
      () => {
        this.#removal = 'removed'
      },
    )
  }

  #join(): void {
    const client = this.#client
    client.state = 'joining'
    this.#unwatch()
    this.#unwatch = this.#system.watch(address, () => this.#lost())
    const join: DocumentMessage = { type: 'document.join', access: 'write', account, wantsReceipts: true }
    this.#system.ask(address, join, { timeoutMs: 1e9 }, probe).then(
      () => {
        if (client.state !== 'joining') return
        client.state = 'in'
        this.#ask()
      },
      (error) => {
        // Whoever deleted it may not have heard that it was done.
        if (isTroupeError(error, 'document.deleted')) this.#removal = 'removed'
        if (client.state === 'joining') this.#lost()
      },
    )
  }

  /** The connection is over: the client counts anew when it is back. */
  #lost(): void {
    this.#client.state = 'out'
    this.#client.isSynced = false
    this.#client.questions.length = 0
  }

  #ask(): void {
    this.#client.unsynced = 1
    this.#client.isSynced = false
    this.#client.surplus = 0
    this.#tell({ type: 'document.sync', stateVector: Y.encodeStateVector(this.#client.doc) })
  }

  #insert(): Uint8Array {
    const { doc } = this.#client
    const before = Y.encodeStateVector(doc)
    doc.getText('text').insert(0, 'x')
    this.#edits++
    return Y.encodeStateAsUpdate(doc, before)
  }

  #edit(): void {
    const update = this.#insert()
    this.#client.unsynced++
    this.#tell({ type: 'document.update', update, isAnswer: false })
  }

  #gate(act: Act): void {
    const kind = gateActs.find(([, ...acts]) => acts.includes(act))?.[0]
    const index = this.#gates.findIndex((gate) => gate.kind === kind)
    const [gate] = this.#gates.splice(index, 1)
    if (act === 'conflict') this.#forget()
    if (act === 'conflict' || act === 'commit fails') this.#hasFailed = true
    if (act === 'conflict') gate?.fail('journal.conflict')
    else if (act.endsWith('fails')) gate?.fail('storage.failed')
    else gate?.open()
  }

  #wait<T>(kind: GateKind, run: () => T): Promise<T> {
    if (kind === 'read') {
      if (++this.#loading > 1) this.#violate('two loads are in flight')
    }
    return new Promise<T>((resolve, reject) => {
      const done = () => {
        if (kind === 'read') this.#loading--
      }
      this.#gates.push({
        kind,
        open: () => {
          done()
          try {
            resolve(run())
          } catch (error) {
            reject(error)
          }
        },
        fail: (code) => {
          done()
          reject(new TroupeError(code))
        },
      })
    })
  }

  /** From here on it may forget what is not on disk; its client is told, and gives it back. */
  #forget(): void {
    this.#mayForget = true
    this.#admitted = new Map()
  }

  #tell(message: DocumentMessage): void {
    this.#system.tell(address, message, probe)
  }

  /** Each alarm at its time, and what it brings before the next one. */
  #pass(ms: number): void {
    const { clock } = this.#world
    const end = clock.now() + ms
    for (let next = clock.next(); next !== undefined && next <= end; next = clock.next()) {
      clock.step()
      this.#drain()
    }
    clock.pass(end - clock.now())
  }

  #drain(): void {
    for (let turn = this.#turns.shift(); turn !== undefined; turn = this.#turns.shift()) turn()
  }

  async #settle(): Promise<void> {
    for (let quiet = 0; quiet < 2; quiet++) {
      await new Promise<void>((resolve) => setImmediate(resolve))
      if (this.#turns.length > 0) quiet = -1
      this.#drain()
    }
  }

  // ── what must be true ──────────────────────────────────────────────────────────────────────────────────────────

  #violate(text: string): void {
    this.violations.push(text)
  }

  #hear({ parts }: Publication): void {
    const client = this.#client
    if (client.state !== 'in') return
    for (const { kind, bytes } of parts) {
      if (kind === 'vector') client.questions.push(bytes)
      else if (kind === 'saved') {
        if (client.unsynced === 0) this.#violate('a receipt too many')
        client.unsynced = Math.max(0, client.unsynced - 1)
        if (client.unsynced === 0) client.isSynced = true
      } else if (kind === 'update' || kind === 'state') {
        if (kind === 'update' && client.isSynced) this.#assertDurable(Y.parseUpdateMeta(bytes).to, 'an update is published')
        Y.applyUpdate(client.doc, bytes, 'server')
      }
    }
  }

  #durable(): Map<number, number> {
    const { snapshot, entries } = this.#journals.of(address)
    const doc = new Y.Doc()
    if (snapshot !== undefined) Y.applyUpdate(doc, unseal(snapshot.data) as Uint8Array)
    for (const { data } of entries) Y.applyUpdate(doc, decodeChange(data)?.update as Uint8Array)
    const clocks = Y.decodeStateVector(Y.encodeStateVector(doc))
    doc.destroy()
    return clocks
  }

  #assertDurable(clocks: ReadonlyMap<number, number>, what: string): void {
    const durable = this.#durable()
    for (const [client, clock] of clocks) {
      if ((durable.get(client) ?? 0) < clock) this.#violate(`${what} and is not on disk: ${durable.get(client) ?? 0} of ${clock}`)
    }
  }

  #isSame(): boolean {
    return (this.#durable().get(7) ?? 0) === Y.getState(this.#client.doc.store, 7)
  }

  #check(): void {
    const document = this.#system.inspect(address) as Document | undefined // the state of its kind
    const own = new Map([[7, Y.getState(this.#client.doc.store, 7)]])
    if (this.#client.believes) this.#assertDurable(own, 'the client shows that all is saved')
    if (document === undefined) {
      if (!this.#mayForget) this.#assertDurable(this.#admitted, 'the document has left memory')
      if (this.#client.state === 'in') this.#violate('the document has left memory and its client does not know')
      if (this.#unsavedShown !== 0) this.#violate('what has left memory is shown as not saved')
      return
    }
    const { life, document: content } = document.log
    this.#mayForget = life.storage === 'lost'
    for (const [client, clock] of this.#admitted)
      if ((content.stateVector.get(client) ?? 0) < clock) this.#violate('something admitted is gone from memory')
    this.#admitted = new Map(content.stateVector)
    for (const [client, clock] of this.#durable())
      if ((content.stateVector.get(client) ?? 0) < clock && life.storage !== 'lost') this.#violate('memory has less than the disk')
    const isShown = life.storage === 'failing' || life.storage === 'retrying'
    if (this.#unsavedShown !== (isShown ? 1 : 0)) this.#violate(`${life.storage}, and ${this.#unsavedShown} shown as not saved`)
    if ((life.storage === 'clean') !== (document.log.unsaved === 0)) this.#violate(`${life.storage} with ${document.log.unsaved} unsaved`)
  }
}

const gateActs: readonly (readonly [GateKind, ...Act[]])[] = [
  ['read', 'read', 'read fails'],
  ['append', 'commit', 'commit fails', 'conflict'],
  ['snapshot', 'snapshot', 'snapshot fails'],
  ['compact', 'compact', 'compact fails'],
  ['integrablePart', 'part'],
]

const position = ({ stage, storage, compaction }: Position): Position => ({ stage, storage, compaction })

/** Notes each transition of the chart while `run` runs, as `region: state event`. */
export const noting = async <T>(seen: Set<string>, run: () => Promise<T>): Promise<T> => {
  const { happened } = Life.prototype
  Life.prototype.happened = function (this: Life, event: LifeEvent) {
    const { stage, storage, compaction } = this
    happened.call(this, event)
    seen.add(`stage: ${stage} ${event}`).add(`storage: ${storage} ${event}`).add(`compaction: ${compaction} ${event}`)
  }
  try {
    return await run()
  } finally {
    Life.prototype.happened = happened
  }
}
