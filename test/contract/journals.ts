/**
 * The contract of `Journals`, for every backend. Who writes one runs this suite over it.
 *
 * Who relies on what: durable actors on J1 to J8 (their state is a fold over entries), channels on J3, J9 and J10 (offsets and
 * epochs are what clients come back with), documents on J11 to J14 (snapshot and trim are their compaction), the server on
 * J15 to J19.
 */
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Entry, Journals } from '../../actors/journal.ts'
import type { SimulatedClock } from '../support/world.ts'

/** One place where journals live: memory, a directory, a database. */
export interface JournalsPlace {
  readonly clock: SimulatedClock
  /** Opens the journals of this place. `maxEntryBytes` is 100 000. */
  open(): Promise<Journals>
  /** False when nothing outlives `close`. */
  readonly isDurable: boolean
  dispose(): Promise<void>
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (data: Uint8Array): string => new TextDecoder().decode(data)
const texts = (entries: readonly Entry[]): string[] => entries.map(({ data }) => text(data))
const offsets = (entries: readonly Entry[]): number[] => entries.map(({ offset }) => offset)

export const describeJournals = (name: string, make: () => Promise<JournalsPlace>): void => {
  describe(`journals: ${name}`, () => {
    let place: JournalsPlace
    let journals: Journals

    beforeEach(async () => {
      place = await make()
      journals = await place.open()
    })

    afterEach(async () => {
      await journals.close()
      await place.dispose()
    })

    const fill = async (journal: string, count: number): Promise<void> => {
      await Promise.all(Array.from({ length: count }, (_, i) => journals.append(journal, [bytes(`${i + 1}`)])))
    }

    const reopen = async (): Promise<void> => {
      await journals.close()
      journals = await place.open()
    }

    it('[J1] entries come back as they were appended, empty and large ones too', async () => {
      const large = new Uint8Array(99_999).map((_, i) => i % 251)
      await journals.append('j', [bytes('one'), new Uint8Array(), large])
      const entries = await journals.read('j')
      expect(offsets(entries)).toEqual([1, 2, 3])
      expect(texts(entries).slice(0, 2)).toEqual(['one', ''])
      expect(Buffer.compare(entries[2]?.data ?? large.subarray(1), large)).toBe(0)
    })

    it('[J2] the bytes given belong to the caller again as soon as append returns', async () => {
      const data = bytes('before')
      const appended = journals.append('j', [data])
      data.set(bytes('AFTER!'))
      await appended
      expect(texts(await journals.read('j'))).toEqual(['before'])
    })

    it('[J3] offsets are 1, 2, 3 … without holes in call order, whoever waits for whom', async () => {
      const results = await Promise.all(
        Array.from({ length: 500 }, (_, i) => journals.append(i % 2 === 0 ? 'even' : 'odd', [bytes(`${i}`), bytes(`${i}'`)])),
      )
      expect(results[0]).toMatchObject({ first: 1, last: 2 })
      expect(results[499]).toMatchObject({ first: 499, last: 500 })
      const even = await journals.read('even')
      expect(offsets(even)).toEqual(Array.from({ length: 500 }, (_, i) => i + 1))
      expect(texts(even).slice(0, 4)).toEqual(['0', `0'`, '2', `2'`])
    })

    it('[J4] what append resolved with is there to be read', async () => {
      for (let i = 1; i <= 20; i++) {
        const { last } = await journals.append('j', [bytes(`${i}`)])
        expect(texts(await journals.read('j', { after: last - 1 }))).toEqual([`${i}`])
        expect(await journals.head('j')).toMatchObject({ first: 1, last: i })
      }
    })

    it('[J5] an append that expects another end is refused and leaves no trace', async () => {
      await journals.append('j', [bytes('1')], { expected: 'none' })
      await journals.append('j', [bytes('2')], { expected: 1 })
      for (const expected of [0, 1, 3, 'none'] as const) {
        await expect(journals.append('j', [bytes('x')], { expected })).rejects.toMatchObject({ code: 'journal.conflict' })
      }
      expect(texts(await journals.read('j'))).toEqual(['1', '2'])
    })

    it('[J6] of two appends that expect the same end, called in one turn, the first wins', async () => {
      const both = await Promise.allSettled([
        journals.append('j', [bytes('a')], { expected: 'none' }),
        journals.append('j', [bytes('b')], { expected: 'none' }),
      ])
      expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
      expect(texts(await journals.read('j'))).toEqual(['a'])
    })

    it('[J7] an append with one entry that is too large is refused as a whole', async () => {
      const refused = journals.append('j', [bytes('ok'), new Uint8Array(100_001)])
      await expect(refused).rejects.toMatchObject({ code: 'journal.too_large' })
      expect(await journals.head('j')).toEqual({ epoch: '', first: 1, last: 0 })
      await journals.append('j', [new Uint8Array(100_000)])
    })

    it('[J8] the time of entries is the clock of the store, and never goes back', async () => {
      const start = place.clock.now()
      await place.clock.advance(1_000)
      const one = await journals.append('j', [bytes('1')])
      expect(one.time).toBe(start + 1_000)
      const now = place.clock.now
      place.clock.now = () => start // the system clock was set back
      const two = await journals.append('j', [bytes('2')])
      place.clock.now = now
      expect(two.time).toBe(start + 1_000)
      expect((await journals.read('j')).map(({ time }) => time)).toEqual([start + 1_000, start + 1_000])
    })

    it('[J9] a journal that was never written has no epoch; the epoch then stays through trim and snapshot', async () => {
      expect(await journals.head('j')).toEqual({ epoch: '', first: 1, last: 0 })
      await fill('j', 3)
      const { epoch } = await journals.head('j')
      expect(epoch).not.toBe('')
      await journals.saveSnapshot('j', 3, bytes('123'), { trim: true })
      expect(await journals.head('j')).toEqual({ epoch, first: 4, last: 3 })
      if (place.isDurable) await reopen()
      if (place.isDurable) expect(await journals.head('j')).toEqual({ epoch, first: 4, last: 3 })
    })

    it('[J10] remove takes everything; the next append starts at 1 with another epoch', async () => {
      await fill('j', 3)
      await journals.saveSnapshot('j', 2, bytes('12'))
      const { epoch } = await journals.head('j')
      const removed = journals.remove('j')
      const appended = journals.append('j', [bytes('new')])
      await removed
      expect(await appended).toMatchObject({ first: 1, last: 1 })
      expect(texts(await journals.read('j'))).toEqual(['new'])
      expect(await journals.snapshot('j')).toBeUndefined()
      expect((await journals.head('j')).epoch).not.toBe(epoch)
    })

    it('[J11] a snapshot replaces the one before, whatever their sizes', async () => {
      await fill('j', 5)
      for (const [offset, size] of [
        [2, 300_000],
        [3, 0],
        [5, 70_000],
        [4, 65_507],
        [5, 10],
      ] as const) {
        const data = new Uint8Array(size).fill(size % 256)
        await journals.saveSnapshot('j', offset, data)
        const snapshot = await journals.snapshot('j')
        expect(snapshot?.offset).toBe(offset)
        expect(Buffer.compare(snapshot?.data ?? new Uint8Array(1), data)).toBe(0)
      }
      expect(texts(await journals.read('j'))).toEqual(['1', '2', '3', '4', '5'])
    })

    it('[J12] a snapshot of entries that are not there yet is refused', async () => {
      await fill('j', 2)
      await expect(journals.saveSnapshot('j', 3, bytes('x'))).rejects.toMatchObject({ code: 'journal.conflict' })
      await expect(journals.saveSnapshot('j', -1, bytes('x'))).rejects.toMatchObject({ code: 'journal.conflict' })
      expect(await journals.snapshot('j')).toBeUndefined()
    })

    it('[J13] trim removes what is before, and offsets go on counting', async () => {
      await fill('j', 10)
      await journals.trim('j', 4)
      expect(offsets(await journals.read('j'))).toEqual([4, 5, 6, 7, 8, 9, 10])
      await journals.trim('j', 2)
      expect(await journals.head('j')).toMatchObject({ first: 4, last: 10 })
      await journals.trim('j', 99)
      expect(await journals.head('j')).toMatchObject({ first: 11, last: 10 })
      expect(await journals.read('j')).toEqual([])
      expect(await journals.append('j', [bytes('11')])).toMatchObject({ first: 11, last: 11 })
      expect(texts(await journals.read('j', { after: 3 }))).toEqual(['11'])
    })

    it('[J14] trim of a journal that does not exist does not make one', async () => {
      await journals.trim('j', 5)
      await journals.remove('j')
      expect(await journals.list('')).toEqual([])
    })

    it('[J15] read pages forwards and backwards, by count and by bytes', async () => {
      await fill('j', 30)
      expect(offsets(await journals.read('j', { after: 27 }))).toEqual([28, 29, 30])
      expect(offsets(await journals.read('j', { after: 5, limit: 3 }))).toEqual([6, 7, 8])
      expect(offsets(await journals.read('j', { reverse: true, limit: 2 }))).toEqual([30, 29])
      expect(offsets(await journals.read('j', { reverse: true, after: 4 }))).toEqual([3, 2, 1])
      expect(offsets(await journals.read('j', { after: 30 }))).toEqual([])
      expect(offsets(await journals.read('j', { after: 99 }))).toEqual([])
      expect(offsets(await journals.read('j', { reverse: true, after: 1 }))).toEqual([])
      expect(offsets(await journals.read('j', { limit: 0 }))).toEqual([])
      expect(offsets(await journals.read('j', { after: 9, maxBytes: 4 }))).toEqual([10, 11])
      expect(offsets(await journals.read('j', { after: 9, maxBytes: 0 }))).toEqual([10])
      expect(await journals.read('another')).toEqual([])
    })

    it('[J16] without a limit, a read ends after 1 000 entries', async () => {
      await journals.append(
        'j',
        Array.from({ length: 1_500 }, () => bytes('x')),
      )
      const entries = await journals.read('j')
      expect(entries.length).toBe(1_000)
      expect(offsets(await journals.read('j', { after: 1_000 })).length).toBe(500)
    })

    it('[J17] list gives names by prefix in order of their UTF-8 bytes, page by page', async () => {
      const names = ['a/1', 'a/2', 'a/10', 'b/1', 'é', '😀', '\uffee', '__proto__', 'constructor']
      for (const journal of names) await journals.append(journal, [bytes(journal)])
      await journals.append('gone', [bytes('x')])
      await journals.remove('gone')
      expect(await journals.list('')).toEqual([...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))))
      expect(await journals.list('a/')).toEqual(['a/1', 'a/10', 'a/2'])
      expect(await journals.list('a/', { after: 'a/1', limit: 1 })).toEqual(['a/10'])
      expect(await journals.list('a/', { after: 'a/2' })).toEqual([])
      expect(await journals.list('nothing')).toEqual([])
      expect(texts(await journals.read('__proto__'))).toEqual(['__proto__'])
    })

    it('[J18] names are 1 to 512 bytes of well-formed text without control characters', async () => {
      for (const bad of ['', 'a\0b', 'a\nb', '\x7f', '\u0085', '\ud800', `x\udfff`, 'x'.repeat(513), 'é'.repeat(257)]) {
        await expect(journals.append(bad, [bytes('x')])).rejects.toMatchObject({ code: 'journal.bad_name' })
        await expect(journals.read(bad)).rejects.toMatchObject({ code: 'journal.bad_name' })
      }
      for (const good of ['x', ' ', 'x'.repeat(512), 'é'.repeat(256), '😀'.repeat(128)]) {
        await journals.append(good, [bytes(good)])
        expect(texts(await journals.read(good))).toEqual([good])
      }
    })

    it('[J19] close waits for what was appended, tells its status, and then refuses everything', async () => {
      const heard: string[] = []
      journals.onStatus(({ state }) => heard.push(state))
      const appended = journals.append('j', [bytes('last words')])
      await journals.close()
      expect(await appended).toMatchObject({ first: 1, last: 1 })
      expect(heard).toEqual(['closed'])
      for (const call of [
        journals.append('j', [bytes('x')]),
        journals.read('j'),
        journals.head('j'),
        journals.trim('j', 1),
        journals.list(''),
      ]) {
        await expect(call).rejects.toMatchObject({ code: 'storage.closed' })
      }
      if (!place.isDurable) return
      journals = await place.open()
      expect(texts(await journals.read('j'))).toEqual(['last words'])
    })

    it('[J20] any sequence of calls, awaited or not, gives what a list in memory gives', async () => {
      const journal = fc.constantFrom('p', 'q', 'r')
      const small = fc.nat({ max: 12 })
      const call = fc.oneof(
        {
          weight: 6,
          arbitrary: fc.record({ do: fc.constant('append' as const), journal, sizes: fc.array(fc.nat({ max: 3_000 }), { maxLength: 4 }) }),
        },
        { weight: 1, arbitrary: fc.record({ do: fc.constant('expect' as const), journal, expected: small }) },
        { weight: 2, arbitrary: fc.record({ do: fc.constant('trim' as const), journal, before: small }) },
        {
          weight: 2,
          arbitrary: fc.record({
            do: fc.constant('save' as const),
            journal,
            offset: small,
            size: fc.nat({ max: 140_000 }),
            trim: fc.boolean(),
          }),
        },
        { weight: 1, arbitrary: fc.record({ do: fc.constant('remove' as const), journal }) },
        { weight: 3, arbitrary: fc.record({ do: fc.constant('settle' as const), after: small, isReverse: fc.boolean(), limit: small }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen' as const) }) },
      )
      let checked = 0
      await fc.assert(
        fc.asyncProperty(fc.array(call, { maxLength: 40 }), async (calls) => {
          for (const name of ['p', 'q', 'r']) await journals.remove(name)
          const model = new Model()
          let open: Promise<unknown>[] = []
          const settle = async (): Promise<void> => {
            await Promise.all(open)
            open = []
          }
          for (const step of calls) {
            if (step.do === 'append') {
              const data = step.sizes.map((size, i) => new Uint8Array(size).fill(size + i))
              const expected = model.append(step.journal, data)
              open.push(journals.append(step.journal, data).then(({ first, last }) => expect({ first, last }).toEqual(expected)))
            } else if (step.do === 'expect') {
              const data = [bytes('expected')]
              const appended = journals.append(step.journal, data, { expected: step.expected })
              if (model.get(step.journal).last === step.expected) {
                model.append(step.journal, data)
                open.push(appended)
              } else open.push(expect(appended).rejects.toMatchObject({ code: 'journal.conflict' }))
            } else if (step.do === 'trim') {
              model.trim(step.journal, step.before)
              open.push(journals.trim(step.journal, step.before))
            } else if (step.do === 'save') {
              const data = new Uint8Array(step.size).fill(step.size)
              const saved = journals.saveSnapshot(step.journal, step.offset, data, { trim: step.trim })
              if (model.save(step.journal, step.offset, data, step.trim)) open.push(saved)
              else open.push(expect(saved).rejects.toMatchObject({ code: 'journal.conflict' }))
            } else if (step.do === 'remove') {
              model.remove(step.journal)
              open.push(journals.remove(step.journal))
            } else {
              await settle()
              if (step.do === 'reopen' && place.isDurable) await reopen()
              await model.compare(journals, step.do === 'settle' ? step : { after: 0, isReverse: false, limit: 1_000 })
              checked++
            }
          }
          await settle()
          await model.compare(journals, { after: 0, isReverse: false, limit: 1_000 })
        }),
        { numRuns: 60, seed: 20_260_101 },
      )
      expect(checked).toBeGreaterThan(50)
    })
  })
}

/** The contract in its simplest form. */
class Model {
  readonly #journals = new Map<
    string,
    { first: number; last: number; data: Map<number, Uint8Array>; snapshot?: { offset: number; data: Uint8Array } }
  >()

