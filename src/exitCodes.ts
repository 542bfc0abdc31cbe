/** Exit codes (sysexits.h): what the supervisor, systemd and people tell from them. */
import type { ErrorCode } from '../actors/errors.ts'

export const exitCodes = {
  ok: 0,
  /** The shutdown deadline passed, or a second signal came. What was acknowledged is on disk all the same. */
  forced: 1,
  usage: 64,
  /** A defect, or a disk that refused a write: starting again may help. */
  software: 70,
  /** The data directory cannot be used as it is: starting again does not help. */
  data: 74,
  config: 78,
} as const

const byError: Partial<Record<ErrorCode, number>> = {
  'config.invalid': exitCodes.config,
  'actor.bad_definition': exitCodes.config,
  'storage.corrupt': exitCodes.data,
  'storage.newer_format': exitCodes.data,
  'storage.read_only': exitCodes.data,
  'storage.locked': exitCodes.data,
}

export const exitCodeOf = (code: ErrorCode): number => byError[code] ?? exitCodes.software
