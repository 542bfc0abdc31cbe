/** A server for all tests of a describe, which can be stopped and started again on the same disk. */
import { afterAll, afterEach, beforeAll } from 'vitest'
import { closeBusClients } from './bus.ts'
import { type Running, startTroupe, temporaryDirectory } from './process.ts'

export interface Service {
  readonly server: () => Running
  /** Where its database is. */
  readonly data: string
  /** Ends the process in this way and starts the next on the same port and disk. */
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
  return {
    server,
    data: data.path,
    restart: async (signal) => {
      const { port, exited } = server()
      server().signal(signal)
      await exited
      await start('--port', String(port))
    },
  }
}
