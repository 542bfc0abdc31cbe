/** The content of documents in the forms that programs want, and changes of it in words that they have. Costly work goes to the worker. */
import type { DocumentBytes } from '../../actors/documentMessages.ts'
import { TroupeError } from '../../actors/errors.ts'
import { noBytes } from '../../crdt/cursor.ts'
import type { Operation } from '../../crdt/operations.ts'
import type { Wanted } from '../../crdt/read.ts'
import type { DocumentWork } from '../../crdt/work.ts'

const encoder = new TextEncoder()

/** Nesting of what lies in a document after an edit. */
const depth = 200
/**
 * Values that an edit may look at or make: some, and as many as there are bytes twice over. What is small is done where it is, so a
 * request of a few bytes that copies and copies must end within some ten milliseconds (100 000 values: 60 ms).
 */
const leastValues = 20_000

/** Errors: `command.bad_parameters` for a root that is not of the form, `document.misfit` for what cannot be read. */
export const readAs = async (
  work: DocumentWork,
  { snapshot, tail }: Pick<DocumentBytes, 'snapshot' | 'tail'>,
  wanted: Wanted,
): Promise<string> => {
  const read = await work.run('readContent', snapshot, tail, wanted)
  if (read.ok) return read.text
  throw new TroupeError(
    read.code === 'root' ? 'command.bad_parameters' : 'document.misfit',
    read.code === 'root' ? `root: ${read.detail}` : read.detail,
  )
}

/** All that somebody with this state vector lacks, as one update. Errors: `command.bad_parameters`. */
export const updateSince = async (
  work: DocumentWork,
  { snapshot, tail }: DocumentBytes,
  since: Uint8Array | undefined,
): Promise<Uint8Array> => {
  const update = await work.run('encodeContent', snapshot, tail, since)
  if (update.ok) return update.bytes
  throw new TroupeError('command.bad_parameters', `since: ${update.detail}`)
}

/** The change that operations make; empty for none. Errors: `document.changed` when a `test` fails, `document.misfit`. */
export const changeBy = async (
  work: DocumentWork,
  { snapshot, tail }: Pick<DocumentBytes, 'snapshot' | 'tail'>,
  operations: readonly Operation[],
  client: number | undefined,
): Promise<Uint8Array> => {
  const bytes = encoder.encode(JSON.stringify(operations))
  const size = tail.reduce((sum, update) => sum + update.length, snapshot.length + bytes.length)
  const edit = await work.run('editJson', snapshot, tail, bytes, client, { depth, values: leastValues + 2 * size })
  if (edit.ok) return edit.update
  throw new TroupeError(edit.code === 'test' ? 'document.changed' : 'document.misfit', `operation ${edit.index}: ${edit.detail}`)
}

/** A document that holds nothing but what these operations make. */
export const contentBy = (work: DocumentWork, operations: readonly Operation[]): Promise<Uint8Array> =>
  changeBy(work, { snapshot: noBytes, tail: [] }, operations, undefined)
