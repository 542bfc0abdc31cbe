/** The examples do what they say. */
import { execFileSync } from 'node:child_process'
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
