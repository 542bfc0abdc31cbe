/**
 * The control socket: how `troupe backup` reaches the process that has the data directory open. A Unix socket inside that
 * directory, so whoever may read the data may use it, and nobody else.
 *
 *   request  = { "command": "backup", "directory": "/absolute" } LF
 *   response = { "ok": true } LF  |  { "ok": false, "code": "storage.read_only", "message": "…" } LF
 *
 * `message` is the detail of an error with a `code`; without one it is all that is known.
 */
import { chmodSync, rmSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { type ErrorCode, isTroupeError } from '../actors/errors.ts'

export interface BackupRequest {
  readonly command: 'backup'
  readonly directory: string
}

export type Response = { readonly ok: true } | { readonly ok: false; readonly code?: ErrorCode; readonly message: string }

const refusal = (error: unknown): Response => {
  if (isTroupeError(error)) return { ok: false, code: error.code, message: error.detail }
  return { ok: false, message: error instanceof Error ? error.message : String(error) }
}

const pathOf = (data: string): string => join(data, 'control.sock')
const longestRequest = 64 * 1024

export const serveControl = (data: string, backup: (directory: string) => Promise<void>): Promise<Server> =>
  new Promise((resolve, reject) => {
    const path = pathOf(data)
    rmSync(path, { force: true }) // left by a process that was killed; we hold the lock of the directory
    const server = createServer((socket) => {
      let text = ''
      const answer = (response: Response) => socket.end(`${JSON.stringify(response)}\n`)
      socket.on('error', () => socket.destroy())
      socket.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
        if (text.length > longestRequest) return socket.destroy()
        if (!text.includes('\n')) return
        try {
          const request = JSON.parse(text) as Partial<BackupRequest>
          if (request.command !== 'backup' || typeof request.directory !== 'string')
            return answer({ ok: false, message: 'unknown command' })
          backup(request.directory).then(
            () => answer({ ok: true }),
            (error) => answer(refusal(error)),
          )
        } catch {
          answer({ ok: false, message: 'not a JSON request' })
        }
      })
    })
    server.on('error', reject)
    server.listen(path, () => {
      chmodSync(path, 0o600)
      resolve(server)
    })
  })

/** Undefined when no process has the directory open. */
export const requestBackup = (data: string, directory: string): Promise<Response | undefined> =>
  new Promise((resolve, reject) => {
    const socket = connect(pathOf(data))
    let text = ''
    socket.setEncoding('utf8')
    socket.on('connect', () => socket.write(`${JSON.stringify({ command: 'backup', directory } satisfies BackupRequest)}\n`))
    socket.on('data', (chunk: string) => {
      text += chunk
    })
    socket.on('end', () => resolve(JSON.parse(text) as Response)) // our own server wrote it
    socket.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ENOENT' || error.code === 'ECONNREFUSED' ? resolve(undefined) : reject(error),
    )
  })
