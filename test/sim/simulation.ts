/**
 * One run of a seed: some editors, some documents, a server that dies and comes back, a bad network and a bad disk; then
 * everything heals, and within a bounded time all must agree.
 */
import * as Y from 'yjs'
import { connectionLimits } from '../../actors/connection.ts'
import type { Journals } from '../../actors/journal.ts'
import { awarenessPolicy } from '../../crdt/awarenessState.ts'
import { SimulatedDisk } from '../support/simJournals.ts'
import { SeededRandom } from '../support/world.ts'
import { Editor, type EditorHost } from './editor.ts'
import { contentOf, edit, insert } from './edits.ts'
import { Events, Trace } from './events.ts'
import { type ClientSide, type LinkOptions, Network, Socket } from './network.ts'
import { type Rule, StoredDocument } from './oracle.ts'
import { Content } from './ranges.ts'
import { Server, type ServerHost, type ServerSettings } from './server.ts'

export interface RunOptions {
  readonly isVerbose?: boolean
  /** Puts something between the product and the disk: for bugs that are planted. */
  readonly wrap?: (journals: Journals, events: Events, random: SeededRandom) => Journals
}

export interface Report {
  readonly seed: number
  readonly violation: { readonly rule: Rule; readonly text: string } | undefined
  readonly hash: string
  readonly steps: number
  readonly seen: ReadonlyMap<string, number>
  readonly lines: readonly string[]
}

/** All must agree within this time after everything healed: ping and pong, the longest backoff, the watchdog, twice over. */
const healMs = 120_000
/**
 * Presence takes longer. Each time an editor comes back its clock is raised; if its socket breaks before it hears so, again
 * and again, and then the server forgets, its peers know a higher clock than itself, and it catches up by one in 15 s.
 */
const presenceMs = 900_000
/** And nobody may be in memory this long after the last editor left: presence is remembered for 30 s. */
const emptyMs = 180_000
const hourMs = 3_600_000

class Violation extends Error {
  readonly rule: Rule

  constructor(rule: Rule, text: string) {
    super(text)
    this.rule = rule
  }
}

interface Action {
  readonly weight: number
  readonly act: (editor: Editor) => void
}

class Simulation implements EditorHost, ServerHost {
  readonly random: SeededRandom
  readonly events = new Events()
  readonly trace: Trace
  readonly seen = new Map<string, number>()
  readonly #network: Network
  readonly #disk: SimulatedDisk
  readonly #settings: ServerSettings
  readonly #options: RunOptions
  readonly #documents: readonly string[]
  readonly #stored = new Map<string, StoredDocument>()
  readonly #clients = new Map<Socket, number>()
  /** Changes that were made here, by editor; for sending them twice. */
  readonly #made = new Map<Editor, Uint8Array[]>()
  readonly #repeated = new Map<Editor, Uint8Array[]>()
  readonly #readMs: number
  readonly #latencyMs: number
  readonly #windowBytes: number
  #editors: Editor[] = []
  /** Documents that everybody has left for a while. */
  readonly #deserted = new Set<string>()
  #names = 0
  #sockets = 0
  #server: Server | undefined
  #servers = 0
  #isChanging = false
  readonly #flushMs: number
  #slowUntil = 0
  #diskIsBad = false
  #lastFaultAt = Number.NEGATIVE_INFINITY
  #violation: Violation | undefined

