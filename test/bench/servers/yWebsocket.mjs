/**
 * @y/websocket-server as its own `server.js` sets it up, on a free port. With `YPERSISTENCE` it stores in LevelDB (y-leveldb);
 * 0.1.1 is the last version that has that and installs beside yjs 13.
 */
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { setupWSConnection } from '@y/websocket-server/utils'

// The WebSocket library that the package itself would use (ws 6).
const { Server } = createRequire(createRequire(import.meta.url).resolve('@y/websocket-server/utils'))('ws')
const sockets = new Server({ noServer: true })
const server = createServer((_request, response) => response.end('okay'))

sockets.on('connection', setupWSConnection)
server.on('upgrade', (request, socket, head) =>
  sockets.handleUpgrade(request, socket, head, (ws) => sockets.emit('connection', ws, request)),
)
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ msg: 'listening', port: server.address().port, pid: process.pid })))
