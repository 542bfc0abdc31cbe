/** What is looked at before a change enters a document, and what that may cost. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import * as Y from 'yjs'
import { Background } from '../../actors/background.ts'
import { DocumentGuard, type GuardOptions } from '../../actors/documentGuard.ts'
import { DocumentPresence } from '../../actors/documentPresence.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { DocumentChange } from '../../actors/hooks.ts'
import type { Scope } from '../../actors/system/scope.ts'
import { decodeAwareness, encodeAwareness } from '../../crdt/awareness.ts'
import { DocumentState } from '../../crdt/document.ts'
import { Shadow } from '../../crdt/shadow.ts'
import { inspectUpdate, type UpdateInspection } from '../../crdt/update.ts'
import { type DocumentWork, documentWork } from '../../crdt/work.ts'
import { chain } from '../support/craftedUpdates.ts'
import { quiet, SimulatedClock } from '../support/world.ts'
import { DocumentHouse, updateOf } from './documentHouse.ts'

const anna = { user: 'anna', via: '' }

const work: DocumentWork = {
  run: async (name, ...given) => {
    const run = documentWork[name] as (...given: unknown[]) => never // `given` fits `name`
    return run(...given)
  },
}

/** As much of a scope as these parts need; what is sent to itself goes to `hear`. */
const scopeOf = (clock: SimulatedClock, id: string, hear: (message: { readonly type: string }) => void): Scope =>
  ({
    id,
    address: `document/${id}`,
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    after: (_name: string, ms: number, message: { readonly type: string }) => void clock.after(ms, () => hear(message)),
    log: console,
    stop() {},
  }) as unknown as Scope

/** A guarded document, and people who write at it. */
const guarded = (options: Partial<GuardOptions> = {}, id = 'plan', content = DocumentState.empty()) => {
  const clock = new SimulatedClock()
  let slices = 0
  const scope = scopeOf(clock, id, ({ type }) => {
    if (type === 'document.guard') return guard.rest()
    slices++
    guard.slice()
  })
  const guard: DocumentGuard = new DocumentGuard(scope, { work, ...options }, new Background(scope), () => content)
  const loads = vi.spyOn(Shadow, 'load')
  const admit = (update: Uint8Array): void => {
    content.add(update)
    guard.admitted(content.tail.at(-1) ?? update)
  }
  /** Lets a change in if the guard does, and says what it said. */
  const offer = (change: (doc: Y.Doc) => void, access: 'write' | 'comment' | 'read' = 'comment', author = anna) => {
    const doc = new Y.Doc()
    for (const bytes of [content.snapshot, ...content.tail]) if (bytes.length > 0) Y.applyUpdate(doc, bytes)
    const before = Y.encodeStateVector(doc)
    change(doc)
    const update = Y.encodeStateAsUpdate(doc, before)
    const judgement = guard.judge(update, access, author, true)
    if (judgement.kind === 'allowed') admit(update)
    return judgement.kind === 'refused' ? `${judgement.code}: ${judgement.detail}` : judgement.kind
  }
  const ready = async (access: 'write' | 'comment' = 'comment'): Promise<void> => {
    const waiting = guard.whenReady(access, anna)
    let isOver = waiting === undefined
    void waiting?.then(() => {
      isOver = true
    })
    while (!isOver) {
      await quiet()
      await clock.advance(1)
    }
  }
  return { clock, content, guard, offer, admit, ready, loads: () => loads.mock.calls.length, slices: () => slices }
}
/** Yjs throws in the middle of a transaction: a struct whose origin is itself. */
const throwing = Uint8Array.of(1, 1, 8, 0, 0x84, 8, 0, 1, 65, 0)
const write = (root: string, text: string) => (doc: Y.Doc) => doc.getText(root).insert(0, text)
const comment = (doc: Y.Doc) => doc.getArray('comments').push(['a comment'])

