/**
 * An account: who a client is, and what it may do. Made by an authenticator, checked where the client acts.
 *
 * A permission is a text:
 *
 *   channel:PATTERN:ACTION    read (join, history, members), write (publish), create, delete
 *   document:PATTERN:ACTION   read (open, follow, history), comment (change what is below the roots for comments), write,
 *                             create, delete (over HTTP; the latter also to rename, restore, reset, prune the history)
 *   command:PATTERN           run commands of these names; a word alone (`history`) means the same
 *   sender:PATTERN            speak in these names instead of one's own
 *   telemetry                 watch what happens on the server
 *   admin                     revoke accounts, see all tenants
 *   *                         everything but admin
 *
 * In a pattern `*` stands for any run of characters, slashes too; as an action, or without one, for all of them. What is
 * not the name of an action belongs to the pattern: `channel:user:42` is the channel `user:42`. A permission that begins
 * with `!` forbids, and what is forbidden stays so whatever else is allowed. What is none of these (a token may carry the
 * permissions of other services) allows nothing and forbids nothing.
 */
import { type Pattern, pattern } from './pattern.ts'
import { idDefect } from './system/address.ts'
import type { EpochMs } from './world.ts'

export interface Account {
  /** The name that others see; private messages, presence and limits go by it. */
  readonly user: string
  /** Names of channels and documents are those of a tenant. Empty: the default one. */
  readonly tenant: string
  /** Nobody has checked who this is. */
  readonly isAnonymous: boolean
  readonly permissions: readonly string[]
  /** The connections of the account are closed then. */
  readonly expiresAt?: EpochMs
  readonly issuedAt?: EpochMs
  /** Id of the token (`jti`, RFC 7519 §4.1.7). */
  readonly tokenId?: string
  /** Of the document that the client says it knows (claim `epoch` of its token). */
  readonly epoch?: string
}

/** Who is connected, by the address of the connection, for revocation. Kept by the actors of connections. */
export type Roster = Map<string, Account>

export type Credentials =
  | { readonly type: 'token'; readonly token: string }
  | { readonly type: 'password'; readonly username: string; readonly password: string }

/** Finds out who somebody is. Errors: `auth.failed`, `auth.expired`, `auth.revoked`. */
export type Authenticate = (credentials: Credentials) => Promise<Account>

export type Resource = 'channel' | 'document' | 'command' | 'sender' | 'telemetry' | 'admin'

export interface Decision {
  readonly isAllowed: boolean
  /** The permission that decided; when none did, which one would be needed. */
  readonly rule: string
}

interface Permission {
  readonly text: string
  readonly forbids: boolean
  readonly resource: Resource | '*'
  readonly names: Pattern
  /** Undefined: all. */
  readonly action: string | undefined
}

const actions: Readonly<Record<string, ReadonlySet<string>>> = {
  channel: new Set(['read', 'write', 'create', 'delete']),
  document: new Set(['read', 'comment', 'write', 'create', 'delete']),
}
const words: ReadonlySet<string> = new Set(['telemetry', 'admin'])

/** Undefined: not a permission of ours. */
const parse = (text: string): Permission | undefined => {
  const forbids = text.startsWith('!')
  const body = forbids ? text.slice(1) : text
  const permission = (resource: Permission['resource'], names = '*', action?: string): Permission => ({
    text,
    forbids,
    resource,
    names: pattern(names),
    action,
  })
  if (body === '') return undefined
  if (body === '*' || words.has(body)) return permission(body as Resource | '*')
  const colon = body.indexOf(':')
  if (colon < 0) return permission('command', body)
  const resource = body.slice(0, colon)
  const rest = body.slice(colon + 1)
  if (resource === 'command' || resource === 'sender') return permission(resource, rest)
  if (resource !== 'channel' && resource !== 'document') return undefined
  const last = rest.lastIndexOf(':')
  if (last < 0) return permission(resource, rest)
  const action = rest.slice(last + 1)
  if (action === '*') return permission(resource, rest.slice(0, last))
  // A name with a colon, not a misspelt action: `!channel:user:42` that forbade the action `42` would forbid nothing.
  return actions[resource]?.has(action) ? permission(resource, rest.slice(0, last), action) : permission(resource, rest)
}

export const isPermission = (text: string): boolean => parse(text) !== undefined

const parsed = new WeakMap<readonly string[], readonly Permission[]>()

const permissionsOf = ({ permissions }: Account): readonly Permission[] => {
  const known = parsed.get(permissions)
  if (known !== undefined) return known
  const fresh = permissions.map(parse).filter((permission) => permission !== undefined)
  parsed.set(permissions, fresh)
  return fresh
}

