/** Under which client ids the server itself changes documents. */
import { describe, expect, it } from 'vitest'
import { TroupeError } from '../../actors/errors.ts'
import type { Message } from '../../actors/system/message.ts'
import { emptyUpdate } from '../../crdt/update.ts'
import { documentWork } from '../../crdt/work.ts'
import { DocumentEdits } from '../../src/documents/edits.ts'
import { SeededRandom } from '../support/world.ts'

/** Documents that take everything, and a process that changes them. */
const begin = (seed = 1) => {
  const offsets = new Map<string, number>()
  const epochs = new Map<string, string>()
  let refusal: TroupeError | undefined
  const ask = async (address: string, message: Message): Promise<unknown> => {
    const offset = offsets.get(address) ?? 0
    if (message.type === 'document.state')
      return { snapshot: emptyUpdate, tail: [], stateVector: Uint8Array.of(0), epoch: epochs.get(address) ?? '', offset, unsaved: 0 }
    if (refusal !== undefined) throw refusal
    if (!epochs.has(address)) epochs.set(address, 'first')
    offsets.set(address, offset + 1)
    return { offset: offset + 1, isNew: true, answer: '' }
  }
  const random = new SeededRandom(seed)
  const edits = new DocumentEdits({
    asker: { ask },
    random: { next: () => random.next(), id: () => String(random.next()) },
    work: { run: async (name, ...given) => (documentWork[name] as (...given: unknown[]) => never)(...given) }, // `given` fits `name`
  })
  const change = async (address: string): Promise<number> => {
    let used = -1
    const make = (_state: unknown, client: number) => {
      used = client
      return Uint8Array.of(1)
    }
    await edits.change({ address, author: { user: '', via: 'http' }, make }).catch(() => {})
    return used
  }
  return { change, epochs, refuse: (error: TroupeError | undefined) => void (refusal = error) }
}

describe('the changes of a document by the server', () => {
  it('bear one client id, however many other documents are changed in between', async () => {
    const { change, epochs } = begin()
    const devices = Array.from({ length: 3_000 }, (_, n) => `document/device ${n}`)
    for (const device of devices.slice(0, 1_500)) epochs.set(device, 'of before')
    const ids = new Map<string, Set<number>>(devices.map((device) => [device, new Set()]))
    for (let round = 0; round < 3; round++) for (const device of devices) ids.get(device)?.add(await change(device))
    expect(devices.filter((device) => ids.get(device)?.size !== 1)).toEqual([])
    expect(new Set([...ids.values()].flatMap((set) => [...set])).size).toBeGreaterThan(2_990)
  })

  it('bear another one after a change of which nobody knows whether it was taken, and that one from then on', async () => {
    const { change, refuse, epochs } = begin()
    epochs.set('document/plan', 'e')
    const first = await change('document/plan')
    refuse(new TroupeError('document.outcome_unknown'))
    expect(await change('document/plan')).toBe(first)
    refuse(undefined)
    const next = await change('document/plan')
    expect(next).not.toBe(first)
    expect([await change('document/plan'), await change('document/plan')]).toEqual([next, next])
  })

  it('bear the same one after a change that was refused', async () => {
    const { change, refuse, epochs } = begin()
    epochs.set('document/plan', 'e')
    const first = await change('document/plan')
    refuse(new TroupeError('access.denied'))
    await change('document/plan')
    refuse(undefined)
    expect(await change('document/plan')).toBe(first)
  })

  it('bear another one when the document has begun anew, and never one of before', async () => {
    const { change, epochs } = begin()
    const ids = [await change('document/plan')]
    for (const epoch of ['second', 'third']) {
      epochs.set('document/plan', epoch)
      ids.push(await change('document/plan'))
    }
    epochs.delete('document/plan')
    ids.push(await change('document/plan'))
    expect(new Set(ids).size).toBe(4)
  })

  it('bear another one in each process', async () => {
    const ids = await Promise.all(
      [1, 2].map((seed) => {
        const { change, epochs } = begin(seed)
        epochs.set('document/plan', 'e')
        return change('document/plan')
      }),
    )
    expect(new Set(ids).size).toBe(2)
  })
})
