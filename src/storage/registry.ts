/**
 * Journal backends by name: `lmdb` and `memory` are there, users register their own.
 *
 * A backend keeps the promises of `Journals`; the contract suite in test/contract tells whether it does.
 */
import { TroupeError } from '../../actors/errors.ts'
import type { Journals } from '../../actors/journal.ts'
import { type LmdbOptions, openLmdbJournals } from './lmdb.ts'
import { openMemoryJournals } from './memory.ts'

/** What every backend is given; it takes what it needs. Options of its own come along in `backend`. */
export interface OpenJournals extends LmdbOptions {
  readonly backend?: unknown
}

export type JournalsOpener = (options: OpenJournals) => Journals | Promise<Journals>

const openers = new Map<string, JournalsOpener>([
  ['lmdb', openLmdbJournals],
  ['memory', openMemoryJournals],
])

/** Errors: `config.invalid` when the name is taken. */
export const registerJournals = (name: string, open: JournalsOpener): void => {
  if (openers.has(name)) throw new TroupeError('config.invalid', `a journal backend named ${name} is already registered`)
  openers.set(name, open)
}

/**
 * `more`: backends of this server alone, those of its plugins.
 * Errors: `config.invalid` when nobody registered the name, or it is taken; those of the backend.
 */
export const openJournals = async (
  name: string,
  options: OpenJournals,
  more: ReadonlyMap<string, JournalsOpener> = new Map(),
): Promise<Journals> => {
  const taken = [...more.keys()].find((known) => openers.has(known))
  if (taken !== undefined) throw new TroupeError('config.invalid', `a journal backend named ${taken} is already registered`)
  const open = more.get(name) ?? openers.get(name)
  const names = [...openers.keys(), ...more.keys()].join(', ')
  if (open === undefined) throw new TroupeError('config.invalid', `no journal backend ${name}; there are ${names}`)
  return open(options)
}
