/** Stock y-websocket 3 providers against the built server. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import WebSocket from 'ws'
import * as Y from 'yjs'
import { closeEditors, converged, openEditor, synced } from '../support/editors.ts'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { until } from '../support/wait.ts'
import { emptyVector, wire } from '../support/wire.ts'

const data = temporaryDirectory()
let troupe: Running

beforeAll(async () => {
  troupe = await startTroupe(data.path, ['--listen', '0:yjs'])
})
afterEach(closeEditors)
afterAll(async () => {
  await troupe.kill()
  data.remove()
})

describe('an unmodified y-websocket provider', () => {
  it('[YW1] synchronises on the main listener, on /docs/ and on a yjs listener, and all three are one document', async () => {
    const yjs = `ws://127.0.0.1:${troupe.ports[1]}`
    const editors = [openEditor(troupe.ws, 'three-ways'), openEditor(`${troupe.ws}/docs`, 'three-ways'), openEditor(yjs, 'three-ways')]
    await Promise.all(editors.map(synced))
    editors.forEach((editor, i) => {
      editor.text.insert(0, `from ${i}. `)
    })
    await converged(editors)
    expect(editors[0]?.text.length).toBe(24)
  })

  it.each(['plain', 'with/slashes/in/it', 'chat', 'v1/realtime', 'ünïcödé 漢字', 'a b%20c', '..'])(
    '[YW2] takes the room name %j on a yjs listener',
    async (room) => {
      // As the WebSocket of a browser does it: y-websocket itself leaves the room name as it is.
      const encoded = room === '..' ? 'dots..' : room.split('/').map(encodeURIComponent).join('/')
      const yjs = `ws://127.0.0.1:${troupe.ports[1]}`
      const [a, b] = [openEditor(yjs, encoded), openEditor(yjs, encoded)]
      a.text.insert(0, room)
      await until(() => b.text.toString() === room, 'the text')
    },
  )

  it('[YW3] sees the cursor of others, and no longer when they have gone', async () => {
    const [a, b] = [openEditor(troupe.ws, 'cursors'), openEditor(troupe.ws, 'cursors')]
    await Promise.all([synced(a), synced(b)])
    a.provider.awareness.setLocalStateField('user', { name: 'Ada' })
    const seen = () => b.provider.awareness.getStates().get(a.doc.clientID)?.user
    await until(() => seen()?.name === 'Ada', 'the presence of Ada')
    const latecomer = openEditor(troupe.ws, 'cursors')
    await until(() => latecomer.provider.awareness.getStates().get(a.doc.clientID)?.user?.name === 'Ada', 'the presence for a latecomer')
    a.close()
    await until(() => seen() === undefined && latecomer.provider.awareness.getStates().size <= 2, 'the removal')
  })

  it('[YW3] sees those who kept still again when it comes back, before they renew', async () => {
    const [a, b] = [openEditor(troupe.ws, 'blink'), openEditor(troupe.ws, 'blink')]
    const sees = () => a.provider.awareness.getStates().has(b.doc.clientID) && b.provider.awareness.getStates().has(a.doc.clientID)
    await until(sees, 'the presence of both')
    a.provider.disconnect()
    await until(() => !b.provider.awareness.getStates().has(a.doc.clientID), 'the removal')
    a.provider.connect()
    await until(sees, 'the return', 8_000)
  })

  it('[YW4] gets back what it edited while it was offline', async () => {
    const [a, b] = [openEditor(troupe.ws, 'offline'), openEditor(troupe.ws, 'offline')]
    await Promise.all([synced(a), synced(b)])
    a.provider.disconnect()
    a.text.insert(0, 'written offline')
    b.text.insert(0, 'written online, ')
    a.provider.connect()
    await converged([a, b])
    expect(a.text.toString()).toContain('written offline')
    expect(a.text.toString()).toContain('written online')
  })

  it('[YW5] keeps everything over a restart in order', async () => {
    const own = temporaryDirectory()
    let server = await startTroupe(own.path)
    const a = openEditor(server.ws, 'kept')
    await synced(a)
    a.text.insert(0, 'kept over a restart')
    await until(
      async () => (await fetch(`${server.http}/metrics`).then((r) => r.text())).includes('troupe_document_updates_total 1'),
      'the commit',
    )
    a.close()
    server.signal('SIGTERM')
    expect(await server.exited).toEqual({ code: 0, signal: null })
    server = await startTroupe(own.path)
    const b = openEditor(server.ws, 'kept')
    await until(() => b.text.toString() === 'kept over a restart', 'the text')
    b.close()
    await server.kill()
    own.remove()
  })
})

interface Transaction {
  readonly agent: 0 | 1
  readonly parents: readonly number[]
  readonly numChildren: number
  readonly patches: readonly (readonly [position: number, deleted: number, inserted: string])[]
}

describe('two providers replay the trace of two friends', () => {
  it('[YW6] converge to its end, through a restart in the middle', async () => {
    const trace = JSON.parse(
      gunzipSync(readFileSync(new URL('../fixtures/traces/friendsforever.json.gz', import.meta.url))).toString(),
    ) as {
      txns: Transaction[]
      endContent: string
    }
    const own = temporaryDirectory()
    let server = await startTroupe(own.path)
    const { port } = server
    // One client for each agent. Each sees a transaction of the other exactly when its own next one builds on it.
    const docs = [new Y.Doc(), new Y.Doc()] as const
    const editors = docs.map((doc) => openEditor(server.ws, 'friends', { doc }))
    await Promise.all(editors.map(synced))
    const { updates, end } = replayTrace(trace.txns)
    expect(end).toBe(trace.endContent)
    /** Applies what an agent typed, as soon as the network has brought it what it had seen when it typed it. */
    const play = async (agent: 0 | 1, from: number, to: number) => {
      const doc = docs[agent]
      for (const { by, update, needs } of updates.slice(from, to)) {
        if (by !== agent) continue
        while (Y.getState(doc.store, 2 - agent) < needs) await new Promise((resolve) => doc.once('update', resolve))
        Y.applyUpdate(doc, update)
      }
    }
    const half = Math.floor(updates.length / 2)
    await Promise.all([play(0, 0, half), play(1, 0, half)])
    await server.kill()
    server = await startTroupe(own.path, ['--port', String(port)])
    await Promise.all([play(0, half, updates.length), play(1, half, updates.length)])
    await until(() => editors.every(({ text }) => text.toString() === trace.endContent), 'the end of the trace', 60_000)
    const reader = openEditor(server.ws, 'friends')
    await until(() => reader.text.toString() === trace.endContent, 'the end of the trace for a reader')
    closeEditors()
    await server.kill()
    own.remove()
  })
})

