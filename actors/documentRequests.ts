/**
 * The requests that have changed a document and may come again, because the answer to the first was lost. Each bears a key that
 * whoever asks has chosen, and is done once.
 *
 * Promises: a key is on disk exactly when its change is, for both are one entry of the journal; a compaction takes it along into the
 * snapshot. So many are remembered, for so long; of a document that began anew none of those from before.
 */
import type { DoneRequest, RequestKey, StoredRequest } from '../crdt/change.ts'
import { TroupeError } from './errors.ts'
import type { Offset } from './journal.ts'
import { type Known, Repeats } from './repeats.ts'
import type { EpochMs } from './world.ts'

export interface RequestLimits {
  /** Most requests of one document that are remembered. Default 1 000. */
  readonly repeatRequests?: number
  /** For so long. Default one day. */
  readonly repeatMs?: number
}

type Remembered = StoredRequest & Known

const defaultRequests = 1_000
export const defaultRepeatMs = 24 * 3_600_000

export class DocumentRequests {
  readonly #repeats: Repeats<Remembered>

  constructor({ repeatRequests = defaultRequests, repeatMs = defaultRepeatMs }: RequestLimits) {
    this.#repeats = new Repeats({ messages: repeatRequests, ms: repeatMs, bytes: Number.POSITIVE_INFINITY })
  }

  /** By offset, ascending. */
  add(request: DoneRequest, offset: Offset, time: EpochMs): void {
    this.#repeats.add(request.id, { ...request, offset, time, bytes: 0 })
  }

  /** One that made its change here; that may still be on its way to disk. Errors: `document.key_reused`. */
  find(key: RequestKey | undefined, now: EpochMs): StoredRequest | undefined {
    const known = key && this.#repeats.find(key.id, now)
    if (key !== undefined && known !== undefined) checkSame(key, known)
    return known
  }

  upTo(offset: Offset): readonly StoredRequest[] {
    return [...this.#repeats.all].filter((request) => request.offset <= offset)
  }
}

/** Errors: `document.key_reused`. */
export const checkSame = (key: RequestKey, known: RequestKey): void => {
  if (key.hash !== known.hash) throw new TroupeError('document.key_reused')
}
