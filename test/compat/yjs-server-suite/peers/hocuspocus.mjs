/**
 * Hocuspocus with its defaults on PORT, storing in SQLite at DATABASE with its own extension. The token `denied` is refused,
 * `reader` may read, everybody else may write; POST /kick?document=NAME closes the connections of a document.
 * PEERS: where it is installed.
 */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const require = createRequire(join(process.env.PEERS, 'package.json'))
const load = (name) => import(pathToFileURL(require.resolve(name)).href)
const { Server } = await load('@hocuspocus/server')
const { SQLite } = await load('@hocuspocus/extension-sqlite')

const server = new Server({
  address: '127.0.0.1',
  port: Number(process.env.PORT),
  quiet: true,
  extensions: [new SQLite({ database: process.env.DATABASE })],
  async onAuthenticate({ token, connectionConfig }) {
    if (token === 'denied') throw new Error('denied')
    if (token === 'reader') connectionConfig.readOnly = true
  },
  async onRequest({ request, response, instance }) {
    const { pathname, searchParams } = new URL(request.url, 'http://localhost')
    if (pathname !== '/kick') return
    instance.closeConnections(searchParams.get('document'))
    response.end()
    throw null // what Hocuspocus documents for a request that has its answer
  },
})
await server.listen()
