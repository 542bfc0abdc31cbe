/** Documents of which something on disk is damaged or missing. */
import { describe, expect, it } from 'vitest'
import type * as Y from 'yjs'
import { readRecord } from '../../actors/documentRecord.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { Entry, Head, Journals, ReadOptions, Snapshot } from '../../actors/journal.ts'
import { listDocuments } from '../../src/documents/catalog.ts'
import { Passing } from '../support/passingJournals.ts'
import { quiet } from '../support/world.ts'
import { DocumentHouse, reopened, updateOf } from './documentHouse.ts'
import { codeOf } from './house.ts'

const by = 'ada'

type Place = number | 'snapshot' | 'head'

/** Journals of which some places cannot be read, until the journal is removed. */
class Damaged extends Passing {
  readonly #places: ReadonlyMap<string, Place>
  readonly #removed = new Set<string>()
  reads = 0

  constructor(journals: Journals, places: ReadonlyMap<string, Place>) {
    super(journals)
    this.#places = places
  }

  #check(journal: string, ...places: readonly Place[]): void {
    if (!this.#removed.has(journal) && places.includes(this.#places.get(journal) ?? 0)) throw new TroupeError('journal.corrupt', 'here')
  }

  override async read(journal: string, options?: ReadOptions): Promise<Entry[]> {
    if (journal.startsWith('document/')) this.reads++
    const entries = await super.read(journal, options)
    this.#check(journal, 'head', ...entries.map(({ offset }) => offset))
    return entries
  }

  override async head(journal: string): Promise<Head> {
    this.#check(journal, 'head')
    return super.head(journal)
  }

  override async snapshot(journal: string): Promise<Snapshot | undefined> {
    this.#check(journal, 'head', 'snapshot')
    return super.snapshot(journal)
  }

  override async remove(journal: string): Promise<void> {
    await super.remove(journal)
    this.#removed.add(journal)
  }
}

interface Scene {
  readonly house: DocumentHouse
  readonly counts: { failed: string[]; damaged: number }
  /** The process ends, and the next one finds this. */
  damage(places: Readonly<Record<string, Place>>): Promise<Damaged>
}

const scene = async (options: ConstructorParameters<typeof DocumentHouse>[0] = {}): Promise<Scene> => {
  const counts: Scene['counts'] = { failed: [], damaged: 0 }
  const nothing = () => {}
  const observe = {
    ...{ stored: nothing, unsaved: nothing, commitRefused: nothing, compacted: nothing, refused: nothing },
    loadFailed: (code: string) => void counts.failed.push(code),
    damaged: (change: 1 | -1) => {
      counts.damaged += change
    },
  }
  const house = await DocumentHouse.open({ observe, ...options })
  const damage = async (places: Readonly<Record<string, Place>>) => {
    let damaged: Damaged | undefined
    await house.crash((journals) => {
      damaged = new Damaged(journals, new Map(Object.entries(places)))
      return damaged
    })
    return damaged as unknown as Damaged // made by `crash`
  }
  return { house, counts, damage }
}

/** A document with ten changes of one client, nine of another, and a record. */
const filled = async ({ house }: Scene, name = 'd'): Promise<{ readonly first: Y.Doc; readonly last: Y.Doc }> => {
  const first = await house.connect(name)
  for (let i = 0; i < 10; i++) await first.write(`${i};`)
  const last = await house.connect(name)
  for (let i = 0; i < 9; i++) await last.write(`${i};`)
  await house.reboot() // in good order: it is measured
  return { first: first.doc, last: last.doc }
}

const damages: readonly (readonly [string, Place, string])[] = [
  ['an entry', 5, 'document/d'],
  ['the last entry', 19, 'document/d'],
  ['the snapshot', 'snapshot', 'document/d'],
  ['the head', 'head', 'document/d'],
  ['the record', 1, 'record/d'],
]

