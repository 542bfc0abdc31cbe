/** Hocuspocus with its defaults; with BENCH_SQLITE it stores there through its own SQLite extension. */
import { SQLite } from '@hocuspocus/extension-sqlite'
import { Server } from '@hocuspocus/server'

const database = process.env.BENCH_SQLITE
const server = new Server({
  address: '127.0.0.1',
  port: 0,
  quiet: true,
  extensions: database === undefined ? [] : [new SQLite({ database })],
})
await server.listen()
console.log(JSON.stringify({ msg: 'listening', port: server.address.port, pid: process.pid }))
