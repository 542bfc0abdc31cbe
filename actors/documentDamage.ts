/**
 * What is stored of a document cannot be read: part of it is damaged or missing, or it was written by a newer version. That does not
 * pass by itself. Nobody is shown what is left of it; it can be deleted, purged or begun anew.
 */
import { decodeChange, unseal } from '../crdt/change.ts'
import { isLongToInspect, unpacked } from '../crdt/packedInspection.ts'
import { rangesOf } from '../crdt/ranges.ts'
import type { StateVector } from '../crdt/stateVector.ts'
import { inspectUpdate, storedLimits } from '../crdt/update.ts'
import type { DocumentWork } from '../crdt/work.ts'
import { type ErrorCode, isTroupeError, type TroupeError } from './errors.ts'
import type { Entry, Journals, Offset } from './journal.ts'

export const damageCodes: readonly ErrorCode[] = ['journal.corrupt', 'storage.newer_format']

export const isDamage = (error: unknown): error is TroupeError => isTroupeError(error) && damageCodes.includes(error.code)

const orUndefined = <Value>(read: Promise<Value>): Promise<Value | undefined> =>
  read.catch((error) => {
    if (isDamage(error)) return undefined
    throw error
  })

/** Of a journal whose head cannot be read: whoever is to remove that one journal knows it by this. */
export const unreadableEpoch = 'unreadable'

/** Empty: there is no such journal. */
export const epochOf = async (journals: Journals, journal: string): Promise<string> =>
  (await orUndefined(journals.head(journal)))?.epoch ?? unreadableEpoch

const mostAtOnce = 1_024
/** What is larger is inspected in the worker. */
const inlineBytes = 256 * 1024

/** From one end up to what cannot be read. A page that touches it is refused whole, so they become smaller there. */
async function* readableEntries(journals: Journals, journal: string, reverse: boolean): AsyncGenerator<Entry> {
  let after: Offset | undefined
  for (let limit = mostAtOnce; limit >= 1; ) {
    const entries = await orUndefined(journals.read(journal, { reverse, limit, ...(after !== undefined && { after }) }))
    if (entries === undefined) limit = Math.floor(limit / 2)
    else if (entries.length === 0) return
    else yield* entries
    after = entries?.at(-1)?.offset ?? after
  }
}

/**
 * All that is known of what the document had, for the record of what is gone: clients are recognised by any of it. Who wrote only
 * where nothing can be read is not.
 */
export const salvagedVector = async (journals: Journals, work: DocumentWork, journal: string): Promise<StateVector> => {
  const vector: StateVector = new Map()
  const add = async (update: Uint8Array | undefined): Promise<void> => {
    if (update === undefined) return
    const isLong = isLongToInspect(update, inlineBytes)
    const inspection = isLong ? unpacked(await work.run('inspect', update, storedLimits)) : inspectUpdate(update, storedLimits)
    if (!inspection.ok) return
    for (const { client, to } of rangesOf(inspection)) if (to > (vector.get(client) ?? 0)) vector.set(client, to)
  }
  const snapshot = await orUndefined(journals.snapshot(journal))
  await add(snapshot && unseal(snapshot.data))
  for (const reverse of [false, true])
    for await (const { data } of readableEntries(journals, journal, reverse)) await add(decodeChange(data)?.update)
  return vector
}
