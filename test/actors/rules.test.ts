import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const here = new URL('.', import.meta.url)
const ids = (text: string, pattern: RegExp) => new Set([...text.matchAll(pattern)].map(([, id]) => id))

it('every rule in docs/reference has a test, and every id in a title has a rule', () => {
  const reference = new URL('../../docs/reference/', here)
  const pages = readdirSync(reference).map((name) => readFileSync(new URL(name, reference), 'utf8'))
  const rules = ids(pages.join('\n'), /^\| ([A-Z]{2}\d+) \|/gm)
  const titlesIn = (folder: URL) => {
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.test.ts'))
    return ids(files.map((name) => readFileSync(new URL(name, folder), 'utf8')).join('\n'), /'\[([A-Z]{2}\d+)\] /g)
  }
  expect([...titlesIn(here)].filter((id) => !rules.has(id))).toEqual([])
  // Those of commands and HTTP are kept where the wire is tested.
  const tested = titlesIn(new URL('../', here))
  expect([...rules].filter((id) => !tested.has(id))).toEqual([])
  expect(rules.size).toBeGreaterThan(100)
})
