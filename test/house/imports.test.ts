/** Dependencies point one way: src → actors → crdt. Lint says it to the editor; this says it of every file. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../', import.meta.url))
const files = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name))

const importsOf = (file: string): string[] =>
  [...readFileSync(join(root, file), 'utf8').matchAll(/(?:from|import)\s+'([^']+)'|import\('([^']+)'\)/g)].map((match) => {
    const name = match[1] ?? match[2] ?? ''
    return name.startsWith('.') ? relative(root, resolve(root, file, '..', name)) : name
  })

const rooms: Readonly<Record<string, readonly RegExp[]>> = {
  crdt: [/^crdt\//, /^yjs$/, /^y-protocols/, /^lib0/],
  actors: [/^actors\//, /^crdt\//, /^xstate$/],
}

describe('the import direction', () => {
  for (const [room, allowed] of Object.entries(rooms)) {
    it(`${room}/ imports only ${allowed.map((pattern) => pattern.source).join(' ')}`, () => {
      const stray = files(room).flatMap((file) =>
        importsOf(file)
          .filter((name) => !allowed.some((pattern) => pattern.test(name)))
          .map((name) => `${file} imports ${name}`),
      )
      expect(stray).toEqual([])
    })
  }

  it('only the actor system knows XState', () => {
    const users = files('actors').filter((file) => importsOf(file).includes('xstate'))
    expect(users.length).toBeGreaterThan(0)
    expect(users.filter((file) => !file.startsWith('actors/system/'))).toEqual([])
  })

  it('actors/ and crdt/ take no chance of their own', () => {
    for (const room of Object.keys(rooms))
      for (const file of files(room)) expect([file, /Math\.random/.test(readFileSync(join(root, file), 'utf8'))]).toEqual([file, false])
  })

  it('a door knows no other door', () => {
    const doors = files('src/doors').filter((file) => /^export const \w*Door\b/m.test(readFileSync(join(root, file), 'utf8')))
    expect(doors.length).toBeGreaterThan(4)
    for (const door of doors) for (const name of importsOf(door)) expect(doors).not.toContain(name)
  })
})
