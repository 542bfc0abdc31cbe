/**
 * Users with passwords, from a file that is read again when it changes.
 *
 * Promises: somebody who tries names and passwords learns neither by time nor by text whether there is such a user; logins
 * leave the server half of its threads (2 at a time, 100 wait). A user who was removed or disabled, or has another password,
 * is gone within about a second; a file that cannot be read or understood changes nothing and is logged.
 */
import type { Account } from '../../actors/account.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { IssueTimes } from '../../actors/issueTimes.ts'
import type { Cancel, World } from '../../actors/world.ts'
import { versionOf } from './fileVersion.ts'
import { Gate } from './gate.ts'
import { isPassword, maxPasswordBytes, type PasswordHash, parseHash } from './passwords.ts'
import type { AuthProvider } from './provider.ts'
import { readUsers, type UserEntry } from './usersFile.ts'

export interface UsersOptions {
  readonly file: string
  /** Of users whose entry says nothing about it. */
  readonly permissions: readonly string[]
  readonly world: Pick<World, 'clock' | 'log'>
  readonly times: IssueTimes
  /** The user as it was is no more: what it logged in to is to be closed. */
  readonly gone: (user: string, tenant: string) => void
}

interface User {
  readonly entry: UserEntry
  readonly tenant: string
  readonly hash: PasswordHash | undefined
}

type Users = ReadonlyMap<string, User>

const lookEveryMs = 1_000
/** Logins at a time: each has a thread of its own, of the four that disk and DNS need, too. */
const width = 2
const waiting = 100

const indexed = (entries: readonly UserEntry[]): Users =>
  new Map(entries.map((entry) => [entry.name, { entry, tenant: entry.tenant ?? '', hash: parseHash(entry.password) }]))

const isSame = (a: UserEntry, b: UserEntry | undefined): boolean => JSON.stringify(a) === JSON.stringify(b)

export class UsersFile implements AuthProvider {
  readonly name = 'users'
  readonly #options: UsersOptions
  readonly #gate = new Gate(width, waiting)
  #users: Users
  #version: string
  /** Why the file could not be used when it was last looked at. */
  #fault: string | undefined
  #cancel: Cancel | undefined
  #isClosed = false

  constructor(options: UsersOptions, users: Users, version: string) {
    this.#options = options
    this.#users = users
    this.#version = version
  }

  /** From now on, until it is closed, the file is looked at. */
  begin(): void {
    this.#lookLater()
  }

  async authenticate(credentials: Parameters<AuthProvider['authenticate']>[0]): Promise<Account | undefined> {
    if (credentials.type !== 'password') return undefined
    const { username, password } = credentials
    const { world, times } = this.#options
    const refused = () => new TroupeError('auth.failed', 'user name or password')
    if (Buffer.byteLength(password) > maxPasswordBytes) throw refused()
    // As it is when the password was checked: a user who was removed meanwhile does not come in.
    const before = this.#users.get(username.normalize('NFC'))
    const isRight = await this.#gate.run(() => isPassword(password, before?.hash))
    const user = this.#users.get(username.normalize('NFC'))
    if (!isRight || user === undefined || before === undefined || !isSame(user.entry, before.entry) || user.entry.disabled) throw refused()
    const { name, permissions = this.#options.permissions } = user.entry
    return { user: name, tenant: user.tenant, isAnonymous: false, permissions, issuedAt: times.issue(world.clock.now()) }
  }

  close(): void {
    this.#isClosed = true
    this.#cancel?.()
  }

  #lookLater(): void {
    if (this.#isClosed) return
    this.#cancel = this.#options.world.clock.after(lookEveryMs, () => void this.#look().then(() => this.#lookLater()))
  }

  async #look(): Promise<void> {
    const { file, world } = this.#options
    try {
      const version = await versionOf(file)
      if (version !== this.#version) {
        this.#take(indexed(await readUsers(file)))
        this.#version = version
        world.log.info({ users: this.#users.size }, 'the users file was read again')
      }
      this.#fault = undefined
    } catch (error) {
      const fault = error instanceof Error ? error.message : String(error)
      if (fault === this.#fault) return // once is enough
      this.#fault = fault
      world.log.error({ error: fault }, 'the users file cannot be used; the users are those of before')
    }
  }

  #take(users: Users): void {
    const before = this.#users
    this.#users = users
    for (const [name, { entry, tenant }] of before) if (!isSame(entry, users.get(name)?.entry)) this.#options.gone(name, tenant)
  }
}

/** Errors: `config.invalid`. */
export const usersProvider = async (options: UsersOptions): Promise<UsersFile> => {
  const version = await versionOf(options.file).catch(() => 'none') // before reading: a change in between is then seen
  return new UsersFile(options, indexed(await readUsers(options.file)), version)
}
