/** Log lines: JSON through pino, or pretty on a terminal. Texts of clients are data in fields, never part of a line. */
import { type Logger, pino } from 'pino'
import pretty from 'pino-pretty'
import type { Config } from '../config.ts'

export const openLog = ({ level, pretty: style }: Config['log']): Logger => {
  const isPretty = style === 'always' || (style === 'auto' && process.stdout.isTTY === true)
  if (isPretty) return pino({ level }, pretty({ sync: true, ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l' }))
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ sync: true }))
}
