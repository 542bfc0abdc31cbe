/**
 * An account: who a client is, and what it may do. Made by an authenticator, checked where the client acts.
 *
 * A permission is a text:
 *
 *   channel:PATTERN:ACTION    read (join, history, members), write (publish), create, delete
 *   document:PATTERN:ACTION   read, write
 *   command:PATTERN           run commands of these names; a word alone (`history`) means the same
 *   sender:PATTERN            speak in these names instead of one's own
 *   telemetry                 watch what happens on the server
 *   admin                     revoke accounts, see all tenants
 *   *                         everything but admin
 *
 * In a pattern `*` stands for any run of characters, slashes too; as an action for all of them. A permission that begins
 * with `!` forbids, and what is forbidden stays so whatever else is allowed.
 */
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
}

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
  readonly resource: string
  readonly names: RegExp
  readonly action: string
}

const words: ReadonlySet<string> = new Set(['telemetry', 'admin'])
const anything = /^/

const pattern = (text: string): RegExp =>
  text === '*' ? anything : new RegExp(`^${text.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/\*+/g, '.*')}$`, 's')

const parse = (text: string): Permission => {
  const forbids = text.startsWith('!')
  const body = forbids ? text.slice(1) : text
  const all = { text, forbids, names: anything, action: '*' }
  if (body === '*' || words.has(body)) return { ...all, resource: body }
  const first = body.indexOf(':')
  if (first < 0) return { ...all, resource: 'command', names: pattern(body) }
  const resource = body.slice(0, first)
  if (resource === 'command' || resource === 'sender') return { ...all, resource, names: pattern(body.slice(first + 1)) }
  // A name may hold colons, an action does not.
  const last = body.lastIndexOf(':')
  if (last === first) return { ...all, resource, names: pattern(body.slice(first + 1)) }
  return { ...all, resource, names: pattern(body.slice(first + 1, last)), action: body.slice(last + 1) }
}

const parsed = new WeakMap<readonly string[], readonly Permission[]>()

const permissionsOf = ({ permissions }: Account): readonly Permission[] => {
  const known = parsed.get(permissions)
  if (known !== undefined) return known
  const fresh = permissions.map(parse)
  parsed.set(permissions, fresh)
  return fresh
}

/** Whether an account may do something, and which of its permissions says so. */
export const decide = (account: Account, resource: Resource, name: string, action: string): Decision => {
  let allowing: string | undefined
  for (const permission of permissionsOf(account)) {
    const fits =
      (permission.resource === resource || (permission.resource === '*' && resource !== 'admin')) &&
      (permission.action === '*' || permission.action === action) &&
      permission.names.test(name)
    if (!fits) continue
    if (permission.forbids) return { isAllowed: false, rule: permission.text }
    allowing ??= permission.text
  }
  if (allowing !== undefined) return { isAllowed: true, rule: allowing }
  const needed = resource === 'channel' || resource === 'document' ? `${resource}:${name}:${action}` : `${resource}:${name}`
  return { isAllowed: false, rule: words.has(resource) ? `needs ${resource}` : `needs ${needed}` }
}

const tenantPattern = /^[A-Za-z0-9_.-]{1,64}$/
export const isTenantName = (text: string): boolean => text === '' || tenantPattern.test(text)

/** The id of a channel or document among those of all tenants. `name` must not begin with `~`. */
export const scopedId = (tenant: string, name: string): string => (tenant === '' ? name : `~${tenant}/${name}`)

/** The name that its tenant knows it by. */
export const publicName = (id: string): string => (id.startsWith('~') ? id.slice(id.indexOf('/') + 1) : id)
export const tenantOf = (id: string): string => (id.startsWith('~') ? id.slice(1, id.indexOf('/')) : '')
