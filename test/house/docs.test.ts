/** The reference docs are pinned to the tables in the code. `UPDATE_DOCS=true npx vitest run test/house` writes them. */
import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { type ErrorCode, errorTable } from '../../actors/errors.ts'
import { telemetryEvents } from '../../actors/telemetry.ts'
import { options } from '../../src/config.ts'
import { closeTable } from '../../src/doors/closeCodes.ts'
import { statusOf } from '../../src/http/errors.ts'

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`).join('\n')

/** Codes by their status; those that leave no actor, or end the start, have one for completeness only. */
const statuses = new Map<number, ErrorCode[]>()
for (const code of Object.keys(errorTable) as ErrorCode[]) statuses.set(statusOf(code), [...(statuses.get(statusOf(code)) ?? []), code])

const tables: Readonly<Record<string, { readonly file: string; readonly text: string }>> = {
  options: {
    file: 'docs/configuration.md',
    text: table(
      ['option', 'environment', 'default', 'meaning'],
      options.map(({ path, variable, default: value, meaning }) => [
        `\`${path}\``,
        `\`${variable}\``,
        `\`${JSON.stringify(value)}\``,
        meaning,
      ]),
    ),
  },
  errors: {
    file: 'docs/reference/errors.md',
    text: table(
      ['code', 'what happened', 'retry', 'what to do'],
      Object.entries(errorTable).map(([code, { text, retry, advice }]) => [`\`${code}\``, text, retry ? 'yes' : 'no', advice]),
    ),
  },
  closes: {
    file: 'docs/reference/errors.md',
    text: table(
      ['close code', 'reason begins with', 'come back'],
      Object.entries(closeTable).map(([code, close]) => [String(close?.code), `\`${code}\``, close?.retry ? 'yes' : 'no']),
    ),
  },
  telemetry: {
    file: 'docs/operations.md',
    text: table(
      ['event', 'fields'],
      Object.entries(telemetryEvents).map(([event, fields]) => [`\`${event}\``, fields.map((field) => `\`${field}\``).join(', ')]),
    ),
  },
  statuses: {
    file: 'docs/reference/http.md',
    text: table(
      ['status', 'codes'],
      [...statuses].sort(([a], [b]) => a - b).map(([status, codes]) => [String(status), codes.map((code) => `\`${code}\``).join(', ')]),
    ),
  },
}

describe('the reference docs', () => {
  for (const [name, { file, text }] of Object.entries(tables)) {
    it(`${file} has the table of ${name} as it is in the code`, () => {
      const path = new URL(`../../${file}`, import.meta.url)
      const page = readFileSync(path, 'utf8')
      const [begin, end] = [`<!-- table ${name} -->\n`, `\n<!-- end ${name} -->`]
      const from = page.indexOf(begin) + begin.length
      const to = page.indexOf(end)
      expect(to, `${file} has no place for the table`).toBeGreaterThan(from - 1)
      if (process.env.UPDATE_DOCS === 'true') writeFileSync(path, page.slice(0, from) + text + page.slice(to))
      else expect(page.slice(from, to)).toBe(text)
    })
  }

  it('every option says what it means, and numbers say their unit', () => {
    for (const { path, meaning } of options) {
      expect([path, meaning.endsWith('.')]).toEqual([path, true])
      if (path.endsWith('Ms')) expect(meaning).toContain('Milliseconds.')
      if (path.endsWith('Bytes')) expect(meaning).toContain('Bytes.')
    }
  })

  it('y-websocket stops for good on 4400 to 4499, so exactly the codes that must not be retried lie there', () => {
    for (const [code, close] of Object.entries(closeTable)) {
      expect([code, close !== undefined && close.code >= 4400 && close.code < 4500]).toEqual([code, close?.retry === false])
    }
  })
})
