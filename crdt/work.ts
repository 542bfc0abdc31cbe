/**
 * The costly work on documents, as a table of pure functions: whoever has a worker thread runs them there, by name. What goes in and
 * comes out can be cloned between threads (bytes, numbers, texts, plain objects).
 */
import { compact, integrablePart } from './compact.ts'
import { groupChanges, offsetAt } from './history.ts'
import { diff as historyDiff } from './historyDiff.ts'
import { view as historyView } from './historyReplay.ts'
import { restore as historyRestore, rollback as historyRollback } from './historyRevert.ts'
import { editJson } from './jsonEdit.ts'
import { inspect } from './packedInspection.ts'
import { encodeContent, readContent } from './read.ts'

export const documentWork = {
  inspect,
  compact,
  integrablePart,
  readContent,
  encodeContent,
  editJson,
  groupChanges,
  offsetAt,
  historyView,
  historyDiff,
  historyRestore,
  historyRollback,
}

type Table = typeof documentWork
export type JobName = keyof Table

/** Runs one of them elsewhere. Must not throw synchronously; rejects with what the function threw, or when it took too long. */
export interface DocumentWork {
  run<Name extends JobName>(name: Name, ...given: Parameters<Table[Name]>): Promise<ReturnType<Table[Name]>>
}
