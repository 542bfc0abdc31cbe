/** The floor: `ws` alone. Every message of a client goes to all others in the same path, unread. Nothing is kept. */
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'

const rooms = new Map()
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false })
const server = createServer((_request, response) => response.end())

server.on('upgrade', (request, socket, head) =>
  sockets.handleUpgrade(request, socket, head, (ws) => {
    const room = rooms.get(request.url) ?? new Set()
    rooms.set(request.url, room.add(ws))
    ws.on('message', (data) => {
      for (const other of room) if (other !== ws) other.send(data, { binary: true })
    })
    ws.on('error', () => {})
    ws.on('close', () => room.delete(ws))
  }),
)
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ msg: 'listening', port: server.address().port, pid: process.pid })))