/** Whether an account may do something, and which of its permissions says so. */
export const decide = (account: Account, resource: Resource, name: string, action: string): Decision => {
  let allowing: string | undefined
  for (const permission of permissionsOf(account)) {
    const fits =
      (permission.resource === resource || (permission.resource === '*' && resource !== 'admin')) &&
      (permission.action === undefined || permission.action === action) &&
      permission.names.test(name)
    if (!fits) continue
    if (permission.forbids) return { isAllowed: false, rule: permission.text }
    allowing ??= permission.text
  }
  if (allowing !== undefined) return { isAllowed: true, rule: allowing }
  const needed = actions[resource] === undefined ? `${resource}:${name}` : `${resource}:${name}:${action}`
  return { isAllowed: false, rule: words.has(resource) ? `needs ${resource}` : `needs ${needed}` }
}

/** From weak to strong: whoever may do one may do all before it. `comment`: change what `documents.commentRoots` names, and only that. */
export const documentLevels = ['read', 'comment', 'write'] as const
export type DocumentAccess = (typeof documentLevels)[number]

/**
 * What an account may do with a document that it opens: the strongest level that is allowed. A level that is forbidden ends the
 * ladder, so `!document:x:comment` leaves reading alone, whatever is allowed above it. Where writing is forbidden, commenting has to be
 * allowed by name: `["*", "!document:*:write"]` means somebody who only reads. Undefined: not even read.
 */
export const documentAccess = (account: Account, name: string): DocumentAccess | undefined => {
  const [read, comment, write] = documentLevels.map((level) => decide(account, 'document', name, level)) as [Decision, Decision, Decision]
  const isForbidden = ({ isAllowed, rule }: Decision): boolean => !isAllowed && rule.startsWith('!')
  if (isForbidden(read)) return undefined
  const mayRead = read.isAllowed ? 'read' : undefined
  if (isForbidden(comment)) return mayRead
  if (write.isAllowed) return 'write'
  const mayComment = isForbidden(write) ? isNamed(account, name, 'comment') : comment.isAllowed
  return mayComment ? 'comment' : mayRead
}

/** What keeps an account from bringing a document into being by changing it. Writing is enough for that, unless creating is forbidden. */
export const birthBan = (account: Account, name: string): string | undefined => {
  const { isAllowed, rule } = decide(account, 'document', name, 'create')
  return !isAllowed && rule.startsWith('!') ? rule : undefined
}

const isNamed = (account: Account, name: string, action: DocumentAccess): boolean =>
  permissionsOf(account).some((one) => one.resource === 'document' && one.action === action && !one.forbids && one.names.test(name))

/** Longest name, in UTF-8 bytes: the address of an inbox holds it beside the tenant's. */
const maxUserBytes = 128
/** Invisible characters and direction marks, with which two names look equal (Unicode category Cf). */
export const hasInvisible = (name: string): boolean => /\p{Cf}/u.test(name)

const encoder = new TextEncoder()

/** Why nobody can have this name, or undefined. With `~` the user of one tenant would look like that of another. */
export const userDefect = (user: string): string | undefined => {
  if (user.length > maxUserBytes || encoder.encode(user).length > maxUserBytes) return `the name is longer than ${maxUserBytes} bytes`
  if (user.startsWith('~')) return 'the name begins with ~'
  if (hasInvisible(user)) return 'the name has invisible characters'
  return user === user.normalize('NFC') ? idDefect(user)?.replace('id', 'name') : 'the name is not normalised (NFC)'
}

/** Where clients can log in, the name of one that did not begins with it, or is that of its connection. */
export const guestPrefix = 'guest:'

/** Why nobody can log in under this name, or undefined. */
export const accountDefect = (user: string): string | undefined =>
  user.startsWith(guestPrefix) ? `the name begins with ${guestPrefix}` : userDefect(user)

const tenantPattern = /^[A-Za-z0-9_.-]{1,64}$/
export const isTenantName = (text: string): boolean => text === '' || tenantPattern.test(text)

/** The id of a channel or document among those of all tenants. `name` must not begin with `~`. */
export const scopedId = (tenant: string, name: string): string => (tenant === '' ? name : `~${tenant}/${name}`)

/** The name that its tenant knows it by. */
export const publicName = (id: string): string => (id.startsWith('~') ? id.slice(id.indexOf('/') + 1) : id)
export const tenantOf = (id: string): string => (id.startsWith('~') ? id.slice(1, id.indexOf('/')) : '')