describe('a damaged document', () => {
  it.each(damages)('[DLF16] (%s) refuses everybody with the reason, and lasts', async (_, place, journal) => {
    const room = await scene()
    await filled(room)
    await room.house.append('other', updateOf('goes on'))
    const { house } = room
    const spoilt = journal === 'record/d' ? { [journal]: (await readRecord(house.journals, 'd')).offset } : { [journal]: place }
    const journals = await room.damage(spoilt)
    for (let i = 0; i < 20; i++) {
      expect(await codeOf(house.connect('d'))).toBe('journal.corrupt')
      expect(await codeOf(house.append('d', updateOf('more')))).toBe('journal.corrupt')
      expect(await codeOf(house.system.ask('document/d', { type: 'document.state' }))).toBe('journal.corrupt')
      expect(await codeOf(house.life('d', { type: 'document.copy', by, to: 'e' }))).toBe('journal.corrupt')
      expect(await codeOf(house.life('d', { type: 'document.rename', by, to: 'e' }))).toBe('journal.corrupt')
      expect(await codeOf(house.life('d', { type: 'document.create', by }))).toBe('document.exists')
      expect(await house.life('d', { type: 'document.describe' })).toMatchObject({ damage: expect.stringContaining('here') })
    }
    // Read once for all of them.
    expect(room.counts).toEqual({ failed: ['journal.corrupt'], damaged: 1 })
    const { reads } = journals
    await house.world.clock.advance(61_000)
    expect(await codeOf(house.connect('d'))).toBe('journal.corrupt')
    expect(room.counts).toEqual({ failed: ['journal.corrupt', 'journal.corrupt'], damaged: 1 })
    expect(journals.reads).toBeLessThanOrEqual(reads + 2)
    expect(await house.text('other')).toBe('goes on')
    expect(house.system.health().isHealthy).toBe(true)
    const all = { tenant: '', prefix: '', limit: 10, isDeleted: false, maySee: () => true }
    expect((await listDocuments(house.journals, all)).documents.map(({ name }) => name)).toEqual(['d', 'other'])
  })

  it('[DLF16] of which the last changes are missing is known by its record', async () => {
    const room = await scene()
    await filled(room)
    const stored = room.house.disk.stored('document/d')
    stored?.entries.pop()
    if (stored !== undefined) stored.last--
    await room.damage({})
    await expect(room.house.connect('d')).rejects.toMatchObject({ code: 'journal.corrupt', detail: expect.stringContaining('19 to 19') })
  })

  it('[DLF16] of which changes in between are missing is known on every store', async () => {
    const room = await scene()
    await filled(room)
    room.house.disk.stored('document/d')?.entries.splice(3, 2)
    await room.damage({})
    await expect(room.house.connect('d')).rejects.toMatchObject({ code: 'journal.corrupt', detail: expect.stringContaining('4 to 5') })
  })

  it('[DLF16] opens again when the store is whole again, without a restart', async () => {
    const room = await scene()
    await filled(room)
    const entries = room.house.disk.stored('document/d')?.entries ?? []
    const lost = entries.splice(3, 2)
    await room.damage({})
    expect(await codeOf(room.house.connect('d'))).toBe('journal.corrupt')
    entries.splice(3, 0, ...lost)
    await room.house.world.clock.advance(61_000)
    expect(await room.house.text('d')).toContain('9;')
    expect(room.counts.damaged).toBe(0)
  })

  it.each(damages)('[DLF17] (%s) can be purged, and created again', async (_, place, journal) => {
    const room = await scene()
    await filled(room)
    const { house } = room
    const { epoch } = await house.life('d', { type: 'document.describe' })
    await room.damage({ [journal]: journal === 'record/d' ? (await readRecord(house.journals, 'd')).offset : place })
    expect(await house.life('d', { type: 'document.purge', by })).toMatchObject({ deleted: { by } })
    await quiet()
    expect(await codeOf(house.connect('d'))).toBe('document.deleted')
    expect(house.disk.names().filter((name) => /^(document|history|incoming)\/d$/.test(name))).toEqual([])
    const made = await house.life('d', { type: 'document.create', by, update: updateOf('anew') })
    expect([made.epoch === epoch, made.damage]).toEqual([false, undefined])
    expect(await house.text('d')).toBe('anew')
    await house.crash()
    expect(await house.text('d')).toBe('anew')
    expect(room.counts.damaged).toBe(0)
  })

  it.each(damages)('[DLF17] (%s) begins anew, and who has the old content is refused', async (what, place, journal) => {
    const room = await scene()
    const { first, last } = await filled(room)
    const { house } = room
    await room.damage({ [journal]: journal === 'record/d' ? (await readRecord(house.journals, 'd')).offset : place })
    await house.life('d', { type: 'document.reset', by, update: updateOf('anew') })
    await quiet()
    // Of a journal without a head nothing is known.
    for (const doc of what === 'the head' ? [] : [first, last, reopened(first)])
      expect((await house.connect('d', { doc })).refused).toContain('document.epoch')
    expect(await house.text('d')).toBe('anew')
    expect((await house.life('d', { type: 'document.describe' })).offset).toBe(1)
  })

  it('[DLF17] can be deleted, and restored as it was', async () => {
    const room = await scene()
    await filled(room)
    const { house } = room
    const { bytes, offset } = await house.life('d', { type: 'document.describe' })
    await room.damage({ 'document/d': 5 })
    await house.life('d', { type: 'document.remove', by })
    expect(await codeOf(house.connect('d'))).toBe('document.deleted')
    expect(await house.life('d', { type: 'document.undelete', by })).toMatchObject({ bytes, offset, damage: expect.anything() })
    expect(await codeOf(house.connect('d'))).toBe('journal.corrupt')
    // The damage was that of the reader.
    await house.crash()
    expect(await house.text('d')).toContain('9;')
  })

  it('[DLF17] that was deleted long ago is swept away', async () => {
    const room = await scene({ deletedMs: 1_000 })
    await filled(room)
    const { house } = room
    await house.life('d', { type: 'document.remove', by })
    await room.damage({ 'document/d': 5 })
    await house.world.clock.advance(10_000)
    house.sweep()
    await house.world.clock.advance(10_000)
    expect(house.disk.stored('document/d')).toBeUndefined()
  })

  it('[DLF17] whose new content is damaged before it has come begins anew all the same', async () => {
    const room = await scene()
    await filled(room)
    const { house } = room
    // The process ends when the record says that other content comes, and before anything of it is done.
    await house.endAt(3, false)
    house.life('d', { type: 'document.reset', by, update: updateOf('never') }).catch(() => {})
    await quiet()
    await room.damage({ 'incoming/d': 1 })
    expect(await codeOf(house.connect('d'))).toBe('journal.corrupt')
    await house.life('d', { type: 'document.reset', by, update: updateOf('anew') })
    await quiet()
    expect(await house.text('d')).toBe('anew')
    expect(house.disk.stored('incoming/d')).toBeUndefined()
  })
})