  get(name: string) {
    return this.#journals.get(name) ?? { first: 1, last: 0, data: new Map<number, Uint8Array>() }
  }

  append(name: string, entries: readonly Uint8Array[]): { first: number; last: number } {
    const journal = this.get(name)
    const first = journal.last + 1
    for (const entry of entries) journal.data.set(++journal.last, entry)
    if (entries.length > 0) this.#journals.set(name, journal)
    return { first, last: journal.last }
  }

  trim(name: string, before: number): void {
    const journal = this.get(name)
    journal.first = Math.min(Math.max(before, journal.first), journal.last + 1)
  }

  save(name: string, offset: number, data: Uint8Array, trim: boolean): boolean {
    const journal = this.get(name)
    if (offset > journal.last) return false
    this.#journals.set(name, Object.assign(journal, { snapshot: { offset, data } }))
    if (trim) this.trim(name, offset + 1)
    return true
  }

  remove(name: string): void {
    this.#journals.delete(name)
  }

  async compare(journals: Journals, { after, isReverse, limit }: { after: number; isReverse: boolean; limit: number }): Promise<void> {
    expect(await journals.list('')).toEqual([...this.#journals.keys()].sort())
    for (const name of ['p', 'q', 'r']) {
      const { first, last, data, snapshot } = this.get(name)
      expect(await journals.head(name)).toMatchObject({ first, last })
      const all = [...data].filter(([offset]) => offset >= first)
      const wanted = isReverse ? all.reverse().filter(([offset]) => offset < after) : all.filter(([offset]) => offset > after)
      const entries = await journals.read(name, { after, limit, reverse: isReverse })
      expect(offsets(entries)).toEqual(wanted.slice(0, limit).map(([offset]) => offset))
      for (const { offset, data: found } of entries) expect(Buffer.compare(found, data.get(offset) ?? new Uint8Array(1))).toBe(0)
      const saved = await journals.snapshot(name)
      expect(saved?.offset).toBe(snapshot?.offset)
      expect(Buffer.compare(saved?.data ?? new Uint8Array(), snapshot?.data ?? new Uint8Array())).toBe(0)
    }
  }
}
