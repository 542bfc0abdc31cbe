/**
 * Revocations: users and tokens that are no longer accepted although their time has not come. One actor for all,
 * `revocations/main`, whose state is on disk before a revocation is answered.
 *
 * Promises: a revocation holds until its token would have expired anyway, through restarts. At most `limit` are kept; when
 * they are all still needed, another one is refused (`auth.too_many_revocations`): to forget the oldest would let a stolen
 * token in again, and nobody would know.
 */
import { type Account, scopedId } from './account.ts'
import { TroupeError } from './errors.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'
import type { EpochMs } from './world.ts'

export const revocationsAddress: Address = 'revocations/main'

export type Revocation =
  /** Everything that was issued to the user up to `before`, and whatever does not say when it was issued. */
  | { readonly user: string; readonly tenant: string; readonly before: EpochMs }
  /** One token, whatever its tenant. Until then; undefined: for ever. */
  | { readonly tokenId: string; readonly until?: EpochMs }

export type RevocationRequest =
  /** Default of `tenant`: the one without a name; of `before`: now. */
  { readonly user: string; readonly tenant?: string; readonly before?: EpochMs } | { readonly tokenId: string; readonly until?: EpochMs }

export type RevocationsMessage =
  /** Answered with the revocation, when it is on disk. */
  | ({ readonly type: 'revocations.revoke' } & RevocationRequest)
  /** Answered with all of them: `Revocation[]`. */
  | { readonly type: 'revocations.list' }

const keyOf = (revocation: Revocation): string =>
  'tokenId' in revocation ? `token ${revocation.tokenId}` : `user ${scopedId(revocation.tenant, revocation.user)}`

/** The one that covers more. */
const wider = (a: Revocation, b: Revocation): Revocation => {
  if ('tokenId' in a || 'tokenId' in b) return (untilOf(a) ?? Infinity) < (untilOf(b) ?? Infinity) ? b : a
  return a.before < b.before ? b : a
}

const untilOf = (revocation: Revocation): EpochMs | undefined => ('tokenId' in revocation ? revocation.until : undefined)

/** All that hold. */
export class RevocationSet {
  readonly #all = new Map<string, Revocation>()

  get size(): number {
    return this.#all.size
  }

  has(revocation: Revocation): boolean {
    return this.#all.has(keyOf(revocation))
  }

  add(revocation: Revocation): void {
    const key = keyOf(revocation)
    const known = this.#all.get(key)
    this.#all.set(key, known === undefined ? revocation : wider(known, revocation))
  }

  /** Forgets tokens that have expired. */
  expire(now: EpochMs): void {
    for (const [key, revocation] of this.#all) if ((untilOf(revocation) ?? Infinity) < now) this.#all.delete(key)
  }

  /** Clients that did not log in have nothing that could be revoked. */
  covers({ user, tenant, tokenId, issuedAt, isAnonymous }: Account): boolean {
    if (isAnonymous) return false
    if (tokenId !== undefined && this.#all.has(keyOf({ tokenId }))) return true
    const revoked = this.#all.get(keyOf({ user, tenant, before: 0 }))
    return revoked !== undefined && 'before' in revoked && (issuedAt === undefined || issuedAt <= revoked.before)
  }

  list(): Revocation[] {
    return [...this.#all.values()]
  }
}

/** `at`: what had expired by then was forgotten. */
interface Revoked {
  readonly revocation: Revocation
  readonly at: EpochMs
}

export interface RevocationsOptions {
  /** Most that are kept. Default 100 000, some 10 MB. */
  readonly limit?: number
  /** Called with every revocation when it is on disk. */
  readonly revoked?: (revocation: Revocation) => void
}

const isName = (value: unknown): value is string => typeof value === 'string' && value !== ''

/** Infinity would lie in the journal as null. */
const isTime = (value: unknown): boolean => value === undefined || Number.isFinite(value)

const revocationOf = (request: RevocationRequest, now: EpochMs): Revocation => {
  if ('user' in request && isName(request.user) && isTime(request.before))
    return { user: request.user, tenant: request.tenant ?? '', before: request.before ?? now }
  if ('tokenId' in request && isName(request.tokenId) && isTime(request.until))
    return { tokenId: request.tokenId, ...(request.until === undefined ? {} : { until: request.until }) }
  throw new TroupeError('command.bad_parameters', 'a revocation needs a user or the id of a token, and times in ms')
}

export const revocationsKind = ({ limit = 100_000, revoked }: RevocationsOptions = {}) =>
  defineActor<RevocationSet, RevocationsMessage, Revoked>({
    kind: 'revocations',
    state: () => new RevocationSet(),
    durable: {
      version: 1,
      apply: (set, { revocation, at }) => {
        set.expire(at)
        set.add(revocation)
      },
      toJson: (set) => set.list(),
      fromJson: (value) => {
        const set = new RevocationSet()
        for (const revocation of value as Revocation[]) set.add(revocation) // as toJson made it
        return set
      },
    },
    handlers: {
      'revocations.revoke': async (set, message, scope) => {
        const at = scope.now()
        const revocation = revocationOf(message, at)
        set.expire(at)
        if (set.size >= limit && !set.has(revocation)) throw new TroupeError('auth.too_many_revocations', `limit ${limit}`)
        await scope.persist({ revocation, at })
        revoked?.(revocation)
        return revocation
      },
      'revocations.list': (set) => set.list(),
    },
  })
