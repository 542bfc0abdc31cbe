/** A server for all tests of a describe, which can be stopped and started again on the same disk. */
import { afterAll, afterEach, beforeAll } from 'vitest'
import { closeBusClients } from './bus.ts'
import { HttpClient } from './http.ts'
import { type Running, startTroupe, temporaryDirectory } from './process.ts'

export interface Service {
  readonly server: () => Running
  readonly http: () => HttpClient
  /** Where its database is. */
  readonly data: string
  /** Ends the process in this way. */
  stop(signal: NodeJS.Signals): Promise<void>
  /** Starts the next on the same port and disk. */
  startAgain(): Promise<void>
  /** Both, one after the other. */
  restart(signal: NodeJS.Signals): Promise<void>
}

/** `settings`: options of the configuration, `bus.graceMs=200`, or whole flags, `--listen=0:chat`. */
export const serve = (...settings: readonly string[]): Service => {
  const data = temporaryDirectory()
  const flags = settings.flatMap((setting) => (setting.startsWith('--') ? setting.split('=') : ['--set', setting]))
  let running: Running | undefined
  const start = async (...more: readonly string[]) => {
    running = await startTroupe(data.path, [...flags, ...more])
  }
  beforeAll(() => start())
  afterEach(closeBusClients)
  afterAll(async () => {
    await running?.kill()
    data.remove()
  })
  const server = (): Running => {
    if (running === undefined) throw new Error('the server is not there yet')
    return running
  }
  const stop = async (signal: NodeJS.Signals) => {
    server().signal(signal)
    await server().exited
  }
  const startAgain = () => start('--port', String(server().port))
  return {
    server,
    http: () => new HttpClient(server().http),
    data: data.path,
    stop,
    startAgain,
    restart: (signal) => stop(signal).then(startAgain),
  }
}
