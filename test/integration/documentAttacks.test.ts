/**
 * Crafted updates against a running server, while somebody else works in the same document: one that takes them all in. With FIGURES
 * set, what each costs is shown: in a document of its own (FIGURES=each), or in the one that has taken in all before it.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chainedElements } from '../support/attacks.ts'
import {
  chain,
  crowd,
  hugeLengths,
  loneSurrogate,
  longStretch,
  nested,
  nestedElements,
  roots,
  stateVector,
  subdocuments,
  tinyDeletions,
  versions,
} from '../support/craftedUpdates.ts'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { MiB, residentBytes } from '../support/processes.ts'
import { closeWires, encodePresence, WireClient, wire } from '../support/wire.ts'

let server: Running
let worker: WireClient
const showsFigures = process.env.FIGURES !== undefined
const isApart = process.env.FIGURES === 'each'
const data = temporaryDirectory()

beforeAll(async () => {
  server = await startTroupe(data.path)
  worker = await new WireClient(`${server.ws}/docs/attacked`, { isBlind: true }).synced()
})

afterAll(async () => {
  closeWires()
  await server.kill()
  data.remove()
})

/** Longest stall of the server's main thread since the last look, in ms. */
const longestStall = async (): Promise<number> => {
  const text = await fetch(`${server.http}/metrics`).then((response) => response.text())
  return Number(/^nodejs_eventloop_lag_max_seconds (.+)$/m.exec(text)?.[1] ?? Number.NaN) * 1_000
}

/** `code`: with which the attacker is sent away; undefined: it is not. */
const attack = async (name: string, frames: readonly Uint8Array[], code?: number): Promise<void> => {
  const room = `${server.ws}/docs/${isApart ? encodeURIComponent(name) : 'attacked'}`
  if (isApart) worker = await new WireClient(room, { isBlind: true }).synced()
  await longestStall()
  const before = residentBytes(server.pid)
  let peak = before
  const attacker = await new WireClient(room, { isBlind: true }).synced()
  for (const frame of frames) attacker.send(frame)
  if (code !== undefined) {
    // What is no update at all ends the connection only the third time.
    for (let again = 0; again < 2 && code === 4400; again++) for (const frame of frames) attacker.send(frame)
    expect(await attacker.closed()).toMatchObject({ code })
  }
  for (let i = 0; i < 3; i++) {
    await worker.edit(`${name} `)
    peak = Math.max(peak, residentBytes(server.pid))
  }
  attacker.close()
  expect(worker.closings).toEqual([])
  expect(peak - before).toBeLessThan(400 * MiB)
  if (showsFigures) console.info({ name, stallMs: await longestStall(), grewMiB: (peak - before) / MiB })
}

describe('a server that is sent crafted updates', () => {
  const refused: [string, number, Uint8Array][] = [
    ['huge lengths', 4400, hugeLengths[2] as Uint8Array],
    ['half of a surrogate pair', 4400, loneSurrogate],
    ['values 5 000 deep', 4422, nested(5_000)],
    ['2 000 roots', 4422, roots(2_000)],
    ['2 000 subdocuments', 4422, subdocuments(2_000)],
    ['more than a million deletions', 4422, tinyDeletions(2_200_000)],
    ['101 000 clients', 4413, chain(101_000)],
  ]
  for (const [name, code, bytes] of refused)
    it(`[BGI25] refuses them, sends their sender away, and goes on for all others: ${name}`, () => attack(name, [wire.update(bytes)], code))

  const taken: [string, Uint8Array][] = [
    ['a crowd of 10 000 at one place', crowd(10_000)],
    ['a chain through 50 000 clients', chain(50_000)],
    ['100 000 versions of a key', versions(100_000)],
    ['50 000 tiny deletions', tinyDeletions(100_000)],
    ['elements 5 000 deep', nestedElements(5_000)],
    ['2^31 clocks of garbage', longStretch(0)],
    ['30 000 values one by one', chainedElements(30_000)],
  ]
  for (const [name, bytes] of taken)
    it(`[BGI26] takes what Yjs would, and goes on for all others: ${name}`, () => attack(name, [wire.update(bytes)]))

  it('[BGI26] takes a megabyte of questions and presence, and goes on for all others', async () => {
    const presence = Array.from({ length: 400 }, (_, i) => wire.awareness(encodePresence([{ client: i, clock: i, state: '{"x":1}' }])))
    const asks = Array.from({ length: 20 }, () => wire.step1(stateVector(20_000)))
    await attack('questions and presence', [...asks, ...presence])
  })

  it.skipIf(isApart)('[BGI27] hands all of it to a newcomer, after a restart too', async () => {
    // It does not apply them: until they are compacted, 100 000 versions of a key take a stock Yjs ten seconds.
    const reader = await new WireClient(`${server.ws}/docs/attacked`, { isBlind: true }).synced()
    expect(reader.clocks.size).toBeGreaterThan(50_000)
    reader.close()
    worker.close()
    await server.kill()
    server = await startTroupe(data.path)
    await longestStall()
    const again = await new WireClient(`${server.ws}/docs/attacked`, { isBlind: true }).synced()
    if (showsFigures) console.info({ name: 'the first join after a restart', stallMs: await longestStall() })
    expect(again.clocks).toEqual(reader.clocks)
  })
})
