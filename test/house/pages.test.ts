/** The pages hold together: links lead somewhere, and what they name by a name of ours is there. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { errorTable } from '../../actors/errors.ts'
import { documentEventTypes } from '../../actors/webhook.ts'
import { builtinCommands } from '../../src/bus/commands.ts'
import { options } from '../../src/config.ts'
import { closeTable } from '../../src/doors/closeCodes.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.md'))
const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...docs.map((name) => join('docs', name))]
const textOf = (page: string): string => readFileSync(join(root, page), 'utf8')

/** The anchor that a forge makes of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')
const anchorsOf = (page: string): string[] => [...textOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => anchorOf(heading))

const leadsNowhere = (page: string, link: string): boolean => {
  const [path = '', anchor] = link.split('#')
  const target = path === '' ? page : join(dirname(page), path)
  if (!existsSync(join(root, target))) return true
  return anchor !== undefined && !anchorsOf(target).includes(anchor)
}

/** Names in backticks of the form `section.name`, without an argument or a value. */
const named = (text: string, sections: ReadonlySet<string>): string[] =>
  [...text.matchAll(/`([a-z]+)\.([A-Za-z_]+)(?:[ =][^`]*)?`/g)].flatMap(([, section = '', name]) =>
    sections.has(section) ? [`${section}.${name}`] : [],
  )

const sectionsOf = (names: readonly string[]): ReadonlySet<string> =>
  new Set(names.filter((name) => name.includes('.')).map((name) => name.split('.', 1)[0] as string)) // split gives at least one

const paths = options.map(({ path }) => path)
const codes = Object.keys(errorTable)
/** Names of that form which are neither: events of webhooks, and commands of ArqonBus's own dialect. */
const others = [...documentEventTypes, 'history.get', 'history.replay']

describe.each(pages)('%s', (page) => {
  it('has links that lead somewhere', () => {
    const links = [...textOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link).filter((link) => !/^[a-z]+:/.test(link))
    expect(links.filter((link) => leadsNowhere(page, link))).toEqual([])
  })

  it('names options and codes that there are', () => {
    const known = new Set([...paths, ...codes, ...others])
    const given = named(textOf(page), sectionsOf([...paths, ...codes]))
    expect(given.filter((name) => !known.has(name))).toEqual([])
  })
})

describe('the page of operations', () => {
  it('names every metric', () => {
    const files = readdirSync(join(root, 'src/telemetry')).map((name) => textOf(join('src/telemetry', name)))
    const metrics = [...files.join('').matchAll(/'((?:troupe|arqonbus)_\w+)'/g)].map(([, name = '']) => name)
    expect(metrics.length).toBeGreaterThan(20)
    expect(metrics.filter((name) => !textOf('docs/operations.md').includes(`\`${name}`))).toEqual([])
  })
})

describe('the page of the first day', () => {
  it('says what to show for every reason with which a client of documents is closed', () => {
    const rows = textOf('docs/first-day.md')
      .split('\n')
      .filter((line) => line.startsWith('| '))
      .join('\n')
    const codes = Object.keys(closeTable).filter((code) => !code.startsWith('channel.'))
    expect(codes.filter((code) => !new RegExp(`\`${code.replace('.', '\\.')}[\`:]`).test(rows))).toEqual([])
  })
})

describe('the page of commands', () => {
  it('has a row for every command, and for nothing else', () => {
    const rows = [...textOf('docs/reference/commands.md').matchAll(/^\| `([a-z_]+)` \|/gm)].map(([, name]) => name)
    const commands = builtinCommands({ uptimeMs: () => 0, messageBytes: 1, checksPasswords: false, all: () => [] })
    expect(rows.toSorted()).toEqual(commands.map(({ name }) => name).toSorted())
  })
})
