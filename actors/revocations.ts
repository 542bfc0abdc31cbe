/**
 * Revocations: users and tokens that are no longer accepted although their time has not come. One actor for all,
 * `revocations/main`, whose state is on disk before a revocation is answered.
 *
 * Promises: a revocation holds until its token would have expired anyway, through restarts, though the clock is set meanwhile. At
 * most `limit` are kept; when they are all still needed, another one is refused (`auth.too_many_revocations`): to forget the
 * oldest would let a stolen token in again, and nobody would know.
 */
import { type Account, scopedId } from './account.ts'
import { TroupeError } from './errors.ts'
import { IssueTimes, mostLeadMs } from './issueTimes.ts'
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
  /** Default of `tenant`: the one without a name; of `before`: now, or what was issued last where the clock is behind that. */
  { readonly user: string; readonly tenant?: string; readonly before?: EpochMs } | { readonly tokenId: string; readonly until?: EpochMs }

export type RevocationsMessage =
  /** Answered with the revocation, when it is on disk. */
  | ({ readonly type: 'revocations.revoke' } & RevocationRequest)
  /** Answered with all of them: `Revocation[]`. */
  | { readonly type: 'revocations.list' }
  /** What was issued last. Kept for the next process, whose clock may be behind it. */
  | { readonly type: 'revocations.issued'; readonly at: EpochMs }
  /** Answered with what was issued last, as far as it was kept; 0: nothing. */
  | { readonly type: 'revocations.latest' }

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
  /** What was issued last, as far as it is on disk. */
  latest: EpochMs = 0

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

  /** Forgets tokens that had expired by then. */
  expire(by: EpochMs): void {
    for (const [key, revocation] of this.#all) if ((untilOf(revocation) ?? Infinity) < by) this.#all.delete(key)
  }

  /** Clients that did not log in have nothing that could be revoked. A time of issue that is still far off says nothing. */
  covers({ user, tenant, tokenId, issuedAt, isAnonymous }: Account, now: EpochMs): boolean {
    if (isAnonymous) return false
    if (tokenId !== undefined && this.#all.has(keyOf({ tokenId }))) return true
    const revoked = this.#all.get(keyOf({ user, tenant, before: 0 }))
    if (revoked === undefined || !('before' in revoked)) return false
    return issuedAt === undefined || issuedAt <= revoked.before || issuedAt > now + mostLeadMs
  }

  list(): Revocation[] {
    return [...this.#all.values()]
  }
}

type RevocationEvent =
  /** `at`: what had expired by then was forgotten. */
  { readonly revocation: Revocation; readonly at: EpochMs; readonly latest?: EpochMs } | { readonly latest: EpochMs }

interface Stored {
  readonly all: readonly Revocation[]
  readonly latest: EpochMs
}

export interface RevocationsOptions {
  /** Most that are kept. Default 100 000, some 10 MB. */
  readonly limit?: number
  /** Tokens are accepted so much longer than they say. Default 0. */
  readonly toleranceMs?: number
  /** Of all that lets somebody in. */
  readonly times?: IssueTimes
  /** Called with every revocation when it is on disk. */
  readonly revoked?: (revocation: Revocation) => void
}

const isName = (value: unknown): value is string => typeof value === 'string' && value !== ''

/** Infinity would lie in the journal as null. */
const isTime = (value: unknown): boolean => value === undefined || Number.isFinite(value)

const revocationOf = (request: RevocationRequest, present: () => EpochMs): Revocation => {
  if ('user' in request && isName(request.user) && isTime(request.before))
    return { user: request.user, tenant: request.tenant ?? '', before: request.before ?? present() }
  if ('tokenId' in request && isName(request.tokenId) && isTime(request.until))
    return { tokenId: request.tokenId, ...(request.until === undefined ? {} : { until: request.until }) }
  throw new TroupeError('command.bad_parameters', 'a revocation needs a user or the id of a token, and times in ms')
}

/**
 * What had expired by then may be forgotten. A clock that is wrong today may be right tomorrow, so revocations stay for a day longer,
 * unless there is no more room for others.
 */
const expiredBy = (now: EpochMs, toleranceMs: number, isFull: boolean): EpochMs => now - toleranceMs - (isFull ? 0 : mostLeadMs)

export const revocationsKind = ({ limit = 100_000, toleranceMs = 0, times = new IssueTimes(), revoked }: RevocationsOptions = {}) =>
  defineActor<RevocationSet, RevocationsMessage, RevocationEvent>({
    kind: 'revocations',
    state: () => new RevocationSet(),
    durable: {
      version: 2,
      apply: (set, event) => {
        set.latest = event.latest ?? set.latest
        if (!('revocation' in event)) return
        set.expire(event.at)
        set.add(event.revocation)
      },
      toJson: (set): Stored => ({ all: set.list(), latest: set.latest }),
      fromJson: (value) => {
        const { all, latest } = value as Stored // as toJson made it
        const set = new RevocationSet()
        set.latest = latest
        for (const revocation of all) set.add(revocation)
        return set
      },
    },
    handlers: {
      'revocations.revoke': async (set, message, scope) => {
        const now = scope.now()
        times.note(set.latest, now)
        const revocation = revocationOf(message, () => times.revoke(now))
        set.expire(expiredBy(now, toleranceMs, false))
        const isFull = set.size >= limit
        if (isFull) set.expire(expiredBy(now, toleranceMs, true))
        if (set.size >= limit && !set.has(revocation)) throw new TroupeError('auth.too_many_revocations', `limit ${limit}`)
        await scope.persist({ revocation, at: expiredBy(now, toleranceMs, isFull), latest: times.latest })
        revoked?.(revocation)
        return revocation
      },
      'revocations.list': (set) => set.list(),
      'revocations.issued': async (_set, { at }, scope) => {
        await scope.persist({ latest: at })
      },
      'revocations.latest': (set) => set.latest,
    },
  })