afterEach(() => {
  vi.restoreAllMocks()
})

describe('the guard of a document', () => {
  it('looks at nothing of a writer when there is no check', () => {
    const { offer, loads } = guarded()
    expect(offer(write('text', 'a'), 'write')).toBe('allowed')
    expect(loads()).toBe(0)
  })

  it('lets comments in and nothing else, and a refusal costs no rebuilding', () => {
    const { offer, loads } = guarded({ commentRoots: ['comments', 'reactions'] })
    offer(write('text', 'a'), 'write')
    for (let n = 0; n < 50; n++) {
      expect(offer(comment)).toBe('allowed')
      expect(offer(write('reactions', '+'))).toBe('allowed')
      expect(offer(write('text', 'b'))).toBe('access.denied: needs document:plan:write to change text')
    }
    expect(loads()).toBe(1)
  })

  it('keeps in step with what others write, however much it is', () => {
    const { offer, admit, loads } = guarded()
    offer(comment)
    const writer = new Y.Doc()
    writer.on('update', admit)
    for (let n = 0; n < 600; n++) writer.getText('text').insert(0, 'x')
    // Deletes what came in between: it is found.
    expect(offer((doc) => doc.getText('text').delete(300, 1))).toContain('access.denied')
    expect(loads()).toBe(1)
  })

  it('lets the shadow go when it was not needed for a while', async () => {
    const { offer, clock, loads } = guarded({ guardedMs: 1_000 })
    offer(comment)
    await clock.advance(900)
    offer(comment)
    await clock.advance(900)
    offer(comment)
    expect(loads()).toBe(1)
    await clock.advance(3_000)
    offer(comment)
    expect(loads()).toBe(2)
  })

  it('of a document that is too large takes no such changes, rather than unseen ones', () => {
    const { offer } = guarded({ guardedBytes: 1_000 })
    offer(write('text', 'x'.repeat(2_000)), 'write')
    expect(offer(comment)).toContain('document.full')
    expect(offer(write('text', 'more'), 'write')).toBe('allowed')
  })

  describe('with a check of the application', () => {
    const seen: DocumentChange[] = []
    const validation = {
      covers: (name: string) => name === 'plan',
      check: (change: DocumentChange) => {
        seen.push(change)
        if (change.doc.getText('text').toString().includes('no')) throw new TroupeError('document.invalid', 'not that')
      },
    }

    it('shows the document with the change in it, and forgets a change that is refused', () => {
      const { offer } = guarded({ validation }, '~acme/plan')
      expect(offer(write('text', 'yes'), 'write')).toBe('allowed')
      expect(seen.at(-1)).toMatchObject({ document: 'plan', tenant: 'acme', user: 'anna', via: '' })
      expect(offer(write('text', 'no '), 'write')).toBe('document.invalid: not that')
      let text = ''
      offer((doc) => {
        doc.getText('text').insert(0, 'oh ')
        text = doc.getText('text').toString()
      }, 'write')
      expect([text, seen.at(-1)?.doc.getText('text').toString()]).toEqual(['oh yes', 'oh yes'])
    })

    it('looks at no other document', () => {
      const { offer, loads } = guarded({ validation }, 'another')
      expect(offer(write('text', 'no'), 'write')).toBe('allowed')
      expect(loads()).toBe(0)
    })

    it('refuses a user unseen who is refused again and again, for a minute, and nobody else', async () => {
      const { offer, clock, loads } = guarded({ validation, refusalsPerMinute: 3 })
      for (let n = 0; n < 3; n++) expect(offer(write('text', 'no'), 'write')).toContain('document.invalid')
      const before = loads()
      for (let n = 0; n < 20; n++) expect(offer(write('text', 'fine'), 'write')).toContain('rate.limited')
      expect(loads()).toBe(before)
      expect(offer(write('text', 'fine'), 'write', { user: 'ben', via: '' })).toBe('allowed')
      await clock.advance(60_000)
      expect(offer(write('text', 'fine'), 'write')).toBe('allowed')
    })
  })
})

