/**
 * Configuration: one schema with the default, the unit and the meaning of every option. Read once, then passed down.
 *
 * Sources, each overriding the one before: defaults, `troupe.config.json` or `troupe.config.js` (or `--config FILE`),
 * environment (`TROUPE_LIMITS_PING_MS` is `limits.pingMs`), flags.
 */
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { z } from 'zod'
import { isPermission } from '../actors/account.ts'
import { TroupeError } from '../actors/errors.ts'
import { documentEventTypes } from '../actors/webhook.ts'
import { isNetwork } from './proxies.ts'
import { secretBytes } from './webhooks/signature.ts'

const MiB = 1024 * 1024
const milliseconds = (value: number, meaning: string, least = 1) =>
  z.number().int().min(least).default(value).describe(`${meaning} Milliseconds.`)
const bytes = (value: number, meaning: string, least = 1) => z.number().int().min(least).default(value).describe(`${meaning} Bytes.`)
const count = (value: number, meaning: string, least = 1) => z.number().int().min(least).default(value).describe(meaning)
const flag = (value: boolean, meaning: string) => z.boolean().default(value).describe(meaning)

export const profiles = ['main', 'yjs', 'hocuspocus', 'bus', 'chat', 'pubsub', 'arqonbus'] as const
export type Profile = (typeof profiles)[number]

const port = z.number().int().min(0).max(65_535)
const listener = z.strictObject({ port, profile: z.enum(profiles) })

const receiver = z.strictObject({
  /** For logs, metrics and the address of its actor. */
  name: z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/),
  url: z.url({ protocol: /^https?$/ }),
  /** `whsec_` and base64 of 24 to 64 bytes. */
  secret: z.string().refine((text) => secretBytes(text) !== undefined, 'expected whsec_ and base64 of 24 to 64 bytes'),
  /** Kinds of events; default: all. */
  events: z.array(z.enum(documentEventTypes)).default([...documentEventTypes]),
  /** Only documents whose name begins with it, of all tenants. */
  prefix: z.string().default(''),
})

