/**
 * The costly work on documents, as a table of pure functions: whoever has a worker thread runs them there, by name. What goes in and
 * comes out can be cloned between threads (bytes, numbers, texts, plain objects).
 */
import { compact, integrablePart } from './compact.ts'
import { cutElsewhere } from './cut.ts'
import { groupChanges, offsetAt } from './history.ts'
import { diff as historyDiff } from './historyDiff.ts'
import { view as historyView } from './historyReplay.ts'
import { restore as historyRestore, rollback as historyRollback } from './historyRevert.ts'
import { editJson } from './jsonEdit.ts'
import { TooLarge, Unreadable } from './jsonValue.ts'
import { inspect } from './packedInspection.ts'
import { encodeContent, readContent } from './read.ts'
import { splitUpdates } from './split.ts'

/** What a document cannot be shown for is an answer, too: an error that comes from another thread has lost its class. */
export type Readable<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly detail: string; readonly isTooLarge?: true }

const readable =
  <Given extends readonly unknown[], Value>(read: (...given: Given) => Value) =>
  (...given: Given): Readable<Value> => {
    try {
      return { ok: true, value: read(...given) }
    } catch (reason) {
      if (reason instanceof Unreadable)
        return { ok: false, detail: reason.message, ...(reason instanceof TooLarge && { isTooLarge: true }) }
      throw reason
    }
  }

export const documentWork = {
  inspect,
  compact,
  integrablePart,
  splitUpdates,
  cutElsewhere,
  readContent,
  encodeContent,
  editJson,
  groupChanges,
  offsetAt,
  historyView: readable(historyView),
  historyDiff: readable(historyDiff),
  historyRestore: readable(historyRestore),
  historyRollback: readable(historyRollback),
}

type Table = typeof documentWork
export type JobName = keyof Table

/** Runs one of them elsewhere. Must not throw synchronously; rejects with what the function threw, or when it took too long. */
export interface DocumentWork {
  run<Name extends JobName>(name: Name, ...given: Parameters<Table[Name]>): Promise<ReturnType<Table[Name]>>
}
