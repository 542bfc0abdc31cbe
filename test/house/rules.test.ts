/** Rules have ids, in the pages and in the titles of the tests: each rule has a test, and each id means one rule. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { describe, expect, it } from 'vitest'

const filesIn = (folder: URL, ending: string): readonly { readonly name: string; readonly text: string }[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => ({ name, text: readFileSync(new URL(name, folder), 'utf8') }))

const found = (text: string, pattern: RegExp): string[] => [...text.matchAll(pattern)].map(([, id = '']) => id)

const rules = filesIn(new URL('../../docs/', import.meta.url), '.md').flatMap(({ text }) => found(text, /^\| ([A-Z]{2,3}\d+) \|/gm))
/** The file of each title, by the id in it. */
const titles = new Map<string, Set<string>>()
for (const { name, text } of filesIn(new URL('../', import.meta.url), '.ts'))
  for (const id of found(text, /(?:['`]|": )\[([A-Z]{2,3}\d+)\] /g)) titles.set(id, (titles.get(id) ?? new Set()).add(name))

const familyOf = (id: string): string => id.replace(/\d+$/, '')

describe('the rules', () => {
  it('each have an id of their own', () => {
    expect(rules.filter((id, index) => rules.indexOf(id) !== index)).toEqual([])
    expect(rules.length).toBeGreaterThan(300)
  })

  it('each have a test', () => {
    // Those of documents (DOC) are proved by the simulated world, whose tests have no titles of their own for them.
    expect(rules.filter((id) => familyOf(id) !== 'DOC' && !titles.has(id))).toEqual([])
  })

  it('are all that a title means by an id of their families', () => {
    const families = new Set(rules.map(familyOf))
    expect([...titles.keys()].filter((id) => families.has(familyOf(id)) && !rules.includes(id))).toEqual([])
  })

  it('of one family have their tests in one folder, or two people have given it two meanings', () => {
    const folders = new Map<string, Set<string>>()
    for (const [id, files] of titles)
      for (const file of files) folders.set(familyOf(id), (folders.get(familyOf(id)) ?? new Set()).add(dirname(file)))
    expect([...folders].filter(([, { size }]) => size > 1).map(([family]) => family)).toEqual([])
  })
})