export const schema = z.strictObject({
  host: z.string().min(1).default('127.0.0.1').describe('Address to listen on.'),
  port: port.default(9100).describe('Port of the main listener; 0 takes a free one.'),
  listen: z.array(listener).default([]).describe('More listeners, each `PORT[:PROFILE]`; the profile says what `/` means there.'),
  data: z.string().min(1).default('./data').describe('Directory of the database. One process at a time.'),
  allowPublicAnonymous: flag(false, 'Allow to listen on an address that others reach although nobody has to log in.'),
  origins: z.array(z.string()).default([]).describe('Origins of web pages that may connect, exactly as browsers send them. Empty: all.'),
  trustedProxies: z
    .array(z.string().refine(isNetwork, 'expected addresses or networks, such as 10.0.0.7, 10.0.0.0/8, fd00::/8'))
    .default([])
    .describe('Addresses and networks of reverse proxies whose `X-Forwarded-For` is believed. Empty: of none.'),
  examples: flag(true, 'Serve the example pages at /examples/.'),
  supervisor: flag(true, 'Run under a parent process that starts the server again when it crashes.'),
  shutdownMs: milliseconds(10_000, 'Time to close in order; after it the process exits all the same.'),
  log: z
    .strictObject({
      level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info').describe('Least severe lines that are written.'),
      pretty: z.enum(['auto', 'always', 'never']).default('auto').describe('For people instead of JSON; `auto`: when it is a terminal.'),
    })
    .prefault({}),
  storage: z
    .strictObject({
      backend: z.string().default('lmdb').describe('`lmdb`, `memory` (nothing survives), or one that you registered.'),
      maxEntryBytes: bytes(64 * MiB, 'Largest entry of a journal.'),
      ballastBytes: bytes(16 * MiB, 'Space that is kept in reserve and released when the disk is full. 0: none.', 0),
      minFreeBytes: bytes(32 * MiB, 'Writes that would leave less free on the disk are refused, until this much is free again.', 0),
      commitTimeoutMs: milliseconds(30_000, 'A commit that takes longer counts as failed.'),
      lockWaitMs: milliseconds(10_000, 'Wait at start for another process to give up the data directory.', 0),
    })
    .prefault({}),
  limits: z
    .strictObject({
      connections: count(10_000, 'Most connections at a time.'),
      messageBytes: bytes(16 * MiB, 'Largest message of a document client.'),
      handshakeMs: milliseconds(10_000, 'The first message of a client must come within this.'),
      pingMs: milliseconds(25_000, 'Between two pings to a client.'),
      pongMs: milliseconds(8_000, 'A client must answer a ping, send something or go on reading within this.'),
      minimumBytesPerSecond: count(
        42_000,
        'The answer may come later by what slower lines than this take for the bytes that are under way to the client.',
      ),
      longestPongMs: milliseconds(480_000, 'Longest wait for a sign of life, however many bytes are under way.'),
      connectionsPerSecond: count(
        2_000,
        'Connections that get their document each second, a quarter of that at once; the others wait. 0: no limit.',
        0,
      ),
      joinWaitMs: milliseconds(20_000, 'Longest wait of a connection for its document; who would wait longer is sent away with a hint.'),
      answerBytes: bytes(
        256 * MiB,
        'Most of all answers to newcomers that the network has not taken yet; past it newcomers wait. What many get counts once.',
      ),
      keepAliveMs: milliseconds(20_000, 'A client hears something at least this often; stock editors reconnect after 30 000.'),
      outboundBytes: bytes(MiB, 'Most that waits for a slow client before it is disconnected.'),
      outboundMessages: count(1_000, 'Most writes that wait for a slow client before it is disconnected.'),
      inboundMessages: count(
        256,
        'Messages of a client that may be under way inside; then its socket is not read until they are dealt with.',
        128,
      ),
      inboundBytes: bytes(
        4 * MiB,
        'The same in bytes: past it, the socket is not read. The message that goes past it may be as large as any.',
        512 * 1024,
      ),
      awarenessPerSecond: count(20, 'Presence messages of a client each second; of faster ones only the latest counts.'),
      awarenessBurst: count(40, 'Presence messages of a client at once.'),
      questionsPerSecond: count(
        2,
        'Times that a client may ask for what it lacks, each second in the long run; ten times as many at once.',
      ),
      strikes: count(3, 'Bad messages of a client before it is disconnected for good.'),
      documentsPerSocket: count(128, 'Most documents that a Hocuspocus client has on one socket.'),
      pendingMessages: count(128, 'Messages of one document of a Hocuspocus client that wait until it is open.'),
      pendingBytes: bytes(MiB, 'Most that waits so on one socket. What does not fit is asked for when the document is open.'),
      tokenRefreshMs: milliseconds(30_000, 'A Hocuspocus client is asked for a new token so long before the old one runs out.'),
    })
    .prefault({}),
  documents: z
    .strictObject({
      windowMs: milliseconds(5, 'Updates of a busy document wait this long for company. An idle one stores at once.', 0),
      maxWindowMs: milliseconds(25, 'With many readers the window grows by 0.08 for each of them, up to this.', 0),
      idleMs: milliseconds(120_000, 'A document that nobody has open leaves memory after this.'),
      retryMs: milliseconds(1_000, 'Wait before a commit that the disk refused is tried again.'),
      askAgainMs: milliseconds(10_000, 'Wait before a client is asked again for changes that are missing; doubles up to 5 minutes.'),
      compareMs: milliseconds(120_000, 'A client that wrote, and then nothing for so long, is asked whether it has more. 0: never.', 0),
      repeatRequests: count(1_000, 'Requests with an `Idempotency-Key` that a document remembers.'),
      repeatMs: milliseconds(86_400_000, 'Time that a document remembers such a request.'),
      maxUnsavedBytes: bytes(16 * MiB, 'Most of one document that waits for a disk that refuses it.'),
      history: flag(true, 'What documents were, and who changed them, is kept.'),
      historyMs: milliseconds(
        90 * 24 * 3_600_000,
        'What is older is forgotten, give or take an eighth. Named versions stay. 0: nothing is.',
        0,
      ),
      historyBytes: bytes(64 * MiB, 'Most history of one document, compressed; past it the oldest is forgotten. 0: no bound.', 0),
      historyReplayBytes: bytes(64 * MiB, 'Most changes, expanded, that one look into the history goes through.'),
      historyDiffBytes: bytes(8 * MiB, 'Largest difference between two moments, about as JSON; what is larger is refused.'),
      historyVersions: count(1_000, 'Most named versions of one document.'),
      awarenessTimeoutMs: milliseconds(30_000, 'Presence that was not renewed for this long is removed.'),
      awarenessStateBytes: bytes(16 * 1024, 'Largest presence of one client.'),
      awarenessMessageBytes: bytes(64 * 1024, 'Largest presence message.'),
      clients: count(2_000, 'Most clients that are present in one document.'),
      presenceWindowMs: milliseconds(25, 'Presence waits at least this long for company, unless changes go out before.', 0),
      maxPresenceWindowMs: milliseconds(500, 'With many readers that grows by 1 for each of them, up to this.', 0),
      stampPresence: flag(true, 'Who logged in is named in its presence by the server: `user.id` is the name of its account.'),
      commentRoots: z
        .array(z.string().min(1))
        .default(['comments'])
        .describe('Root types that may be changed by accounts that may comment and not write.'),
      guardedBytes: bytes(8 * MiB, 'Largest document in which changes of commenters, and those that a hook checks, are looked into.'),
      guardedMs: milliseconds(60_000, 'The copy that this needs leaves memory when it was not needed for this long.'),
      refusalsPerMinute: count(10, 'Changes of one user that a hook may refuse in a minute and document; then they are refused unseen.'),
      clientsPerConnection: count(10, 'Most client ids that one connection speaks for (tabs of one browser share).'),
      clientIds: count(100_000, 'Most client ids that may have written to a document. Yjs makes one for each page that writes.'),
      leftBytes: bytes(
        64 * MiB,
        'Most that clients leave to be inspected when they are gone, of all documents; what goes past it is dropped, unacknowledged.',
      ),
      inlineBytes: bytes(
        256 * 1024,
        'Larger changes, and documents four times as large when they are loaded, are inspected in a thread of their own.',
        4 * 1024,
      ),
      inspectMs: milliseconds(5_000, 'Time for the inspection of one change in that thread; what takes longer is refused.'),
      workMs: milliseconds(60_000, 'Time for one compaction, history view or the like; what takes longer is given up.'),
      memoryBytes: bytes(
        512 * MiB,
        'All documents in memory; past it, those that nobody has open leave at once, least recently used first.',
      ),
      structs: count(1_000_000, 'Most structs in one update, and most ranges of deletions.'),
      autoCreate: flag(true, 'A document comes into being when a client opens and changes it. Otherwise it has to be created before.'),
      deletedMs: milliseconds(30 * 24 * 3_600_000, 'A deleted document can be restored for so long; then its content goes.', 0),
      warnBytes: bytes(0, 'A document that grows beyond this is reported. 0: never.', 0),
      maxBytes: bytes(64 * MiB, 'Largest document; what adds content to it is refused then. 0: no limit.', 0),
      refuseBytes: bytes(256 * MiB, 'Clients cannot open a document beyond this. 0: no limit.', 0),
      tenantWarnBytes: bytes(0, 'A tenant whose documents together grow beyond this is reported. 0: never.', 0),
      tenantBytes: bytes(0, 'Most for all documents of a tenant; what adds content is refused then. 0: no limit.', 0),
      tenantRefuseBytes: bytes(0, 'Beyond this for all of them clients cannot open any, and no new ones are made. 0: no limit.', 0),
      depth: count(64, 'Deepest nesting of values in an update.'),
    })
    .prefault({}),
  auth: z
    .strictObject({
      anonymous: flag(true, 'Clients need not log in.'),
      permissions: z
        .array(z.string())
        .default(['channel:*', 'document:*', 'command:*'])
        .describe('What accounts may do whose token or entry says nothing about it. The language is in docs/accounts.md.'),
      anonymousPermissions: z
        .array(z.string())
        .default(['channel:*', 'document:*', 'command:*', 'sender:*', '!sender:system', '!sender:server', 'telemetry'])
        .describe('What clients may do that did not log in.'),
      users: z.string().default('').describe('File of users with passwords (`troupe user`). Empty: none.'),
      jwtSecret: z.string().default('').describe('Secret of tokens signed with HS256, at least 32 bytes. Empty: none are accepted.'),
      jwtPublicKey: z.string().default('').describe('File with the public key (SPKI, PEM) of tokens signed with RS256, ES256 or EdDSA.'),
      jwks: z.string().default('').describe('URL or file of a JSON Web Key Set (RFC 7517).'),
      issuer: z.string().default('').describe('`iss` that tokens must have. Empty: any.'),
      audience: z.string().default('').describe('`aud` that tokens must have. Empty: any.'),
      clockSkewMs: milliseconds(30_000, 'Difference of clocks that `exp`, `nbf` and `iat` of tokens allow for.', 0),
      userClaim: z.string().default('sub').describe('Claim with the name of the user; `user_id` is looked at, too.'),
      tenantClaim: z.string().default('tenant').describe('Claim with the tenant; `tenant_id` is looked at, too.'),
      attemptsPerMinute: count(10, 'Wrong passwords from one address each minute; past it all logins with one are refused for a while.'),
    })
    .prefault({}),
  bus: z
    .strictObject({
      messageBytes: bytes(MiB, 'Largest message of a bus client. No frame above this, or above 1 MiB if that is more, is sent to one.'),
      smallMessageBytes: bytes(64 * 1024, 'Largest message of a chat or pub/sub client.'),
      depth: count(64, 'Deepest nesting of a message.'),
      autoCreate: flag(true, 'A channel comes into being when somebody joins it or publishes to it.'),
      historyMessages: count(10_000, 'Messages that a channel keeps.', 0),
      historyMs: milliseconds(7 * 24 * 3_600_000, 'Time that a channel keeps a message.'),
      replayMessages: count(300, 'Most messages that a client gets which comes back; if it missed more, it is told to start anew.'),
      repeatMessages: count(10_000, 'Message ids that a channel remembers, to recognise a retry.'),
      repeatMs: milliseconds(600_000, 'Time that a channel remembers a message id.'),
      roomTtlMs: milliseconds(3_600_000, 'Life of a room that was made without a `ttl`.'),
      graceMs: milliseconds(5_000, 'A user whose connection was lost counts as present for so long.', 0),
      silentMs: milliseconds(60_000, 'A user of whom nothing was heard for so long is offline.'),
      heartbeatMs: milliseconds(30_000, 'Between two heartbeats to chat and pub/sub clients.'),
      maxWindowMs: milliseconds(25, 'Messages wait for company: 0.08 for each member, up to this; in an idle channel not at all.', 0),
      idleMs: milliseconds(120_000, 'A channel in which nobody is leaves memory after this.'),
      echoBudget: z
        .number()
        .int()
        .min(0)
        .max(15)
        .default(8)
        .describe('Messages of its own that a client hears from channels that it did not join.'),
      hookTimeoutMs: milliseconds(5_000, 'A hook of a plugin that takes longer has refused.'),
      channelsPerClient: count(128, 'Most channels that a client is in.'),
      allowedCommands: z.array(z.string()).default([]).describe('Commands that clients may run. Empty: all.'),
      requestsPerMinute: count(0, 'Requests of one connection in any minute. 0: no limit.', 0),
      userRequestsPerMinute: count(0, 'Requests of one user, over all connections, in any minute. 0: no limit.', 0),
      pubsubRequestsPerMinute: count(100, 'Requests of one pub/sub connection in any minute. 0: no limit.', 0),
    })
    .prefault({}),
  webhooks: z
    .strictObject({
      receivers: z
        .array(receiver)
        .default([])
        .describe('Who is told what happens to documents: objects with `name`, `url`, `secret`, `events`, `prefix`; see docs/webhooks.md.'),
      quietMs: milliseconds(2_000, 'Changes of a document are told when it was left alone for so long, or after `webhooks.maxWaitMs`.', 0),
      maxWaitMs: milliseconds(10_000, 'Changes of a document are told at the latest after this.', 0),
      timeoutMs: milliseconds(10_000, 'A receiver must answer within this.'),
      retryMs: milliseconds(1_000, 'Wait after the first failure; doubled with each further one.'),
      maxRetryMs: milliseconds(300_000, 'Longest wait between two tries.'),
      giveUpMs: milliseconds(86_400_000, 'An event that could not be delivered for so long is dropped.'),
      waiting: count(10_000, 'Most events that wait for one receiver; beyond it the oldest is dropped.'),
    })
    .prefault({}),
  plugins: z.array(z.string()).default([]).describe('Modules with commands, hooks, message types, actors and backends of your own.'),
  system: z
    .strictObject({
      askTimeoutMs: milliseconds(5_000, 'An ask without a timeout of its own waits this long.'),
      sliceMs: milliseconds(8, 'Actors give the event loop back after this.'),
      maxActive: count(100_000, 'Most passivatable actors in memory.'),
      deadLetters: count(1_000, 'Dead letters that are kept.', 0),
    })
    .prefault({}),
})

