/** The examples do what they say. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { temporaryDirectory } from '../support/process.ts'

describe('examples/hello-actor.ts', () => {
  it('goes on counting when it is run again on the same data', () => {
    const data = temporaryDirectory()
    const program = fileURLToPath(new URL('../../dist/programs/hello-actor.js', import.meta.url))
    const run = () => execFileSync(process.execPath, [program, data.path], { encoding: 'utf8' }).trim()
    expect([run(), run(), run()]).toEqual(['visits: 1', 'visits: 2', 'visits: 3'])
    data.remove()
  })
})

describe('examples/order.ts', () => {
  it('answers, refuses what a paid order does not take, and has the mail sent', () => {
    const data = temporaryDirectory()
    const program = fileURLToPath(new URL('../../dist/programs/order.js', import.meta.url))
    const lines = execFileSync(process.execPath, [program, data.path], { encoding: 'utf8' }).trim().split('\n')
    expect(lines[0]).toBe('added')
    expect(lines[1]).toContain("value: 'paid'")
    expect(lines.slice(2)).toEqual(['actor.unhandled', "mails: [ 'thanks' ]"])
    data.remove()
  })
})

describe('the code in the docs', () => {
  const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

  it.each([
    ['README.md', 'const counter', 'examples/hello-actor.ts'],
    ['docs/actors.md', 'const order', 'examples/order.ts'],
  ])('%s: %s stands so in %s', (page, name, example) => {
    const block = [...read(page).matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] ?? '').find((text) => text.includes(name))
    const definition = block?.slice(block.indexOf(name)).split('\n\n')[0]?.trim()
    expect(definition?.length).toBeGreaterThan(200)
    expect(read(example)).toContain(definition)
  })
})
