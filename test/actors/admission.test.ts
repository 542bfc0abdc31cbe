import { describe, expect, it } from 'vitest'
import { Admission } from '../../actors/admission.ts'
import type { Part } from '../../actors/publication.ts'

const limits = { connectionsPerSecond: 1_000, joinWaitMs: 5_000, answerBytes: 1_000 }
const even = () => 0.5
const part = (length: number): Part => ({ kind: 'state', bytes: new Uint8Array(length) })

describe('admission', () => {
  it('[BGA10] lets a burst in at once and smears the rest over time, in the order in which they came', () => {
    const admission = new Admission(limits, even)
    const turns = Array.from({ length: 1_000 }, () => admission.arrive(10_000))
    const waits = turns.map((turn) => (turn.kind === 'wait' ? turn.ms : 0))
    expect(waits.filter((ms) => ms === 0).length).toBe(251)
    expect(waits).toEqual([...waits].sort((a, b) => a - b))
    expect(waits.at(-1)).toBe(749)
    expect(admission.arrive(11_000)).toEqual({ kind: 'now' })
  })

  it('[BGA10] refuses who would wait too long, with a hint that is not the same for all', () => {
    let chance = 0
    const admission = new Admission(limits, () => chance)
    const turns = Array.from({ length: 7_000 }, () => admission.arrive(0))
    expect(turns.findIndex(({ kind }) => kind === 'refused')).toBeGreaterThan(5_000)
    const first = admission.arrive(0)
    chance = 1
    const second = admission.arrive(0)
    if (first.kind !== 'refused' || second.kind !== 'refused') throw new Error('not refused')
    expect(second.retryAfterMs).toBeGreaterThan(2 * first.retryAfterMs)
    // Who was refused takes nobody's turn.
    expect(admission.arrive(2_000).kind).toBe('wait')
  })

  it('[BGA11] makes newcomers wait while too much is under way; what many are sent counts once', () => {
    const admission = new Admission(limits, even)
    const large = [part(900), part(50)]
    for (let i = 0; i < 100; i++) admission.began(large)
    expect(admission.answerBytes).toBe(950)
    expect(admission.arrive(0)).toEqual({ kind: 'now' })
    const other = [part(200)]
    admission.began(other)
    expect(admission.arrive(100)).toMatchObject({ kind: 'wait', ms: 400 })
    expect(admission.look(500, 100)).toMatchObject({ kind: 'wait' })
    expect(admission.look(5_100, 100)).toMatchObject({ kind: 'refused' })
    for (let i = 0; i < 99; i++) admission.ended(large)
    expect(admission.look(600, 100).kind).toBe('wait')
    admission.ended(large)
    expect(admission.look(700, 100)).toEqual({ kind: 'now' })
    admission.ended(other)
    admission.ended(other) // was not under way any more
    expect(admission.answerBytes).toBe(0)
  })

  it('[BGA10] without a limit nobody waits', () => {
    const admission = new Admission({ ...limits, connectionsPerSecond: 0 }, even)
    expect(Array.from({ length: 5_000 }, () => admission.arrive(0).kind).every((kind) => kind === 'now')).toBe(true)
  })
})