interface Typed {
  readonly by: 0 | 1
  readonly update: Uint8Array
  /** How far the other agent's clock had come for this one. */
  readonly needs: number
}

/** What each agent typed, as updates made at the versions at which it typed them. Agents 0 and 1 are clients 1 and 2. */
const replayTrace = (txns: readonly Transaction[]): { updates: Typed[]; end: string } => {
  const agents = [new Y.Doc(), new Y.Doc()] as const
  agents[0].clientID = 1
  agents[1].clientID = 2
  const updates: Typed[] = []
  const known = [new Set<number>(), new Set<number>()] as const
  const learn = (agent: 0 | 1, transaction: number) => {
    const waiting = [transaction]
    const missing: number[] = []
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      if (known[agent].has(at)) continue
      known[agent].add(at)
      missing.push(at)
      waiting.push(...(txns[at]?.parents ?? []))
    }
    for (const at of missing.sort((a, b) => a - b))
      if (updates[at]?.by !== agent) Y.applyUpdate(agents[agent], updates[at]?.update as Uint8Array)
  }
  txns.forEach((transaction, index) => {
    const by = transaction.agent
    for (const parent of transaction.parents) learn(by, parent)
    const doc = agents[by]
    const needs = Y.getState(doc.store, 2 - by)
    let update = new Uint8Array([0, 0])
    doc.once('update', (made: Uint8Array) => {
      update = new Uint8Array(made)
    })
    doc.transact(() => {
      const text = doc.getText('text')
      for (const [position, deleted, inserted] of transaction.patches) {
        if (deleted > 0) text.delete(position, deleted)
        if (inserted !== '') text.insert(position, inserted)
      }
    })
    updates.push({ by, update, needs })
    known[by].add(index)
  })
  for (const agent of [0, 1] as const) txns.forEach((_, index) => void learn(agent, index))
  return { updates, end: agents[0].getText('text').toString() }
}

describe('garbage from a client', () => {
  const open = (room: string): Promise<WebSocket> =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`${troupe.ws}/docs/${room}`)
      socket.on('open', () => resolve(socket))
      socket.on('error', reject)
    })

  it('[YW7] is struck three times, then closed with 4400, which y-websocket 3.1 does not come back from', async () => {
    const socket = await open('garbage')
    const closed = new Promise<number>((resolve) => socket.on('close', resolve))
    for (const frame of [[0xff], [0x07], [0, 2, 3, 1, 1]]) socket.send(Uint8Array.from(frame))
    expect(await closed).toBe(4400)
  })

  it('[YW8] a name that cannot be one is refused with 4404 after the upgrade, where a browser can see it', async () => {
    for (const path of ['docs/', 'docs/%00', 'docs/%E0%A4%A', `docs/${'x'.repeat(256)}`, 'docs/a%E2%80%AEb']) {
      const socket = new WebSocket(`${troupe.ws}/${path}`)
      socket.on('open', () => socket.send(wire.step1(emptyVector)))
      const code = await new Promise<number>((resolve) => socket.on('close', resolve))
      expect([path, code]).toEqual([path, 4404])
    }
  })
})
