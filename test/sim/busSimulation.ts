/**
 * One run of a seed: some clients of the bus, some channels, a server that dies and comes back, a bad network and a bad disk; then
 * everything heals, and within a bounded time everybody must have everything.
 */
import { scopedId } from '../../actors/account.ts'
import { inboxOf } from '../../actors/channelMessages.ts'
import type { Command } from '../../actors/command.ts'
import type { Journals } from '../../actors/journal.ts'
import type { ChannelMessage, Member, Status } from '../../actors/output.ts'
import type { Manners } from '../../actors/request.ts'
import { socketLimits } from '../../actors/socketLife.ts'
import type { EpochMs } from '../../actors/world.ts'
import { builtinCommands } from '../../src/bus/commands.ts'
import { SimulatedDisk } from '../support/simJournals.ts'
import { SeededRandom } from '../support/world.ts'
import { BusNetwork, BusSocket, type LinkOptions } from './busNetwork.ts'
import { type Rule, StoredChannel } from './busOracle.ts'
import { BusPeer, type Name, type PeerHost } from './busPeer.ts'
import { BusServer, type BusServerHost, type BusSettings } from './busServer.ts'
import { Events, Trace } from './events.ts'

export interface BusRunOptions {
  readonly isVerbose?: boolean
  /** Puts something between the product and the disk: for bugs that are planted. */
  readonly wrap?: (journals: Journals) => Journals
}

export interface BusReport {
  readonly seed: number
  readonly violation: { readonly rule: Rule; readonly text: string } | undefined
  readonly hash: string
  readonly steps: number
  readonly seen: ReadonlyMap<string, number>
  readonly lines: readonly string[]
}

/** Pings, backoff and the grace of a user that was lost, several times over. */
const healMs = 60_000
const emptyMs = 60_000
const hourMs = 3_600_000

class Violation extends Error {
  readonly rule: Rule

  constructor(rule: Rule, text: string) {
    super(text)
    this.rule = rule
  }
}

const manners: Manners = {
  door: 'bus',
  greets: false,
  echo: 'budget',
  acknowledges: false,
  mustJoinToPublish: false,
  canLogIn: true,
  hasPresence: true,
  hasInbox: true,
  trustsSender: true,
  heartbeatMs: undefined,
  beatsAtOnce: false,
  rate: undefined,
  nameOf: (client) => client,
}

const users = ['ada', 'bob', 'eve']
const statuses: readonly Status[] = ['online', 'away', 'busy']
const graceMs = 1_000

interface Action {
  readonly weight: number
  readonly act: (peer: BusPeer) => void
}

class BusSimulation implements PeerHost, BusServerHost {
  readonly random: SeededRandom
  readonly events = new Events()
  readonly trace: Trace
  readonly seen = new Map<string, number>()
  readonly replayMessages: number
  readonly historyMessages: number
  readonly #network: BusNetwork
  readonly #disk: SimulatedDisk
  readonly #settings: BusSettings
  readonly #options: BusRunOptions
  readonly #link: LinkOptions
  readonly #channels: readonly string[]
  readonly #stored = new Map<string, StoredChannel>()
  readonly #peers: BusPeer[] = []
  readonly #peerOf = new Map<BusSocket, BusPeer>()
  /** Ids of private messages that are on disk, and those that somebody was told, by the channel. */
  readonly #letters = new Map<string, { readonly stored: Set<string>; readonly told: Set<string> }>()
  readonly #flushMs: number
  /** When an actor was stopped for the last time. */
  readonly #stoppedAt = new Map<string, EpochMs>()
  /** The latest time that the clock has shown when it was set. */
  #latest: EpochMs = 0
  #server: BusServer | undefined
  #servers = 0
  #isChanging = false
  #isDiskBad = false
  #slowUntil = 0
  #failUntil = 0
  #violation: Violation | undefined

