/** Programs that repeat requests with their keys until they are answered, while the server is killed again and again. */
import { describe, expect, it } from 'vitest'
import { serve } from '../support/service.ts'
import { until } from '../support/wait.ts'
import { SeededRandom } from '../support/world.ts'

/** More of them: a night's work. */
const rounds = Number(process.env.CRASH_ROUNDS ?? 3)
const seed = Number(process.env.SEED ?? 20_261_121)
const programs = 6

const { server, restart } = serve()

describe('requests with keys', () => {
  it(`[CR5] are done once each, whatever was killed in between: ${rounds} times kill -9 (seed ${seed})`, async () => {
    const chance = new SeededRandom(seed)
    const address = () => `${server().http}/v1/documents/counted/content`
    const done: string[] = []
    let isOver = false
    let repeated = 0

    /** A word of its own, into one text; asked again until the answer is that it is done. */
    const insert = async (word: string): Promise<void> => {
      for (let attempt = 0; ; attempt++) {
        if (attempt === 1) repeated++
        const body = JSON.stringify([{ op: 'insert', path: '/text', index: 0, text: `${word} ` }])
        const headers = { 'content-type': 'application/json', 'idempotency-key': word }
        const answer = await fetch(address(), { method: 'PATCH', headers, body }).catch(() => undefined)
        if (answer?.status === 200) return void done.push(word)
        if (answer !== undefined) expect([word, await answer.text(), answer.status]).toEqual([word, '', expect.toBeOneOf([503, 504])])
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
    const program = async (number: number): Promise<void> => {
      for (let at = 0; !isOver; at++) await insert(`p${number}w${at}`)
    }
    const all = Promise.all(Array.from({ length: programs }, (_, number) => program(number)))
    for (let round = 0; round < rounds; round++) {
      const goal = done.length + 20 + chance.below(120)
      await until(() => done.length >= goal, 'some more')
      await restart('SIGKILL')
    }
    isOver = true
    await all
    const text = (await (await fetch(`${address()}?format=text`)).text()).trim().split(' ')
    expect(text.sort()).toEqual(done.sort())
    expect(repeated).toBeGreaterThan(rounds)
  })
})
