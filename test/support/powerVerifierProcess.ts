/** The process that opens stores after a cut, started anew when a store has killed it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Found } from './powerModel.ts'

const patienceMs = 20_000

interface Running {
  readonly child: ChildProcess
  answer: (found: Found) => void
}

export class VerifierProcess {
  readonly #program: string
  #running: Running | undefined

  constructor(program: string) {
    this.#program = program
  }

  /** One at a time. A store that kills its opener, or keeps it for ever, is a problem like another. */
  look(directory: string, preflightPath?: string): Promise<Found> {
    const running = (this.#running ??= this.#start())
    return new Promise((resolve) => {
      const late = setTimeout(() => running.answer({ problem: `no answer for ${patienceMs} ms` }), patienceMs)
      running.answer = (found) => {
        running.answer = () => undefined // its end comes later and is no answer to anything
        clearTimeout(late)
        if ('problem' in found) this.stop() // what it had opened is in an unknown state
        resolve(found)
      }
      running.child.stdin?.write(`${JSON.stringify({ directory, preflightPath })}\n`)
    })
  }

  stop(): void {
    const pid = this.#running?.child.pid
    this.#running = undefined
    try {
      if (pid !== undefined) process.kill(-pid, 'SIGKILL') // its group: the preflight as well
    } catch {
      // it has ended by itself
    }
  }

  #start(): Running {
    const child = spawn(process.execPath, [this.#program], { stdio: ['pipe', 'pipe', 'pipe'], detached: true })
    const running: Running = { child, answer: () => undefined }
    let complaint = ''
    child.stdin.on('error', () => undefined) // told by its exit
    child.stderr.on('data', (piece) => {
      complaint += piece
    })
    createInterface({ input: child.stdout }).on('line', (line) => running.answer(JSON.parse(line) as Found))
    child.once('close', (code, signal) => {
      if (this.#running === running) this.#running = undefined
      running.answer({ problem: `opening it ends with ${signal ?? code} ${complaint.trim()}`.trim() })
    })
    return running
  }
}
