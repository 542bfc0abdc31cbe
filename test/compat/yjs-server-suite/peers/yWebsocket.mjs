/** @y/websocket-server as its own `server.js` sets it up, on PORT; stores in LevelDB below YPERSISTENCE. PEERS: where it is installed. */
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const require = createRequire(join(process.env.PEERS, 'package.json'))
const utils = require.resolve('@y/websocket-server/utils')
const { setupWSConnection } = await import(pathToFileURL(utils).href)
// The WebSocket library that the package itself would use.
const { Server } = createRequire(utils)('ws')

const sockets = new Server({ noServer: true })
const server = createServer((_request, response) => response.end('okay'))
sockets.on('connection', setupWSConnection)
server.on('upgrade', (request, socket, head) =>
  sockets.handleUpgrade(request, socket, head, (ws) => sockets.emit('connection', ws, request)),
)
server.listen(Number(process.env.PORT), '127.0.0.1')
