/** Names of documents, as clients may give them. */
import { hasInvisible } from '../../actors/account.ts'
import { TroupeError } from '../../actors/errors.ts'
import { idDefect } from '../../actors/system/address.ts'

/** Why nobody can have a document of this name, or undefined. */
export const documentNameDefect = (name: string): string | undefined => {
  if (name.startsWith('~')) return 'names that begin with ~ are those of tenants'
  // Clients take them out of every URL, also when they are percent-encoded: such a document could never be deleted over HTTP.
  if (name === '.' || name === '..') return '. and .. are steps of a path'
  return idDefect(name) ?? (hasInvisible(name) ? 'the name has invisible characters' : undefined)
}

/** Normalised (NFC). Errors: `connection.bad_name`. */
export const documentName = (given: string): string => {
  const name = given.normalize('NFC')
  const defect = documentNameDefect(name)
  if (defect !== undefined) throw new TroupeError('connection.bad_name', defect)
  return name
}