  constructor(seed: number, options: BusRunOptions) {
    this.#options = options
    this.random = new SeededRandom(seed * 7_919 + 1)
    const { random, events } = this
    this.trace = new Trace(events, options.isVerbose ?? false)
    this.#network = new BusNetwork(events)
    this.#flushMs = random.pick([0.5, 3, 20])
    const latencyMs = random.pick([0.5, 5, 30])
    this.#link = {
      latencyMs: () => latencyMs * (0.2 + 1.6 * random.next()),
      windowBytes: random.pick([64 * 1024, 500]),
      inboundAhead: random.pick([64, 4]),
    }
    this.#disk = new SimulatedDisk(events.clock, {
      flushMs: () => random.next() * 2 * (events.now < this.#slowUntil ? 200 : this.#flushMs),
    })
    this.replayMessages = random.pick([300, 300, 6])
    this.historyMessages = random.pick([10_000, 10_000, 20])
    this.#channels = ['news', 'home', 'work', 'room'].slice(0, 1 + random.below(4))
    this.#settings = this.#chooseSettings()
  }

  #chooseSettings(): BusSettings {
    const { random, events } = this
    const hookMs = random.pick([0, 0, 10])
    const readMs = random.pick([0.2, 5, 50])
    const hook = () => (hookMs === 0 || random.chance(0.5) ? undefined : this.#later(random.next() * 2 * hookMs))
    return {
      sliceMs: random.pick([8, 0]),
      readMs: () => random.next() * readMs,
      failsToRead: () => events.now < this.#failUntil,
      channel: {
        historyMessages: this.historyMessages,
        historyMs: 7 * 24 * 3_600_000,
        replayMessages: this.replayMessages,
        repeatMessages: 10_000,
        repeatMs: 600_000,
        graceMs,
        maxWindowMs: random.pick([0, 5, 25]),
        idleMs: random.pick([400, 2_000]),
        autoCreate: random.chance(0.8),
      },
      client: {
        limits: { ...socketLimits, pingMs: 4_000, pongMs: 2_000, outboundBytes: random.pick([1024 * 1024, 3_000]) },
        commands: this.#commands(),
        allowedCommands: [],
        authenticate: async (credentials) => {
          await this.#later(random.next() * 20)
          const name = JSON.parse(credentials.type === 'token' ? credentials.token : '') as Name
          return { ...name, isAnonymous: false, permissions: ['*'] }
        },
        isLoginRequired: false,
        mayRename: true,
        hooks: { onPublish: hook, onJoin: hook },
        channelsPerClient: 128,
        echoBudget: 8,
        silentMs: 60_000,
        roomTtlMs: 3_600_000,
        requestsPerMinute: 0,
        userRequests: undefined,
      },
    }
  }

  #later(ms: number): Promise<void> {
    return new Promise((resolve) => this.events.after(ms, resolve))
  }

  #commands(): ReadonlyMap<string, Command> {
    const slow: Command = {
      name: 'slow',
      help: 'Takes its time',
      params: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as never }) } },
      run: ({ ms }: { readonly ms: number }) => this.#later(ms),
    }
    const builtins = builtinCommands({ uptimeMs: () => 0, messageBytes: 1024 * 1024, checksPasswords: true, all: () => [] })
    return new Map([...builtins, slow].map((command) => [command.name, command]))
  }

  // ── what peers and servers ask for ─────────────────────────────────────────────────────────────────────────────

  readonly violate = (rule: Rule, text: string): void => {
    if (this.#violation !== undefined) return
    this.#violation = new Violation(rule, text)
    this.trace.note(`VIOLATION ${rule}: ${text}`)
  }

  readonly saw = (what: string): void => {
    this.seen.set(what, (this.seen.get(what) ?? 0) + 1)
    this.trace.note(`  (${what})`)
  }

  note(text: string): void {
    this.trace.note(text)
  }

  stored(address: string): StoredChannel {
    const stored = this.#stored.get(address) ?? new StoredChannel(this.#disk, address, this.historyMessages, this.violate)
    this.#stored.set(address, stored)
    return stored
  }

  connect(peer: BusPeer): BusSocket {
    const socket = new BusSocket(this.#network, this.#link, peer)
    this.#peerOf.set(socket, peer)
    return socket
  }

  inputOf(socket: BusSocket): ReturnType<BusServerHost['inputOf']> {
    const { manners, name, isAccount } = this.#peerOf.get(socket) as BusPeer // every socket is that of a peer
    const permissions = ['*']
    if (isAccount && name !== undefined)
      return { manners, account: { ...name, isAnonymous: false, permissions }, hasLoggedIn: true, remote: '' }
    return { manners, account: { user: '', tenant: '', isAnonymous: true, permissions }, hasLoggedIn: false, remote: '' }
  }

  #lettersTo(address: string) {
    const letters = this.#letters.get(address) ?? { stored: new Set<string>(), told: new Set<string>() }
    this.#letters.set(address, letters)
    return letters
  }

  told({ user, tenant }: Name, { id }: ChannelMessage): void {
    this.#lettersTo(`channel/${scopedId(tenant, inboxOf(user))}`).told.add(id)
  }

  acknowledged({ id, channel }: ChannelMessage, tenant: string): void {
    if (channel.startsWith('private_')) this.#lettersTo(`channel/${scopedId(tenant, channel)}`).stored.add(id)
  }

  // ── the run ────────────────────────────────────────────────────────────────────────────────────────────────────

  async run(): Promise<void> {
    this.#start()
    const { random } = this
    for (let n = 1, count = 4 + random.below(6); n <= count; n++) this.#peers.push(this.#newPeer(n))
    for (const peer of this.#peers) peer.connect()
    const ops = 80 + random.below(80)
    const pace = random.pick([10, 60, 200])
    for (let i = 0; i < ops; i++) {
      await this.#runFor(random.chance(0.2) ? 0 : random.next() * 2 * pace)
      this.#act()
    }
    await this.#heal()
    await this.#leave()
  }

  #newPeer(n: number): BusPeer {
    const { random } = this
    const isAccount = random.chance(0.6)
    const account = { user: random.pick(users), tenant: random.chance(0.2) ? 't' : '' }
    const name = isAccount ? account : random.chance(0.5) ? { user: `zoe${n}`, tenant: '' } : undefined
    const echo = random.pick(['budget', 'budget', 'members', 'never'] as const)
    const peer = new BusPeer(this, `p${n}`, { ...manners, echo, hasPresence: random.chance(0.8) }, name, isAccount)
    for (const channel of this.#channels) if (random.chance(0.6)) peer.wanted.set(channel, undefined)
    return peer
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

  // ── what happens to the server ─────────────────────────────────────────────────────────────────────────────────

  #start(): void {
    const handle = this.#disk.open()
    const journals = this.#options.wrap?.(handle) ?? handle
    const server = new BusServer(this, ++this.#servers, this.random.below(2 ** 31), journals, this.#settings)
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

  #kill(isSilent: boolean): void {
    const server = this.#server
    if (server === undefined) return
    this.#network.listener = undefined
    this.#isChanging = true
    const { waiting } = this.#disk
    if (waiting > 0) this.saw('a crash while a commit is under way')
    server.kill(isSilent)
    this.#server = undefined
    this.#disk.flush(this.random.below(waiting + 1))
    for (const stored of this.#stored.values()) stored.refresh()
    this.#disk.crash()
    this.note(`server ${server.number} dies${isSilent ? ' with its machine' : ''}`)
    if (isSilent) for (const peer of this.#peers) peer.cut()
    this.saw('a crash')
    this.events.after(20 + this.random.next() * 1_000, () => this.#start())
  }

  #restart(): void {
    const server = this.#server
    if (server === undefined || this.#isChanging) return
    this.#isChanging = true
    this.#network.listener = undefined
    this.note(`server ${server.number} is stopped in good order`)
    server.close().then(
      () => {
        this.saw('an orderly stop')
        this.#server = undefined
        this.events.after(this.random.next() * 500, () => this.#start())
      },
      (error) => this.violate('failure', `the server does not stop: ${error}`),
    )
  }

  #refuseWrites(code: 'storage.full' | 'storage.failed'): void {
    if (this.#isDiskBad || this.#isChanging) return
    this.#isDiskBad = true
    this.note(`the disk refuses: ${code}`)
    this.saw(code)
    this.#disk.refuse(code)
    // Whoever watches over the process of a disk that has failed starts it again.
    this.events.after(100 + this.random.next() * 1_500, () => {
      if (code === 'storage.failed' && !this.#isChanging) this.#kill(false)
      this.#disk.refuse(undefined)
      this.#isDiskBad = false
      this.note('the disk accepts')
    })
  }

  #stopActor(address: string): void {
    if (this.#isChanging || this.#server === undefined) return
    this.note(`${address} is stopped`)
    if (address.startsWith('channel/')) this.saw('a channel is stopped')
    this.#stoppedAt.set(address, Math.max(this.#latest, this.events.time))
    this.#server.system.stop(address)
  }

  // ── what peers do and suffer ───────────────────────────────────────────────────────────────────────────────────

  readonly #actions: readonly Action[] = [
    { weight: 30, act: (peer) => this.#publish(peer, 1) },
    { weight: 8, act: (peer) => this.#publish(peer, 2 + this.random.below(8)) },
    { weight: 6, act: (peer) => peer.publish([inboxOf(this.random.pick([...users, 'zoe1', 'zoe2']))], false) },
    { weight: 6, act: (peer) => this.#join(peer) },
    { weight: 3, act: (peer) => peer.leave(this.#anyChannel()) },
    { weight: 3, act: (peer) => this.#history(peer) },
    { weight: 4, act: (peer) => peer.command('slow', { ms: this.random.next() * this.random.pick([50, 2_500]) }) },
    { weight: 3, act: (peer) => peer.command('set_status', { status: this.random.pick(statuses) }) },
    { weight: 1.5, act: (peer) => peer.command('delete_channel', { channel: this.#anyChannel() }) },
    { weight: 1, act: (peer) => peer.command('create_room', { room: 'room', ttl: 0.05 + this.random.next() }) },
    { weight: 2, act: (peer) => this.#login(peer) },
    { weight: 5, act: (peer) => (peer.shouldConnect ? peer.disconnect() : peer.connect()) },
    { weight: 4, act: (peer) => peer.connect() },
    { weight: 1.5, act: (peer) => peer.vanish() },
    { weight: 1.5, act: (peer) => peer.cut() },
    { weight: 2, act: (peer) => this.#freeze(peer) },
    { weight: 3, act: () => this.#stopActor(`channel/${this.random.chance(0.2) ? '~t/' : ''}${this.#anyChannel()}`) },
    { weight: 0.7, act: () => this.#stopActor(`channel/${inboxOf(this.random.pick(users))}`) },
    { weight: 0.5, act: () => this.#stopActor(`user/${this.random.pick(users)}`) },
    { weight: 0.7, act: () => this.#stopActor('directory/default') },
    { weight: 1, act: () => this.#refuseWrites('storage.full') },
    { weight: 0.4, act: () => this.#refuseWrites('storage.failed') },
    { weight: 1, act: () => (this.#slowUntil = this.events.now + this.random.next() * 2_000) },
    { weight: 1, act: () => (this.#failUntil = this.events.now + this.random.next() * 2_000) },
    { weight: 0.8, act: () => this.#isChanging || this.#kill(this.random.chance(0.25)) },
    { weight: 0.5, act: () => this.#restart() },
    { weight: 0.5, act: () => this.#setClock() },
  ]

  #act(): void {
    const sum = this.#actions.reduce((total, { weight }) => total + weight, 0)
    let chosen = this.random.next() * sum
    const action = this.#actions.find(({ weight }) => (chosen -= weight) < 0)
    action?.act(this.random.pick(this.#peers))
  }

  /** Not on by an hour: what channels remember for ten minutes would be forgotten then, and rightly so. */
  #setClock(): void {
    const ms = this.random.pick([-hourMs, -10_000, -300, 300, 10_000])
    this.#latest = Math.max(this.#latest, this.events.time)
    this.events.set(ms)
    this.note(`the clock is set by ${ms} ms`)
    this.saw(ms < 0 ? 'the clock is set back' : 'the clock is set on')
  }

  #anyChannel(): string {
    return this.random.pick(this.#channels)
  }

  #publish(peer: BusPeer, count: number): void {
    const channels = Array.from({ length: count }, () => this.#anyChannel())
    peer.publish(channels, this.random.chance(0.5))
    // Often it is gone in the same breath.
    if (this.random.chance(0.05)) peer.disconnect()
  }

  #join(peer: BusPeer): void {
    const channel = this.#anyChannel()
    const position = peer.channels.get(channel)?.position
    if (position !== undefined && this.random.chance(0.3)) peer.join(channel, { recover: position })
    else peer.join(channel, this.random.chance(0.3) ? { rewind: this.random.below(10) } : {})
  }

  #history(peer: BusPeer): void {
    const channel = this.#anyChannel()
    const after = this.random.below(20)
    peer.command('history', { channel, after, limit: 1 + this.random.below(10) }, { kind: 'history', channel, after })
  }

  #login(peer: BusPeer): void {
    if (peer.isAccount) peer.login({ user: this.random.pick(users), tenant: this.random.chance(0.2) ? 't' : '' })
  }

  #freeze(peer: BusPeer): void {
    const { socket } = peer
    if (socket === undefined) return
    this.note(`${peer.label} does not read`)
    socket.freeze()
    this.events.after(this.random.next() * 4_000, () => socket.thaw())
  }

  // ── the end ────────────────────────────────────────────────────────────────────────────────────────────────────

  async #heal(): Promise<void> {
    this.note('everything heals')
    this.#failUntil = 0
    this.#slowUntil = 0
    const isUp = () => !this.#isChanging && !this.#isDiskBad && this.#network.listener !== undefined
    if (!(await this.#runUntil(isUp, this.events.now + 30_000, 50))) this.violate('failure', 'the server is not back')
    const isWell = () => {
      for (const peer of this.#peers) peer.connect()
      return this.#disagreement() === undefined
    }
    if (!(await this.#runUntil(isWell, this.events.now + healMs, 200))) this.violate('complete', this.#disagreement() ?? '')
    // What is so must stay so, and everything that was told must be counted as told.
    await this.#runFor(5_000)
    const later = this.#disagreement()
    if (later !== undefined) this.violate('complete', `later: ${later}`)
    await this.#checkPresence()
    await this.#checkStatus()
    this.#checkLetters()
    this.#server?.check()
    this.#assert()
  }

  #assert(): void {
    if (this.#violation !== undefined) throw this.#violation
  }

  /** What is not as it should be when all is quiet. */
  #disagreement(): string | undefined {
    if (this.#server?.sockets.size !== this.#peers.length) return `the server has ${this.#server?.sockets.size} sockets`
    for (const peer of this.#peers) {
      if (peer.socket?.isCut !== false) return `${peer.label} is cut off`
      if (!peer.isOpen) return `${peer.label} is not connected`
      if (peer.open !== undefined) return `${peer.label} waits for ${peer.open}`
      if ((peer.socket?.inbound ?? 0) > 0) return `${peer.socket?.inbound} frames of ${peer.label} were not dealt with`
      for (const channel of peer.wanted.keys()) {
        const subscription = peer.channels.get(channel)
        if (subscription === undefined) return `${peer.label} is not in ${channel}`
        const behind = peer.behind(channel)
        if (behind !== undefined) return `${peer.label} is at ${JSON.stringify(subscription.position)} of ${channel}: ${behind}`
        if (subscription.owedGap !== undefined) return `${peer.label} was not told what it lost in ${channel}`
      }
    }
    return undefined
  }

  /** Exactly those are there who are there, and everybody knows. */
  async #checkPresence(): Promise<void> {
    const server = this.#server as BusServer // it is up
    const tenants = new Set(this.#peers.map(({ name }) => name?.tenant ?? ''))
    for (const tenant of tenants)
      for (const channel of this.#channels) {
        const address = `channel/${scopedId(tenant, channel)}`
        const there = this.#peers.filter((peer) => (peer.name?.tenant ?? '') === tenant && peer.channels.has(channel))
        if (there.length === 0) continue
        const members = (await this.#ask(server, address, 'channel.members')) as readonly Member[]
        const { connections } = (await this.#ask(server, address, 'channel.info')) as { readonly connections: number }
        const expected = new Set(there.filter(({ manners }) => manners.hasPresence).map((peer) => this.#userOf(peer)))
        const found = members.map(({ user }) => user).sort()
        if (found.join() !== [...expected].sort().join())
          this.violate('presence', `in ${address} are ${found}, and not ${[...expected].sort()}`)
        if (connections !== there.length) this.violate('presence', `${address} has ${connections} connections, and not ${there.length}`)
        for (const peer of there) this.#checkView(peer, channel, members, this.#stoppedAt.get(address) ?? 0)
      }
    for (const user of users) await this.#checkInbox(server, user)
  }

  /** Those who left while a channel was stopped are not told of. */
  #checkView(peer: BusPeer, channel: string, members: readonly Member[], stoppedAt: EpochMs): void {
    const subscription = peer.channels.get(channel)
    if (subscription === undefined || subscription.isTainted || !peer.manners.hasPresence || subscription.joinedAt <= stoppedAt) return
    const own = new Set([...peer.mine, this.#userOf(peer)])
    const others = new Map(members.filter(({ user }) => !own.has(user)).map(({ user, status }) => [user, status]))
    const told = new Map([...subscription.others].filter(([user]) => !own.has(user)))
    // Who came while somebody was in its grace saw that one as offline, and is not told when it is back.
    for (const [user, status] of told) if (status === 'offline' && others.has(user)) others.set(user, status)
    const spell = (all: ReadonlyMap<string, Status>) => [...all].map(([user, status]) => `${user} ${status}`).sort()
    if (spell(told).join() !== spell(others).join())
      this.violate('presence', `${peer.label} in ${channel} sees ${spell(told)}, and there are ${spell(others)}`)
    this.saw('somebody sees who is there')
  }

  #userOf(peer: BusPeer): string {
    for (const [address, socket] of this.#server?.sockets ?? [])
      if (socket === peer.socket) return this.#server?.roster.get(address)?.user ?? ''
    return ''
  }

  /** One connection to the inbox for each of the user's. */
  async #checkInbox(server: BusServer, user: string): Promise<void> {
    const own = this.#peers.filter(({ name }) => name?.user === user && name.tenant === '')
    if (own.length === 0) return
    const { connections } = (await this.#ask(server, `channel/${inboxOf(user)}`, 'channel.info')) as { readonly connections: number }
    if (connections !== own.length) this.violate('presence', `the inbox of ${user} has ${connections} connections, and not ${own.length}`)
  }

  /** What one connection of a user says holds for all of them. */
  async #checkStatus(): Promise<void> {
    const said = new Map<string, Status>()
    for (const peer of this.#peers) {
      const { isAccount, name } = peer
      if (!isAccount || name === undefined || said.has(scopedId(name.tenant, name.user))) continue
      const status = this.random.pick(statuses)
      said.set(scopedId(name.tenant, name.user), status)
      peer.command('set_status', { status })
    }
    if (!(await this.#runUntil(() => this.#disagreement() === undefined, this.events.now + 5_000, 100)))
      this.violate('answers', this.#disagreement() ?? '')
    const server = this.#server as BusServer // it is up
    for (const { name, channels } of this.#peers)
      for (const channel of channels.keys()) {
        const address = `channel/${scopedId(name?.tenant ?? '', channel)}`
        for (const { user, status } of (await this.#ask(server, address, 'channel.members')) as readonly Member[]) {
          const expected = said.get(scopedId(name?.tenant ?? '', user)) ?? status
          if (status !== expected) this.violate('presence', `${user} is ${status} in ${address}, and not ${expected}`)
        }
      }
  }

  /** Whoever reads in a name has been told everything, whatever the network lost that it had taken. */
  #checkLetters(): void {
    for (const [address, { stored, told }] of this.#letters) {
      const isReader = ({ name, isAccount, mine }: BusPeer) =>
        name !== undefined && address === `channel/${scopedId(name.tenant, inboxOf(name.user))}` && (isAccount || mine.has(name.user))
      if (!this.#peers.some(isReader) || stored.size > this.replayMessages) continue
      const missing = [...stored].find((id) => !told.has(id))
      if (missing !== undefined) this.violate('complete', `nobody was told ${missing} of ${address}`)
      if (stored.size > 0) this.saw('all private messages were told')
    }
  }

  async #ask(server: BusServer, address: string, type: string): Promise<unknown> {
    let answer: unknown
    let isThere = false
    server.system.ask(address, { type }).then(
      (value) => {
        answer = value
        isThere = true
      },
      (error) => this.violate('answers', `${address} does not answer: ${error}`),
    )
    if (!(await this.#runUntil(() => isThere, this.events.now + 10_000, 1))) this.violate('answers', `${address} does not answer`)
    return answer
  }

  async #leave(): Promise<void> {
    this.note('all leave')
    const { random } = this
    for (const peer of this.#peers) {
      peer.shouldConnect = false
      if (random.chance(0.3)) peer.vanish()
      else peer.disconnect()
    }
    const server = this.#server as BusServer // it is up
    const left = () => [...server.system.counts()].filter(([kind, count]) => count > 0 && !['directory', 'telemetry'].includes(kind))
    const isEmpty = () => server.sockets.size === 0 && server.roster.size === 0 && left().length === 0
    if (!(await this.#runUntil(isEmpty, this.events.now + emptyMs, 500)))
      this.violate('memory', `still there: ${JSON.stringify(left())}, ${server.sockets.size} sockets, ${server.roster.size} accounts`)
    server.check()
    this.#assert()
  }
}

export const simulateBus = async (seed: number, options: BusRunOptions = {}): Promise<BusReport> => {
  const simulation = new BusSimulation(seed, options)
  let violation: BusReport['violation']
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