describe('the shadow of a large document', () => {
  /** `paragraphs` of rich text by two writers, some of it deleted, marks that begin and end among it. */
  const rich = (paragraphs: number): Uint8Array => {
    const [one, other] = [new Y.Doc(), new Y.Doc()]
    for (let n = 0; n < paragraphs; n++) {
      const [doc, next] = n % 2 === 0 ? [one, other] : [other, one]
      const paragraph = new Y.XmlText()
      doc.getXmlFragment('page').push([paragraph])
      paragraph.insert(0, `paragraph ${n} with some words to fill it. `.repeat(6))
      paragraph.format(3, 20, { bold: true })
      paragraph.format(30, 9, { link: { href: `#${n}` } })
      if (n % 3 === 0) paragraph.delete(10, 5)
      Y.applyUpdate(next, Y.encodeStateAsUpdate(doc, Y.encodeStateVector(next)))
    }
    return Y.encodeStateAsUpdate(one)
  }
  const page = (doc: Y.Doc) => doc.getXmlFragment('page').toString()
  const large = rich(1_200)
  const opened = () => guarded({}, 'plan', DocumentState.load(large, []) as DocumentState) // it is readable
  const writer = { user: 'ben', via: '' }

  it('[BGA14] is made in slices, and is the document, with every mark', async () => {
    expect(large.length).toBeGreaterThan(400_000)
    let seen = ''
    const validation = { covers: () => true, check: ({ doc }: DocumentChange) => void (seen = page(doc)) }
    const { guard, offer, ready, loads, slices } = guarded({ validation }, 'plan', DocumentState.load(large, []) as DocumentState)
    await ready('write')
    expect(guard.whenReady('write', writer)).toBeUndefined()
    expect(offer(comment, 'write', writer)).toBe('allowed')
    const whole = new Y.Doc()
    Y.applyUpdate(whole, large)
    expect(seen).toBe(page(whole))
    expect(slices()).toBeGreaterThan(3)
    expect(loads()).toBe(0)
  })

  it('[BGA14] takes over what enters while it is made', async () => {
    const { clock, guard, admit, offer, content, ready } = opened()
    expect(guard.whenReady('comment', anna)).toBeDefined()
    const other = new Y.Doc()
    Y.applyUpdate(other, large)
    other.on('update', admit)
    for (let n = 0; n < 20; n++) {
      other.getXmlFragment('page').insert(n, [new Y.XmlText(`new ${n}`)])
      await quiet()
      await clock.advance(1)
    }
    await ready()
    expect(content.tailCount).toBe(20)
    // Deletes what came in between: it is found.
    expect(offer((doc) => doc.getXmlFragment('page').delete(5, 1))).toContain('access.denied')
    expect(offer(comment)).toBe('allowed')
  })

  it('[BGA14] is right for those who do not wait, too', async () => {
    const { guard, offer } = opened()
    const waiting = guard.whenReady('comment', anna)
    expect(offer((doc) => doc.getXmlFragment('page').delete(5, 1))).toContain('access.denied')
    await waiting
    expect(offer(comment)).toBe('allowed')
  })

  it('[BGA14] is made anew after a large change', async () => {
    const { guard, offer, admit, ready, loads } = opened()
    await ready()
    admit(chain(30_000))
    await ready()
    expect(offer((doc) => doc.getText('text').delete(100, 1))).toContain('access.denied')
    expect(guard.whenReady('comment', anna)).toBeUndefined()
    expect(loads()).toBe(0)
  })

  it('[BGA14] is made anew when a large change comes while it takes over what came before', async () => {
    const { guard, offer, admit, ready, loads } = opened()
    await ready()
    const other = new Y.Doc()
    other.on('update', admit)
    for (let n = 0; n < 20; n++) other.getText('notes').insert(0, 'x')
    const waiting = guard.whenReady('comment', anna)
    const import_ = chain(30_000)
    const applied = vi.spyOn(Shadow.prototype, 'apply')
    admit(import_)
    await ready()
    await waiting
    expect(Math.max(0, ...applied.mock.calls.map(([update]) => update.length))).toBeLessThan(import_.length)
    expect(offer((doc) => doc.getText('text').delete(100, 1))).toContain('access.denied')
    expect(loads()).toBe(0)
  })

  it('[BGA14] is not looked at while it is half changed', async () => {
    let compacted = (): void => {}
    const heldWork: DocumentWork = {
      run: async (name, ...given) => {
        if (name === 'compact') await new Promise<void>((resolve) => (compacted = resolve))
        return work.run(name, ...given)
      },
    }
    const { clock, guard, offer, admit, ready } = guarded({ work: heldWork }, 'plan', DocumentState.load(large, []) as DocumentState)
    await ready()
    guard.admitted(throwing)
    const other = new Y.Doc()
    other.on('update', admit)
    for (let n = 0; n < 20; n++) other.getText('notes').insert(0, 'x')
    const waiting = guard.whenReady('comment', anna)
    await clock.advance(1)
    // The change that deletes a note touches it, although it came after what could not be applied.
    expect(offer((doc) => doc.getText('notes').delete(5, 1))).toContain('access.denied')
    compacted()
    await waiting
    expect(offer((doc) => doc.getText('notes').delete(5, 1))).toContain('access.denied')
    expect(offer(comment)).toBe('allowed')
  })

  /** A document that is large, and what is opened of it on the spot. */
  const served = async (options: Partial<GuardOptions> = {}) => {
    const house = await DocumentHouse.open()
    await house.append('plan', large)
    await house.reboot(options)
    const loads = vi.spyOn(Shadow, 'load')
    const pass = async (): Promise<void> => {
      for (let ms = 0; ms < 100; ms++) {
        await quiet()
        await house.world.clock.advance(1)
      }
    }
    return { house, pass, loads: () => loads.mock.calls.length }
  }
  /** Something that only this client has. */
  const lone = (): Uint8Array => updateOf('nobody else has it')

  it('[BGA14] is made in slices for a reader, too, who deletes what is not here', async () => {
    const { house, pass, loads } = await served()
    const [reader, other] = [await house.connect('plan', { access: 'read' }), await house.connect('plan', { access: 'read' })]
    for (const { doc } of [reader, other]) Y.applyUpdate(doc, lone(), 'server')
    reader.doc.getText('text').delete(0, 3)
    await pass()
    expect(reader.refused).toBeUndefined()
    other.doc.transact(() => {
      other.doc.getText('text').delete(0, 3)
      other.doc.getXmlFragment('page').delete(0, 1)
    })
    await pass()
    expect(other.refused).toContain('access.denied')
    expect(loads()).toBe(0)
  })

  it('[BGA14] is not opened for somebody who is refused unseen, whatever the client id', async () => {
    const check = (): void => {
      throw new TroupeError('document.invalid', 'not that')
    }
    const { house, pass, loads } = await served({ refusalsPerMinute: 1, validation: { covers: () => true, check } })
    const commenting = async (clientID?: number) => {
      const client = await house.connect('plan', { access: 'comment' })
      if (clientID !== undefined) client.doc.clientID = clientID
      client.doc.getArray('comments').push(['a comment'])
      await pass()
      return client.refused
    }
    expect(await commenting()).toBe('document.invalid: not that')
    const [known] = Y.decodeStateVector(Y.encodeStateVectorFromUpdate(large)).keys()
    expect(await commenting(known)).toContain('rate.limited')
    expect(loads()).toBe(0)
  })

  it('[BGA14] keeps the order of those who wait for it, and lets nothing in unseen', async () => {
    const seen: string[] = []
    let isChecked = false
    const check = ({ doc }: DocumentChange): void => {
      const text = doc.getText('text').toString()
      if (text.includes('no')) throw new TroupeError('document.invalid', 'not that')
      seen.push(text)
    }
    const house = await DocumentHouse.open({ validation: { covers: () => isChecked, check } })
    await house.append('plan', large)
    isChecked = true
    await house.reboot()
    const [ada, ben] = [await house.connect('plan'), await house.connect('plan')]
    for (const letter of 'abc') ada.doc.getText('text').insert(ada.text.length, letter)
    ben.doc.getText('text').insert(0, 'no')
    const edit = house.append('plan', updateOf('!'))
    for (let ms = 0; ms < 200; ms++) {
      await quiet()
      await house.world.clock.advance(1)
    }
    await edit
    expect([ada.refused, ben.refused]).toEqual([undefined, 'document.invalid: not that'])
    const ofAda = seen.map((text) => text.replace('!', '')).filter((text) => text !== '')
    expect(ofAda.filter((text, at) => text !== ofAda[at - 1])).toEqual(['a', 'ab', 'abc'])
    expect([...(await house.text('plan'))].sort().join('')).toBe('!abc')
  })

  it('[BGA14] is given up when the document leaves memory: whoever waits is told to ask again', async () => {
    const { guard } = opened()
    const ready = guard.whenReady('comment', anna)
    guard.end()
    await expect(ready).rejects.toMatchObject({ code: 'document.unavailable' })
    expect(guard.isIdle).toBe(true)
  })
})

