import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { Material } from '../../crdt/historyReplay.ts'
import { updateLimits } from '../../crdt/update.ts'
import { DocumentWorker } from '../../src/documents/worker.ts'

const directory = mkdtempSync(join(tmpdir(), 'worker-'))
const program = join(directory, 'tells.mjs')
/** Instead of the view, tells how many bytes came along with those of the base. */
writeFileSync(
  program,
  `import { parentPort } from 'node:worker_threads'
  parentPort.on('message', ({ given }) => parentPort.postMessage({ ok: true, result: given[0].base.buffer.byteLength }))`,
)
afterAll(() => rmSync(directory, { recursive: true }))

const materialOf = (base: Uint8Array): Material => ({ base, baseAt: 1, blocks: [] })

describe('the worker of documents', () => {
  it('takes what has many bytes within its objects, and none of those that lie beside them', async () => {
    const worker = new DocumentWorker({ program })
    const view = new Uint8Array(1024 * 1024).subarray(0, 64 * 1024)
    expect(await worker.run('historyView', materialOf(view), 1, false)).toBe(view.length)
    await worker.close()
  })

  it('delays nothing else when a compaction is stuck', async () => {
    const stuck = join(directory, 'stuck.mjs')
    const body = "if (name !== 'compact') parentPort.postMessage({ ok: true, result: name })"
    writeFileSync(stuck, `import { parentPort } from 'node:worker_threads'\nparentPort.on('message', ({ name }) => { ${body} })`)
    const worker = new DocumentWorker({ program: stuck })
    const large = new Uint8Array(64 * 1024)
    const compaction = worker.run('compact', large, []).catch(String)
    expect(await worker.run('inspect', large, updateLimits)).toBe('inspect')
    expect(await worker.run('historyView', materialOf(large), 1, false)).toBe('historyView')
    await worker.close()
    expect(await compaction).toContain('closed')
  })

  it('leaves small things where they are', async () => {
    const worker = new DocumentWorker({ program })
    expect(await worker.run('historyView', materialOf(new Uint8Array(0)), 1, true)).toMatchObject({ ok: true, value: { roots: {} } })
    await worker.close()
  })
})
