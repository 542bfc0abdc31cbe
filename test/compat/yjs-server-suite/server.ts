/** The process of the server under test, started by a command line of the caller. Ends only what it started. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { pause } from './waiting.ts'

const startMs = 30_000

const accepts = (url: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = new WebSocket(url, { handshakeTimeout: 1_000 })
    socket.on('open', () => resolve(true))
    // A refusal is an answer, too: somebody listens.
    socket.on('unexpected-response', (request) => {
      request.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
    socket.on('open', () => socket.close())
  })

export class ServerProcess {
  readonly #command: string
  readonly #url: string
  #child: ChildProcess | undefined

  constructor(command: string, url: string) {
    this.#command = command
    this.#url = url
  }

  /** Resolves when it accepts connections. */
  async start(): Promise<void> {
    // A group of its own: the command may be a shell around the server.
    const child = spawn(this.#command, { shell: true, detached: true, stdio: 'ignore' })
    this.#child = child
    const end = performance.now() + startMs
    while (!(await accepts(this.#url))) {
      if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}: ${this.#command}`)
      if (performance.now() > end) throw new Error(`the server does not listen at ${this.#url} after ${startMs} ms: ${this.#command}`)
      await pause(50)
    }
  }

  /** SIGKILL to it and to what it started; resolves when it is gone. */
  async kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    process.kill(-child.pid, 'SIGKILL')
    await gone
  }
}