describe('a large change', () => {
  const ben = { user: 'ben', via: '' }
  const comments = (count: number) => (doc: Y.Doc) => {
    for (let n = 0; n < count; n++) doc.getArray('comments').push([new Y.Map([['at', n]])])
  }
  const updateFrom = (content: DocumentState, change: (doc: Y.Doc) => void): Uint8Array => {
    const doc = new Y.Doc()
    for (const bytes of [content.snapshot, ...content.tail]) if (bytes.length > 0) Y.applyUpdate(doc, bytes)
    const before = Y.encodeStateVector(doc)
    doc.transact(() => change(doc))
    return Y.encodeStateAsUpdate(doc, before)
  }
  const large = (options: Partial<GuardOptions> = {}) => {
    const parts = guarded(options, 'plan', DocumentState.load(updateOf('a text'), []) as DocumentState) // it is readable
    const { guard, admit } = parts
    const applied = vi.spyOn(Shadow.prototype, 'apply')
    const look = (bytes: Uint8Array, access: 'write' | 'comment' = 'comment', isDecided = () => false) =>
      guard.whenReady(access, anna, { bytes, inspection: inspectUpdate(bytes) as UpdateInspection, isDecided }) // it is readable
    /** Waits as the document does, and judges in that very turn. */
    const bring = async (bytes: Uint8Array, access: 'write' | 'comment' = 'comment') => {
      for (let waiting = look(bytes, access); waiting !== undefined; waiting = look(bytes, access)) {
        let isOver = false
        void waiting.then(() => (isOver = true))
        while (!isOver) {
          await Promise.resolve()
          if (!isOver && !parts.clock.step()) await quiet(1)
        }
      }
      const judgement = guard.judge(bytes, access, anna, true)
      if (judgement.kind === 'allowed') admit(bytes)
      return judgement.kind === 'refused' ? `${judgement.code}: ${judgement.detail}` : judgement.kind
    }
    const largest = () => Math.max(0, ...applied.mock.calls.map(([update]) => update.length))
    return { ...parts, look, bring, largest }
  }

  it('[BGA20] is looked at in slices, and let in', async () => {
    const { content, bring, offer, slices, loads, largest } = large()
    const update = updateFrom(content, comments(6_000))
    expect(await bring(update)).toBe('allowed')
    expect(slices()).toBeGreaterThan(3)
    expect(largest()).toBe(0)
    expect(offer((doc) => doc.getArray('comments').delete(17, 1))).toBe('allowed')
    expect(offer((doc) => doc.getText('text').delete(0, 1))).toContain('access.denied')
    expect(loads()).toBe(1)
  })

  it('[BGA20] of somebody who may comment is refused for anything else in it, and leaves nothing behind', async () => {
    const check = ({ doc }: DocumentChange): void => void (seen = doc.getArray('comments').length)
    let seen = -1
    const { content, bring, offer } = large({ validation: { covers: () => true, check } })
    const update = updateFrom(content, (doc) => {
      comments(6_000)(doc)
      doc.getText('text').insert(0, 'x')
    })
    expect(await bring(update)).toBe('access.denied: needs document:plan:write to change text')
    expect(await bring(updateFrom(content, comments(1)))).toBe('allowed')
    expect(seen).toBe(1)
    expect(offer((doc) => doc.getText('text').delete(0, 1), 'comment', ben)).toContain('access.denied')
  })

  it('[BGA20] is shown to the application whole, with what came in meanwhile; what that refuses leaves nothing behind', async () => {
    let most = 0
    const check = ({ doc }: DocumentChange): void => {
      most = doc.getArray('comments').length
      if (most > 6_100) throw new TroupeError('document.invalid', 'too many')
    }
    const { content, bring, admit, largest } = large({ validation: { covers: () => true, check } })
    const first = updateFrom(content, comments(6_000))
    const judged = bring(first, 'write')
    admit(updateFrom(content, comments(7)))
    expect(await judged).toBe('allowed')
    expect(most).toBe(6_007)
    expect(await bring(updateFrom(content, comments(5_000)), 'write')).toBe('document.invalid: too many')
    expect(await bring(updateFrom(content, comments(1)), 'write')).toBe('allowed')
    expect(most).toBe(6_008)
    expect(largest()).toBeLessThan(10_000)
  })

  it('[BGA20] is judged by what its author may do when it is judged', async () => {
    const { clock, content, guard, look } = large({ validation: { covers: () => true, check: () => {} } })
    const update = updateFrom(content, (doc) => {
      comments(6_000)(doc)
      doc.getText('text').insert(0, 'x')
    })
    let isOver = false
    void look(update, 'write')?.then(() => (isOver = true))
    while (!isOver) {
      await quiet()
      clock.step()
    }
    expect(guard.judge(update, 'comment', anna, true)).toMatchObject({ kind: 'refused', code: 'access.denied' })
  })

  it('[BGA20] that nobody judges in the end is forgotten, and those who wait go on', async () => {
    let seen = -1
    const check = ({ doc }: DocumentChange): void => void (seen = doc.getArray('comments').length)
    const { clock, content, guard, look, bring } = large({ validation: { covers: () => true, check } })
    const waiting = look(updateFrom(content, comments(6_000)))
    expect(waiting).toBeInstanceOf(Promise)
    expect(guard.isIdle).toBe(false)
    expect(await bring(updateFrom(content, comments(1)))).toBe('allowed')
    expect(seen).toBe(1)
    await waiting
    await clock.advance(10)
    expect(guard.isIdle).toBe(true)
  })

  it('[BGA20] is judged by itself, whatever Yjs cannot apply of what came in meanwhile', async () => {
    const { content, bring, admit } = large()
    const judged = bring(updateFrom(content, comments(6_000)))
    admit(throwing)
    expect(await judged).toBe('allowed')
  })

  it('[BGA20] is not tried when it is decided without that', async () => {
    const { content, look, ready, guard } = large()
    await ready()
    expect(look(updateFrom(content, comments(6_000)), 'comment', () => true)).toBeUndefined()
    expect(guard.isIdle).toBe(true)
  })

  it('[BGA20] that could not be divided is not called invalid: its client comes again, and others go on', async () => {
    const failing: DocumentWork = {
      run: (name, ...given) => (name === 'splitUpdates' ? Promise.reject(new Error('gone')) : work.run(name, ...given)),
    }
    const { content, look, bring, guard, offer } = large({ work: failing })
    const waiting = look(updateFrom(content, comments(6_000)))
    const other = bring(updateFrom(content, comments(1)))
    await expect(waiting).rejects.toMatchObject({ code: 'document.busy' })
    expect(await other).toBe('allowed')
    expect(guard.isIdle).toBe(true)
    expect(offer(comment)).toBe('allowed')
  })

  it('[BGA20] that was begun when the document leaves memory is told to ask again', async () => {
    const { content, guard, look } = large()
    const waiting = look(updateFrom(content, comments(6_000)))
    guard.end()
    await expect(waiting).rejects.toMatchObject({ code: 'document.unavailable' })
    expect(guard.isIdle).toBe(true)
  })

  it('[BGA20] reaches a document that checks it, of clients and of the server', async () => {
    let isStrict = false
    const check = (): void => {
      if (isStrict) throw new TroupeError('document.invalid', 'not that')
    }
    const house = await DocumentHouse.open({ validation: { covers: () => true, check } })
    const pass = async () => {
      for (let ms = 0; ms < 200; ms++) await house.world.clock.advance(1)
    }
    const client = await house.connect('plan')
    client.doc.transact(() => comments(5_000)(client.doc))
    await pass()
    const edit = house.append('plan', updateFrom(DocumentState.empty(), comments(5_000)))
    await pass()
    await edit
    expect(client.doc.getArray('comments').length).toBe(10_000)
    isStrict = true
    client.doc.transact(() => comments(5_000)(client.doc))
    await pass()
    expect(client.refused).toBe('document.invalid: not that')
    const reader = await house.connect('plan')
    expect(reader.doc.getArray('comments').length).toBe(10_000)
  })
})