export type Config = z.output<typeof schema>
export type ConfigInput = z.input<typeof schema>
export type Source = 'default' | 'file' | 'environment' | 'flag' | 'program'

export interface Option {
  /** `limits.pingMs` */
  readonly path: string
  /** `TROUPE_LIMITS_PING_MS` */
  readonly variable: string
  readonly meaning: string
  readonly default: unknown
}

type Tree = { [key: string]: unknown }
/** Without a prototype: the path `__proto__.x` of a file or a flag would reach that of all objects. */
const newTree = (): Tree => Object.create(null) as Tree
const isTree = (value: unknown): value is Tree => typeof value === 'object' && value !== null && !Array.isArray(value)

const defaults: Tree = schema.parse({})

const variableOf = (path: string): string =>
  `TROUPE_${path
    .replaceAll('.', '_')
    .replace(/[A-Z]/g, (letter) => `_${letter}`)
    .toUpperCase()}`

const meaningOf = (path: string): string => {
  let at: unknown = schema
  for (const key of path.split('.')) {
    const within = at as { shape?: Tree; unwrap?: () => { shape: Tree } } // objects, or objects with a prefault
    at = (within.shape ?? within.unwrap?.().shape)?.[key]
  }
  return (at as { description?: string }).description ?? ''
}

const leaves = (tree: Tree, prefix = ''): [string, unknown][] =>
  Object.entries(tree).flatMap(([key, value]) =>
    isTree(value) ? leaves(value, `${prefix}${key}.`) : [[`${prefix}${key}`, value] as [string, unknown]],
  )

