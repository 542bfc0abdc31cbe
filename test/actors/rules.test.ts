import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const here = new URL('.', import.meta.url)
const ids = (text: string, pattern: RegExp) => new Set([...text.matchAll(pattern)].map(([, id]) => id))

it('every rule in docs/reference has a test, and every id in a title has a rule', () => {
  const reference = new URL('../../docs/reference/', here)
  const pages = readdirSync(reference).map((name) => readFileSync(new URL(name, reference), 'utf8'))
  const rules = ids(pages.join('\n'), /^\| ([A-Z]{2}\d+) \|/gm)
  const files = readdirSync(here).filter((name) => name.endsWith('.test.ts'))
  const tested = ids(files.map((name) => readFileSync(new URL(name, here), 'utf8')).join('\n'), /'\[([A-Z]{2}\d+)\] /g)
  expect([...tested].filter((id) => !rules.has(id))).toEqual([])
  expect([...rules].filter((id) => !tested.has(id))).toEqual([])
  expect(rules.size).toBeGreaterThan(100)
})
