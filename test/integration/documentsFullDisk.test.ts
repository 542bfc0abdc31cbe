/** Documents over HTTP while the disk is full: the built program on a small disk. */
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { because, cleanUp, noMount, smallDisk, start } from '../support/badDisks.ts'
import type { Running } from '../support/process.ts'
import { until } from '../support/wait.ts'

cleanUp(() => {})

interface Answer {
  readonly status: number
  /** Of an error, else empty. */
  readonly code: string
  // biome-ignore lint/suspicious/noExplicitAny: what an answer holds is what the test asks
  readonly body: any
}

/** Whoever is not answered by then waits for ever. */
const soonMs = 8_000

const calling =
  (server: Running) =>
  async (method: string, path: string, given?: unknown, headers: Record<string, string> = {}): Promise<Answer> => {
    const response = await fetch(`${server.http}/v1/documents/${path}`, {
      method,
      headers: { ...(given !== undefined && { 'content-type': 'application/json' }), ...headers },
      ...(given !== undefined && { body: JSON.stringify(given) }),
      signal: AbortSignal.timeout(soonMs),
    })
    const text = await response.text()
    const body = text === '' ? undefined : JSON.parse(text)
    return { status: response.status, code: body?.error?.code ?? '', body }
  }

const commitsRefused = async ({ http }: Running): Promise<number> => {
  const text = await (await fetch(`${http}/metrics`)).text()
  return Number(/^troupe_document_commits_refused_total(?:{[^}]*})? (\S+)$/m.exec(text)?.[1] ?? 0)
}

const settings = ['storage.ballastBytes=1048576', 'storage.minFreeBytes=2097152', 'documents.retryMs=100', 'documents.deletedMs=1'].flatMap(
  (setting) => ['--set', setting],
)

describe('documents on a full disk', () => {
  it.skipIf(noMount !== undefined)(
    `[DRE9] answers every request soon: what looks is shown, what changes is refused with a code, and the log is short${because(noMount)}`,
    async () => {
      const disk = smallDisk(24)
      const data = join(disk.directory, 'data')
      const server = await start(data, settings)
      const call = calling(server)
      const write = (name: string, value: unknown, headers = {}) =>
        call('PATCH', `${name}/content`, [{ op: 'add', path: '/m/a', value }], headers)
      for (const name of ['open', 'cold', 'copied', 'old']) for (let at = 0; at < 3; at++) await write(name, at)
      await call('POST', 'open/versions', { name: 'one', at: 1 })
      for (let at = 0; at < 20; at++) {
        await write(`gone${at}`, at)
        await call('DELETE', `gone${at}`)
      }

      const filler = join(disk.directory, 'filler')
      const fill = () => {
        const { bavail, bsize } = statfsSync(disk.directory)
        try {
          writeFileSync(filler, Buffer.alloc(bavail * bsize), { flag: 'a' })
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error // the server was faster: it is as full as it should be
        }
      }
      const isFull = async () => (await fetch(`${server.http}/ready`)).status === 503
      for (let at = 0; !(await isFull()); at++) {
        if (at === 400) throw new Error('the disk did not become full')
        await write('filling', 'x'.repeat(50_000) + at)
        fill()
      }

      const refused = { status: 503, code: 'storage.full' }
      const unknown = { status: 504, code: 'document.outcome_unknown' }
      const first = await write('open', 'on a full disk', { 'idempotency-key': 'first' })
      expect([refused, unknown]).toContainEqual({ status: first.status, code: first.code })
      const changes: readonly [method: string, path: string, body?: unknown][] = [
        ['PATCH', 'open/content', [{ op: 'add', path: '/m/b', value: 1 }]],
        ['POST', 'open/restore', { to: 1 }],
        ['POST', 'open/rollback', { user: '' }],
        ['POST', 'open/versions', { name: 'two' }],
        ['PATCH', 'open/versions/1', { name: 'uno' }],
        ['DELETE', 'open/versions/1'],
        ['POST', 'open/prune', { before: 2 }],
        ['POST', 'open/copy', { to: 'copy of open' }],
        ['POST', 'open/rename', { to: 'renamed' }],
        ['POST', 'open/reset', {}],
        ['DELETE', 'open'],
        ['DELETE', 'open?purge=true'],
        ['POST', 'copied/copy', { to: 'copy' }],
        ['POST', 'copied/reset', { content: { t: 'x' } }],
        ['POST', 'cold/prune', { before: 2 }],
        ['DELETE', 'cold'],
        ['PUT', 'new'],
        ['PUT', 'new', { content: { t: 'x' } }],
        ['PUT', 'gone0'],
      ]
      const answers: Record<string, unknown> = {}
      for (const change of changes) {
        const { status, code } = await call(...change)
        answers[change.slice(0, 2).join(' ')] = { status, code }
      }
      for (const [what, answer] of Object.entries(answers)) expect([what, answer]).toEqual([what, refused])
      // The sweep may have been there before the disk was full.
      const undeleted = await call('POST', 'gone19/undelete')
      expect([refused, { status: 410, code: 'document.deleted' }]).toContainEqual({ status: undeleted.status, code: undeleted.code })
      for (const name of ['open', 'cold', 'copied', 'filling'])
        for (const path of ['', '/content', '/history', '/history/1', '/diff?from=1', '/versions', '/export'])
          expect([name + path, (await call('GET', name + path)).status]).toEqual([name + path, 200])
      for (const name of ['new', 'copy', 'renamed']) expect((await call('GET', name)).code).toBe('document.unknown')
      expect((await fetch(`${server.http}/v1/documents`)).status).toBe(200)

      // Who retries by itself says so once; the sweep may come by now.
      const tries = await commitsRefused(server)
      const lines = server.lines.length
      await until(async () => (await commitsRefused(server)) > tries + 20, 'more tries')
      const sweeping = 'the sweep of documents waits for the disk'
      expect(server.lines.slice(lines).filter(({ msg }) => msg !== sweeping)).toEqual([])
      expect(server.lines.filter(({ msg }) => msg === sweeping).length).toBeLessThan(2)

      rmSync(filler)
      await until(async () => !(await isFull()), 'space')
      expect((await write('open', 'on a full disk', { 'idempotency-key': 'first' })).status).toBe(200)
      await until(async () => (await write('open', 'with space', { 'idempotency-key': 'last' })).status === 200, 'a change')
      expect((await call('GET', 'open/content')).body).toEqual({ m: { a: 'with space' } })
      expect((await call('POST', 'copied/copy', { to: 'copy' })).status).toBe(201)
    },
  )
})