/** Every option, in the order of the schema. The reference docs are checked against it. */
export const options: readonly Option[] = leaves(defaults).map(([path, value]) => ({
  path,
  variable: variableOf(path),
  meaning: meaningOf(path),
  default: value,
}))

const put = (tree: Tree, path: string, value: unknown): void => {
  const keys = path.split('.')
  const last = keys.pop() as string // split gives at least one
  let at = tree
  for (const key of keys) at = (at[key] ??= newTree()) as Tree
  at[last] = value
}

const refuse = (reason: string): never => {
  throw new TroupeError('config.invalid', reason)
}

/** `1234`, `1234:yjs`. */
export const parseListener = (text: string): { port: number; profile: Profile } => {
  const match = /^(\d+)(?::([a-z]+))?$/.exec(text)
  if (match === null) return refuse(`listen: ${JSON.stringify(text)} is not PORT[:PROFILE]`)
  const profile = match[2] ?? 'main'
  if (!profiles.includes(profile as Profile)) refuse(`listen: profile ${JSON.stringify(profile)} is not one of ${profiles.join(', ')}`)
  return { port: Number(match[1]), profile: profile as Profile }
}

const fromJson = (path: string, text: string): unknown => {
  try {
    return text === '' ? [] : JSON.parse(text)
  } catch {
    return refuse(`${path}: expected a JSON array`)
  }
}

