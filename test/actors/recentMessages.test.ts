import { describe, expect, it } from 'vitest'
import type { ChannelMessage } from '../../actors/output.ts'
import { RecentBudget, RecentMessages } from '../../actors/recentMessages.ts'

const message = (offset: number) => ({ offset }) as ChannelMessage // nothing else of it is looked at
const offsets = (recent: RecentMessages, low: number, high: number) => recent.slice(low, high)?.map(({ offset }) => offset)

describe('the recent messages of all channels', () => {
  it('take so many bytes and no more: the channel that was silent longest forgets its own', () => {
    const budget = new RecentBudget(100)
    const [a, b, c] = [0, 1, 2].map(() => new RecentMessages(10, 60, budget)) as [RecentMessages, RecentMessages, RecentMessages]
    a.push([message(1)], [50])
    b.push([message(1)], [40])
    a.push([message(2)], [10])
    c.push([message(1)], [30])
    expect([offsets(a, 1, 2), offsets(b, 1, 1), offsets(c, 1, 1)]).toEqual([[1, 2], undefined, [1]])
    expect(budget.bytes).toBe(90)
  })

  it('are whole or not there: a channel that forgot goes on from its next message', () => {
    const budget = new RecentBudget(50)
    const [a, b] = [new RecentMessages(10, 50, budget), new RecentMessages(10, 50, budget)]
    a.push([message(1), message(2)], [10, 10])
    b.push([message(1)], [45])
    a.push([message(3)], [5])
    expect([offsets(a, 2, 3), offsets(a, 3, 3), a.at(2), a.at(3)?.offset]).toEqual([undefined, [3], undefined, 3])
  })

  it('of a channel that is gone count no more', () => {
    const budget = new RecentBudget(100)
    const recent = new RecentMessages(10, 60, budget)
    recent.push([message(1)], [50])
    recent.forget()
    expect([budget.bytes, recent.at(1)]).toEqual([0, undefined])
  })
})
