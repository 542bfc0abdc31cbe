/** The content of documents in the forms that programs want, and changes of it in words that they have. Costly work goes to the worker. */
import type { DocumentBytes } from '../../actors/documentMessages.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { Operation } from '../../crdt/operations.ts'
import type { Wanted } from '../../crdt/read.ts'
import type { DocumentWork } from '../../crdt/work.ts'

const noBytes = new Uint8Array(0)
const encoder = new TextEncoder()

/** Nesting of what lies in a document, and how much one request may look at or make: eight times the values of a 16 MiB body. */
const editLimits = { depth: 200, values: 20_000_000 }

/** Errors: `command.bad_parameters` for a root that is not of the form, `document.misfit` for what cannot be read. */
export const readAs = async (work: DocumentWork, { snapshot, tail }: Pick<DocumentBytes, 'snapshot' | 'tail'>, wanted: Wanted): Promise<string> => {
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
  const edit = await work.run('editJson', snapshot, tail, encoder.encode(JSON.stringify(operations)), client, editLimits)
  if (edit.ok) return edit.update
  throw new TroupeError(edit.code === 'test' ? 'document.changed' : 'document.misfit', `operation ${edit.index}: ${edit.detail}`)
}

/** A document that holds nothing but what these operations make. */
export const contentBy = (work: DocumentWork, operations: readonly Operation[]): Promise<Uint8Array> =>
  changeBy(work, { snapshot: noBytes, tail: [] }, operations, undefined)