describe('presence', () => {
  const moved = (client: number, clock: number) => encodeAwareness([{ client, clock, state: `{"at":${clock}}` }])
  const crowd = (readers: number) => {
    const clock = new SimulatedClock()
    const told: number[] = []
    const presence: DocumentPresence = new DocumentPresence(
      scopeOf(clock, 'd', ({ type }) => type === 'document.tellPresence' && presence.due()),
      {},
      () => readers,
      () => {
        const news = presence.takeNews()
        if (news === undefined) return
        const entries = decodeAwareness(news.bytes)
        told.push('length' in entries ? entries.length : -1)
      },
      () => {},
    )
    return { clock, told, presence }
  }

  it('of a few goes out at once', () => {
    const { told, presence } = crowd(2)
    presence.hear({ id: 'a' }, moved(1, 1))
    expect(told).toEqual([1])
  })

  it('of a crowd waits for company, longer the larger it is, and goes out as one', async () => {
    const { clock, told, presence } = crowd(500)
    for (let second = 1; second <= 3; second++) {
      for (let viewer = 0; viewer < 500; viewer++) {
        presence.hear({ id: `viewer ${viewer}` }, moved(viewer, 2 * second))
        await clock.advance(2)
      }
    }
    await clock.advance(1_000)
    expect(told.reduce((sum, entries) => sum + entries, 0)).toBe(1_500)
    expect(told.length).toBeGreaterThan(3)
    expect(told.length).toBeLessThan(10)
  })

  it('does not go out early because changes do', async () => {
    const { clock, presence, told } = crowd(500)
    presence.hear({ id: 'a' }, moved(1, 1))
    presence.hear({ id: 'a' }, moved(1, 5))
    expect(presence.takeNews()).toBeUndefined()
    expect(told).toEqual([1])
    await clock.advance(499)
    expect(presence.takeNews()).toBeUndefined()
    await clock.advance(1)
    expect(told).toEqual([1, 1])
  })
})
