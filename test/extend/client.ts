/** A client as hooks see it, and a log that a test can read. */
import type { HookClient } from '../../actors/hooks.ts'
import type { Log } from '../../actors/world.ts'

export const clientOf = (user: string): HookClient => ({
  client: `client-of-${user}`,
  door: 'bus',
  account: { user, tenant: '', isAnonymous: false, permissions: ['*'] },
})

export interface LogLine {
  readonly text: string
  readonly [field: string]: unknown
}

export const listeningLog = (): { readonly log: Log; readonly lines: LogLine[] } => {
  const lines: LogLine[] = []
  const note = (fields: object, text: string) => {
    lines.push({ ...fields, text })
  }
  return { lines, log: { debug: note, info: note, warn: note, error: note } }
}