  constructor(seed: number, options: RunOptions) {
    this.#options = options
    this.random = new SeededRandom(seed * 7_919 + 1)
    const { random } = this
    this.trace = new Trace(this.events, options.isVerbose ?? false)
    this.#network = new Network(this.events, random)
    this.#flushMs = random.pick([0.5, 3, 15, 60])
    this.#latencyMs = random.pick([0.5, 5, 40])
    this.#windowBytes = random.pick([64 * 1024, 300])
    this.#readMs = random.pick([0, 2])
    this.#disk = new SimulatedDisk(this.events.clock, {
      flushMs: () => random.next() * 2 * (this.events.now < this.#slowUntil ? 400 : this.#flushMs),
    })
    const [pingMs, pongMs] = random.pick([
      [25_000, 8_000],
      [4_000, 2_000],
    ] as const)
    const [readMs, compactMs] = random.pick([
      [0.5, 2],
      [20, 100],
      [400, 100],
    ] as const)
    this.#settings = {
      sliceMs: random.pick([8, 0]),
      limits: { ...connectionLimits, pingMs, pongMs, outboundBytes: random.pick([connectionLimits.outboundBytes, 800]) },
      document: {
        windowMs: random.pick([5, 5, 30]),
        idleMs: random.pick([400, 2_000, 8_000]),
        retryMs: random.pick([200, 1_000]),
        askAgainMs: random.pick([1_000, 10_000]),
        compareMs: random.pick([0, 20_000]),
        maxUnsavedBytes: random.pick([16 * 1024 * 1024, 16 * 1024 * 1024, 600]),
        awareness: { ...awarenessPolicy, removedMs: random.pick([30_000, 500]) },
        compaction: { updates: random.pick([5, 15, 40]), share: 0.02, bytes: 64 * 1024 },
      },
      readMs: () => random.next() * readMs,
      compactMs: () => random.next() * compactMs,
    }
    this.#documents = Array.from({ length: 1 + random.below(3) }, (_, i) => `document/${i + 1}`)
  }

  // ── what editors and servers ask for ───────────────────────────────────────────────────────────────────────────

  readonly violate = (rule: Rule, text: string): void => {
    if (this.#violation !== undefined) return
    this.#violation = new Violation(rule, text)
    this.trace.note(`VIOLATION ${rule}: ${text}`)
  }

  readonly saw = (what: string): void => {
    const count = this.seen.get(what) ?? 0
    this.seen.set(what, count + 1)
    this.trace.note(`  (${what})`)
  }

  note(text: string): void {
    this.trace.note(text)
  }

  stored(address: string): StoredDocument {
    const stored = this.#stored.get(address) ?? new StoredDocument(this.#disk, address, this.violate)
    this.#stored.set(address, stored)
    return stored
  }

  clientOf(socket: Socket): number {
    return this.#clients.get(socket) ?? -1
  }

  isDiskHealthy(): boolean {
    return !this.#diskIsBad && this.events.now - this.#lastFaultAt > 5_000
  }

  connect(editor: Editor, client: ClientSide): Socket {
    const options: LinkOptions = {
      latencyMs: () => this.#latencyMs * (0.2 + 1.6 * this.random.next()),
      windowBytes: this.#windowBytes,
      answerAheadBytes: 1_024,
      readMs: this.#readMs,
      wantsReceipts: editor.wantsReceipts,
    }
    const socket = new Socket(this.#network, `${editor.name}.${++this.#sockets}`, editor.document, options, client)
    this.#clients.set(socket, editor.doc.clientID)
    return socket
  }

  heardUpdate(editor: Editor, update: Uint8Array): void {
    this.trace.bytes(update)
    const { clientID } = editor.doc
    const isOwn = Y.decodeUpdate(update).structs.some(({ id }) => id.client === clientID)
    if (isOwn) editor.echoes++
    if (isOwn) this.stored(editor.document).acknowledge(update, `${editor.name} hears its own update`)
    const repeated = this.#repeated.get(editor)
    if (repeated?.some((one) => Buffer.compare(one, update) === 0)) {
      this.saw('a repetition is acknowledged')
      this.#repeated.delete(editor)
    }
  }

  synchronised(editor: Editor, due: Content): void {
    this.note(`${editor.name} is synchronised`)
    const missing = contentMissing(editor.doc, due)
    if (missing !== undefined) this.violate('L1', `${editor.name} was answered without ${missing} of ${editor.document}`)
    if (editor.hasPending && !editor.hasHoles)
      this.violate('L20', `${editor.name} was given changes that build on something it was not given`)
  }

  saved(editor: Editor, updates: readonly Uint8Array[]): void {
    this.saw('an editor shows that all is saved')
    const stored = this.stored(editor.document)
    for (const update of updates) stored.acknowledge(update, `${editor.name} shows that all is saved`)
    const { clientID } = editor.doc
    const own = new Content()
    const clock = Y.getState(editor.doc.store, clientID)
    if (clock > 0) own.clocks.add(clientID, 0, clock)
    const missing = stored.content.all.missing(own)
    if (missing !== undefined) this.violate('S1', `${editor.name} shows that all is saved without ${missing}`)
  }

  badReceipt(editor: Editor, what: string): void {
    this.violate('S1', `${editor.name}: ${what}`)
  }

  refused(editor: Editor, code: number): void {
    this.note(`${editor.name} is sent away for good: ${code}`)
    this.saw('a client is sent away for good')
  }

  watchdog(editor: Editor): void {
    this.note(`${editor.name} heard nothing for too long`)
    this.saw('a client gives up a dead socket')
  }

  changed(editor: Editor, update: Uint8Array): void {
    const made = this.#made.get(editor) ?? []
    made.push(update)
    this.#made.set(editor, made)
  }

  /** Sometimes somebody comes in this very moment. */
  passivated(address: string): void {
    if (this.#deserted.has(address) && this.random.chance(0.7)) this.#comeBack(address)
  }

  // ── the run ────────────────────────────────────────────────────────────────────────────────────────────────────

  async run(): Promise<void> {
    this.#start()
    for (const document of this.#documents) {
      const count = this.random.chance(0.15) ? 1 : 2 + this.random.below(2)
      for (let i = 0; i < count; i++) this.#open(document)
    }
    const ops = 250 + this.random.below(250)
    const pace = this.random.pick([10, 60, 300])
    for (let i = 0; i < ops; i++) {
      await this.#runFor(this.random.chance(0.2) ? 0 : this.random.next() * 2 * pace)
      this.#act()
    }
    await this.#heal()
    await this.#leave()
  }

  async #runFor(ms: number): Promise<void> {
    await this.#runUntil(() => false, this.events.now + ms)
  }

  /** False when it did not come true in time. */
  async #runUntil(isTrue: () => boolean, end: number, everyMs = Number.POSITIVE_INFINITY): Promise<boolean> {
    let next = this.events.now
    for (;;) {
      if (this.events.now >= next) {
        if (isTrue()) return true
        next = this.events.now + everyMs
      }
      const went = await this.events.step(Math.min(end, next))
      if (this.#violation !== undefined) throw this.#violation
      if (!went && this.events.now >= end) return isTrue()
    }
  }

  #open(document: string): Editor {
    const name = `e${++this.#names}`
    const editor = new Editor(this, name, document, 1_000 + this.#names * 131, this.random.next() * 3_000, this.random.chance(0.4))
    this.note(`${name} opens ${document} as ${editor.doc.clientID}`)
    editor.setState({ name, at: 0 })
    this.#editors.push(editor)
    editor.connect()
    return editor
  }

  #close(editor: Editor, isSilent: boolean): void {
    this.#editors = this.#editors.filter((other) => other !== editor)
    editor.destroy(isSilent)
  }

  // ── what happens to the server ─────────────────────────────────────────────────────────────────────────────────

  #start(): void {
    const handle = this.#disk.open()
    const journals = this.#options.wrap?.(handle, this.events, this.random) ?? handle
    const server = new Server(this, ++this.#servers, this.random.below(2 ** 31), journals, this.#settings)
    this.#server = server
    this.note(`server ${server.number} starts`)
    server.start().then(
      () => {
        if (server.isDead) return
        this.#isChanging = false
        this.#network.listener = server
      },
      (error) => this.violate('failure', `the server does not start: ${error}`),
    )
  }

  #verify(when: string): void {
    for (const document of this.#documents) this.stored(document).verify(when)
  }

  #kill(isSilent: boolean): void {
    const server = this.#server
    if (server === undefined) return
    this.#network.listener = undefined
    this.#isChanging = true
    const waiting = this.#disk.waiting
    if (waiting > 0) this.saw('a crash while a commit is under way')
    server.kill(isSilent)
    this.#server = undefined
    const kept = this.random.below(waiting + 1)
    this.#disk.flush(kept)
    if (kept > 0) this.saw('a crash keeps what was not acknowledged')
    if (kept < waiting) this.saw('a crash loses what was not acknowledged')
    this.#disk.crash()
    this.#verify('after a crash')
    this.note(`server ${server.number} dies${isSilent ? ' with its machine' : ''}`)
    this.events.after(20 + this.random.next() * 1_500, () => this.#start())
  }

  #restart(): void {
    const server = this.#server
    if (server === undefined || this.#isChanging) return
    this.#isChanging = true
    this.#network.listener = undefined
    this.note(`server ${server.number} is stopped in good order`)
    if (this.#documents.some((document) => (server.document(document)?.summary.unsaved ?? 0) > 0))
      this.saw('an orderly stop with unsaved edits')
    server.close().then(
      () => {
        this.saw('an orderly stop')
        this.#server = undefined
        this.#verify('after an orderly stop')
        this.events.after(this.random.next() * 500, () => this.#start())
      },
      (error) => this.violate('failure', `the server does not stop: ${error}`),
    )
  }

  #crash(): void {
    if (!this.#isChanging) this.#kill(this.random.chance(0.25))
  }

  #refuseWrites(code: 'storage.full' | 'storage.failed'): void {
    if (this.#diskIsBad || this.#isChanging) return
    this.#diskIsBad = true
    this.note(`the disk refuses: ${code}`)
    this.saw(code)
    this.#disk.refuse(code)
    if (code === 'storage.full') {
      this.events.after(300 + this.random.next() * 4_000, () => this.#acceptWrites())
      return
    }
    // Whoever watches over the process starts it again.
    this.events.after(100 + this.random.next() * 500, () => {
      if (!this.#isChanging) this.#kill(false)
      this.#acceptWrites()
    })
  }

  #acceptWrites(): void {
    this.#disk.refuse(undefined)
    this.#diskIsBad = false
    this.#lastFaultAt = this.events.now
    this.note('the disk accepts')
  }

  #slowDisk(): void {
    this.#slowUntil = this.events.now + this.random.next() * 3_000
    this.note('the disk is slow')
  }

  #setClock(): void {
    const ms = this.random.pick([-hourMs, -10_000, -300, 300, 10_000, hourMs])
    this.events.set(ms)
    this.note(`the clock is set by ${ms} ms`)
    this.saw(ms < 0 ? 'the clock is set back' : 'the clock is set on')
  }

  // ── what editors do and suffer ─────────────────────────────────────────────────────────────────────────────────

  readonly #actions: readonly Action[] = [
    { weight: 40, act: (editor) => this.#edit(editor, 1) },
    { weight: 6, act: (editor) => this.#edit(editor, 10) },
    { weight: 8, act: (editor) => this.#move(editor) },
    { weight: 2, act: (editor) => editor.resync() },
    { weight: 3, act: (editor) => this.#askOften(editor) },
    { weight: 5, act: (editor) => this.#repeat(editor) },
    { weight: 4, act: (editor) => this.#withhold(editor) },
    { weight: 2, act: (editor) => this.#gossip(editor) },
    { weight: 6, act: (editor) => (editor.shouldConnect ? editor.disconnect() : this.#connect(editor)) },
    { weight: 3, act: (editor) => this.#connect(editor) },
    { weight: 3, act: (editor) => this.#roam(editor) },
    { weight: 3, act: (editor) => this.#cut(editor) },
    { weight: 2, act: (editor) => editor.socket?.reset() },
    { weight: 2, act: (editor) => this.#freeze(editor) },
    { weight: 1, act: (editor) => this.#quit(editor) },
    { weight: 1, act: ({ document }) => this.#joinAnother(document) },
    { weight: 0.7, act: (editor) => this.#garbage(editor) },
    { weight: 1.5, act: ({ document }) => this.#allLeave(document) },
    { weight: 1.2, act: () => this.#refuseWrites('storage.full') },
    { weight: 0.4, act: () => this.#refuseWrites('storage.failed') },
    { weight: 1, act: () => this.#slowDisk() },
    { weight: 1.2, act: () => this.#crash() },
    { weight: 0.8, act: () => this.#restart() },
    { weight: 0.6, act: () => this.#setClock() },
    { weight: 1.2, act: ({ document }) => this.#stopActor(document) },
  ]

  #act(): void {
    const sum = this.#actions.reduce((total, { weight }) => total + weight, 0)
    let chosen = this.random.next() * sum
    const action = this.#actions.find(({ weight }) => (chosen -= weight) < 0)
    const editor = this.random.pick(this.#editors)
    if (!editor.isFrozen) action?.act(editor)
  }

  #edit(editor: Editor, times: number): void {
    this.note(`${editor.name} edits ${times}×${editor.isOnline ? '' : ' offline'}`)
    if (!editor.isOnline) this.saw('editing offline')
    for (let i = 0; i < times; i++) edit(editor.doc, this.random)
  }

  #move(editor: Editor): void {
    const isHidden = this.random.chance(0.1)
    this.note(`${editor.name} ${isHidden ? 'hides' : 'moves'}`)
    const times = this.random.chance(0.1) ? 60 : 1
    for (let i = 0; i < times; i++) editor.setState(isHidden ? null : { name: editor.name, at: this.random.below(1_000) })
  }

  #askOften(editor: Editor): void {
    this.note(`${editor.name} asks often`)
    for (let i = 0; i < 5; i++) editor.resync()
  }

  #repeat(editor: Editor): void {
    const made = this.#made.get(editor) ?? []
    if (made.length === 0 || !editor.isOnline) return
    const update = this.random.chance(0.5) ? (made.at(-1) as Uint8Array) : this.random.pick(made) // length > 0
    this.note(`${editor.name} repeats an update`)
    this.#repeated.set(editor, [...(this.#repeated.get(editor) ?? []), update])
    editor.sendUpdate(update)
  }

  #withhold(editor: Editor): void {
    if (!editor.isOnline) return
    this.note(`${editor.name} withholds an update`)
    editor.isWithholding = true
    insert(editor.doc, this.random)
    editor.isWithholding = false
    insert(editor.doc, this.random)
  }

  /** Past the server: half of what another one has. */
  #gossip(editor: Editor): void {
    const others = this.#editors.filter(
      (other) => other !== editor && other.document === editor.document && !other.isOnline && !other.isFrozen,
    )
    const other = others[0]
    if (other === undefined) return
    this.note(`${editor.name} learns something from ${other.name} alone`)
    edit(other.doc, this.random)
    editor.hasHoles = true
    other.hasHoles = true
    const before = this.#made.get(other)?.length ?? 0
    edit(other.doc, this.random)
    for (const update of this.#made.get(other)?.slice(before) ?? []) Y.applyUpdate(editor.doc, update, 'gossip')
  }

  #roam(editor: Editor): void {
    this.note(`${editor.name} changes its network`)
    editor.roam()
  }

  #cut(editor: Editor): void {
    if (editor.socket === undefined) return
    this.note(`${editor.name} is cut off`)
    this.saw('a half-open socket')
    editor.socket.isCut = true
  }

  #freeze(editor: Editor): void {
    this.note(`${editor.name} freezes`)
    editor.freeze()
    this.events.after(500 + this.random.next() * this.random.pick([3_000, 50_000]), () => {
      this.note(`${editor.name} thaws`)
      editor.thaw()
    })
  }

  #quit(editor: Editor): void {
    const others = this.#editors.filter(({ document }) => document === editor.document)
    if (editor.hasHoles || others.length < 2) return
    this.note(`${editor.name} quits`)
    this.saw('an editor quits')
    this.#close(editor, this.random.chance(0.5))
  }

  #joinAnother(document: string): void {
    if (!this.#deserted.has(document) && this.#editors.filter((editor) => editor.document === document).length < 4) this.#open(document)
  }

  #garbage(editor: Editor): void {
    this.note(`${editor.name} sends garbage`)
    for (let i = 1 + this.random.below(4); i > 0; i--) editor.sendGarbage(Uint8Array.of(0, 2, 3, 255, 255, 255))
  }

  #allLeave(document: string): void {
    this.note(`all leave ${document}`)
    this.#deserted.add(document)
    for (const editor of this.#editors) if (editor.document === document) editor.disconnect()
    this.events.after(this.random.next() * 20_000, () => this.#comeBack(document))
  }

  #comeBack(document: string): void {
    if (!this.#deserted.delete(document)) return
    this.note(`all come back to ${document}`)
    for (const editor of this.#editors) if (editor.document === document) editor.connect()
  }

  #connect(editor: Editor): void {
    if (!this.#deserted.has(editor.document)) editor.connect()
  }

  #stopActor(document: string): void {
    const writer = this.#editors.find((editor) => editor.document === document && editor.isOnline && !editor.isFrozen)
    if (this.random.chance(0.4)) this.#slowDisk()
    if (writer !== undefined) this.#edit(writer, 1)
    // Often while that is on its way to disk.
    this.events.after(this.random.next() * 3 * this.#latencyMs, () => {
      if (this.#isChanging || this.#server === undefined) return
      this.note(`${document} is stopped`)
      this.saw('an actor is stopped')
      this.#server.system.stop(document)
    })
  }

  // ── the end ────────────────────────────────────────────────────────────────────────────────────────────────────

  async #heal(): Promise<void> {
    this.note('everything heals')
    const isUp = await this.#runUntil(
      () => !this.#isChanging && !this.#diskIsBad && this.#network.listener !== undefined,
      this.events.now + 30_000,
      50,
    )
    if (!isUp) this.violate('liveness', 'the server is not back')
    for (const editor of this.#editors) {
      editor.thaw()
      if (editor.awareness.getLocalState() === null) editor.setState({ name: editor.name, at: 0 })
    }
    const isWell = () => {
      for (const editor of this.#editors) editor.connect() // those who were sent away, too
      return this.#disagreement() === undefined
    }
    const isHealed = await this.#runUntil(isWell, this.events.now + healMs, 400)
    if (!isHealed) this.violate('liveness', this.#disagreement() ?? '')
    const isSeen = await this.#runUntil(() => this.#misseen() === undefined, this.events.now + presenceMs, 1_000)
    if (!isSeen) this.violate('presence', this.#misseen() ?? '')
    // What is so must stay so.
    await this.#runFor(35_000)
    const counted = () => this.#editors.find(({ unsynced }) => unsynced > 0)
    const isCounted = await this.#runUntil(() => counted() === undefined, this.events.now + presenceMs, 1_000)
    if (!isCounted) this.violate('liveness', `${counted()?.name} still counts ${counted()?.unsynced} changes as not saved`)
    const disagreement = this.#disagreement()
    if (disagreement !== undefined) this.violate('liveness', `later: ${disagreement}`)
    // Except for somebody whom another one spoke for (see Server): back with the next renewal, after 15 s.
    const isSeenAgain = await this.#runUntil(() => this.#misseen() === undefined, this.events.now + 20_000, 1_000)
    if (!isSeenAgain) this.violate('presence', `later: ${this.#misseen()}`)
    await this.#ask()
    await this.#read()
    this.#verify('at the end')
    this.#server?.check()
    this.#assert()
  }

  #assert(): void {
    if (this.#violation !== undefined) throw this.#violation
  }

  /** What is not as it should be when all is quiet. */
  #disagreement(): string | undefined {
    for (const document of this.#documents) {
      const editors = this.#editors.filter((editor) => editor.document === document)
      const [first] = editors
      if (first === undefined) continue
      const content = contentOf(first.doc)
      for (const editor of editors) {
        if (!editor.isSynced) return `${editor.name} is not synchronised`
        if (editor.hasPending) return `${editor.name} waits for something that never comes`
        if (contentOf(editor.doc) !== content)
          return `${editor.name} and ${first.name} differ in ${document}\n${contentOf(editor.doc)}\n${content}`
      }
      const stored = this.stored(document).content
      const unsaved = stored.all.missing(Content.ofDoc(first.doc))
      if (unsaved !== undefined) return `${unsaved} of ${document} is with its editors and not on disk`
      const untold = contentMissing(first.doc, stored.told)
      if (untold !== undefined) return `${untold} of ${document} is on disk and not with its editors`
    }
    return undefined
  }

  /** Who does not see exactly the others. */
  #misseen(): string | undefined {
    for (const editor of this.#editors) {
      const states = editor.awareness.getStates()
      const present = this.#editors.filter(({ document }) => document === editor.document)
      for (const other of present) {
        const state = JSON.stringify(states.get(other.doc.clientID))
        if (state !== JSON.stringify(other.awareness.getLocalState())) return `${editor.name} sees ${other.name} as ${state}`
      }
      if (states.size !== present.length) return `${editor.name} sees ghosts: ${[...states.keys()]}`
    }
    return undefined
  }

  /** Every question is answered; every update comes back, and so does its repetition while it is on its way to disk. */
  async #ask(): Promise<void> {
    const { limits, document } = this.#settings
    // A limit that is far too low for so much at once closes connections, which is right, and the answer comes later.
    if (limits.outboundBytes < connectionLimits.outboundBytes || (document.maxUnsavedBytes ?? 0) < 1024 * 1024) return
    this.note('all ask and write')
    const waiting = this.#editors.map((editor) => ({ editor, answers: editor.answers, echoes: editor.echoes }))
    for (const editor of this.#editors) {
      for (let i = 0; i < 3; i++) editor.resync()
      insert(editor.doc, this.random)
      editor.sendUpdate(this.#made.get(editor)?.at(-1) as Uint8Array) // the insertion
    }
    const isAnswered = () =>
      waiting.every(({ editor, answers, echoes }) => editor.answers > answers && editor.echoes > echoes + 1 && editor.unsynced === 0)
    if (!(await this.#runUntil(isAnswered, this.events.now + 10_000, 100)))
      this.violate('liveness', 'not every question and every update was answered')
    this.#assert()
  }

  /** Somebody new comes to each document. */
  async #read(): Promise<void> {
    const readers = this.#documents.map(
      (document) => [this.#open(document), this.#editors.find((editor) => editor.document === document)] as const,
    )
    const isRead = () => readers.every(([{ isSynced }]) => isSynced)
    if (!(await this.#runUntil(isRead, this.events.now + 10_000, 20))) this.violate('liveness', 'a fresh reader is not synchronised')
    for (const [reader, other] of readers) {
      if (other !== undefined && contentOf(reader.doc) !== contentOf(other.doc))
        this.violate('L1', `a fresh reader of ${reader.document} sees something else`)
    }
  }

  async #leave(): Promise<void> {
    this.note('all leave')
    for (const editor of [...this.#editors]) this.#close(editor, this.random.chance(0.3))
    const server = this.#server
    const isEmpty = () => server === undefined || (server.connections === 0 && server.system.actors().length === 0)
    if (!(await this.#runUntil(isEmpty, this.events.now + emptyMs, 1_000))) {
      const left = server?.system.actors().map((info) =>
        JSON.stringify({
          ...info,
          idle: this.events.monotonic - info.touchedAt,
          ...server.document(info.address)?.summary,
          isClean: server.document(info.address)?.isClean,
        }),
      )
      this.violate('memory', `still there: ${left?.join(', ')}; ${server?.connections} connections`)
    }
    this.#verify('in the end')
    this.#assert()
  }
}

/** What of `due` is not in the document. */
const contentMissing = (doc: Y.Doc, due: Content): string | undefined => Content.ofDoc(doc).missing(due)

export const simulate = async (seed: number, options: RunOptions = {}): Promise<Report> => {
  const simulation = new Simulation(seed, options)
  let violation: Report['violation']
  const rejected = (reason: unknown) =>
    simulation.violate('failure', `unhandled rejection: ${reason instanceof Error ? reason.stack : reason}`)
  process.on('unhandledRejection', rejected)
  try {
    await simulation.run()
  } catch (error) {
    if (!(error instanceof Violation)) throw error
    violation = { rule: error.rule, text: error.message }
  } finally {
    process.off('unhandledRejection', rejected)
  }
  const { seen, trace, events } = simulation
  return { seed, violation, hash: trace.hash, steps: events.steps, seen, lines: trace.lines }
}