/** A text from the environment or a flag, as the type that the option has. Left as it is when it does not fit: the schema says why. */
const fromText = (path: string, text: string): unknown => {
  const like = options.find((option) => option.path === path)?.default
  if (path === 'listen') return text === '' ? [] : text.split(',').map(parseListener)
  if (path === 'webhooks.receivers') return fromJson(path, text)
  if (Array.isArray(like)) return text === '' ? [] : text.split(',').map((one) => one.trim())
  if (typeof like === 'number' && text.trim() !== '') return Number.isNaN(Number(text)) ? text : Number(text)
  if (typeof like === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  return text
}

const fromEnvironment = (environment: NodeJS.ProcessEnv): Tree => {
  const tree = newTree()
  const known = new Map(options.map((option) => [option.variable, option.path]))
  for (const [name, text] of Object.entries(environment)) {
    if (!name.startsWith('TROUPE_') || text === undefined) continue
    const path = known.get(name)
    if (path === undefined) refuse(`environment: ${name} is not an option`)
    else put(tree, path, fromText(path, text))
  }
  return tree
}

const fromFile = async (file: string | undefined, directory: string): Promise<Tree> => {
  const found =
    file === undefined
      ? ['troupe.config.json', 'troupe.config.js'].map((name) => resolve(directory, name)).find((name) => existsSync(name))
      : resolve(directory, file)
  if (found === undefined) return {}
  try {
    const value: unknown = found.endsWith('.json')
      ? JSON.parse(readFileSync(found, 'utf8'))
      : ((await import(pathToFileURL(found).href)) as { default: unknown }).default
    return isTree(value) ? value : refuse(`${found}: the configuration must be an object`)
  } catch (error) {
    if (error instanceof TroupeError) throw error
    return refuse(`${found}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** Rules between options, with names and values in the text. */
const crossChecks = (config: Config): string[] => {
  const { limits, documents } = config
  const wrong: string[] = []
  if (limits.pongMs >= limits.pingMs) wrong.push(`limits.pongMs ${limits.pongMs} must be below limits.pingMs ${limits.pingMs}`)
  if (limits.longestPongMs < limits.pongMs)
    wrong.push(`limits.longestPongMs ${limits.longestPongMs} must not be below limits.pongMs ${limits.pongMs}`)
  if (limits.keepAliveMs >= documents.awarenessTimeoutMs)
    wrong.push(`limits.keepAliveMs ${limits.keepAliveMs} must be below documents.awarenessTimeoutMs ${documents.awarenessTimeoutMs}`)
  if (documents.awarenessStateBytes > documents.awarenessMessageBytes)
    wrong.push(
      `documents.awarenessStateBytes ${documents.awarenessStateBytes} must not be above documents.awarenessMessageBytes ${documents.awarenessMessageBytes}`,
    )
  if (documents.refuseBytes > 0 && documents.refuseBytes < documents.maxBytes)
    wrong.push(`documents.refuseBytes ${documents.refuseBytes} must not be below documents.maxBytes ${documents.maxBytes}`)
  if (documents.tenantRefuseBytes > 0 && documents.tenantRefuseBytes < documents.tenantBytes)
    wrong.push(
      `documents.tenantRefuseBytes ${documents.tenantRefuseBytes} must not be below documents.tenantBytes ${documents.tenantBytes}`,
    )
  if (limits.messageBytes > config.storage.maxEntryBytes)
    wrong.push(`limits.messageBytes ${limits.messageBytes} must not be above storage.maxEntryBytes ${config.storage.maxEntryBytes}`)
  for (const list of ['permissions', 'anonymousPermissions'] as const)
    for (const text of config.auth[list].filter((text) => !isPermission(text)))
      wrong.push(`auth.${list}: ${JSON.stringify(text)} is not a permission; docs/accounts.md has the language`)
  // RFC 7518 §3.2: a key of the size of the hash. A shorter one is found by trying, with one token at hand.
  const secretBytes = Buffer.byteLength(config.auth.jwtSecret)
  if (secretBytes > 0 && secretBytes < 32) wrong.push(`auth.jwtSecret has ${secretBytes} bytes and needs at least 32`)
  return wrong
}

/** The option that somebody may have meant: written otherwise, or without its section. */
const meantBy = (path: string): string | undefined => {
  const wanted = path.toLowerCase()
  const near = options.filter((option) => `.${option.path.toLowerCase()}`.endsWith(`.${wanted}`))
  return near.length === 1 ? near[0]?.path : undefined
}

const defects = (issue: z.core.$ZodIssue): string[] => {
  const path = issue.path.join('.')
  if (issue.code !== 'unrecognized_keys') return [`${path || 'configuration'}: ${issue.message}`]
  return issue.keys.map((key) => {
    const unknown = path === '' ? key : `${path}.${key}`
    const meant = meantBy(unknown)
    return `there is no option ${unknown}${meant === undefined ? '' : `; ${meant}?`}`
  })
}

const parse = (tree: Tree): Config => {
  const parsed = schema.safeParse(tree)
  if (!parsed.success) return refuse(parsed.error.issues.flatMap(defects).join('; '))
  const wrong = crossChecks(parsed.data)
  return wrong.length > 0 ? refuse(wrong.join('; ')) : parsed.data
}

export interface Effective {
  readonly config: Config
  readonly sources: ReadonlyMap<string, Source>
}

export interface Sources {
  readonly flags?: Readonly<Record<string, string>>
  readonly file?: string | undefined
  readonly environment?: NodeJS.ProcessEnv
  readonly directory?: string
}

/** Reads all sources. Errors: `config.invalid`, with the path and the reason of everything that is wrong. */
export const readConfig = async ({ flags = {}, file, environment = {}, directory = '.' }: Sources): Promise<Effective> => {
  const flagTree = newTree()
  for (const [path, text] of Object.entries(flags)) put(flagTree, path, fromText(path, text))
  const trees: [Source, Tree][] = [
    ['file', await fromFile(file, directory)],
    ['environment', fromEnvironment(environment)],
    ['flag', flagTree],
  ]
  const merged = newTree()
  const sources = new Map<string, Source>(options.map(({ path }) => [path, 'default']))
  for (const [source, tree] of trees) {
    for (const [path, value] of leaves(tree)) {
      put(merged, path, value)
      sources.set(path, source)
    }
  }
  return { config: parse(merged), sources }
}

/** For programs: defaults where nothing is given. Errors: `config.invalid`. */
export const completeConfig = (input: ConfigInput): Config => parse(input as Tree)
