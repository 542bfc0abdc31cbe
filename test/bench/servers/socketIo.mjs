/** Socket.IO with its defaults, WebSockets only: clients join rooms and publish into them. Nothing is kept. */
import { createServer } from 'node:http'
import { Server } from 'socket.io'

const server = createServer((_request, response) => response.end())
const io = new Server(server, { transports: ['websocket'], serveClient: false })

io.on('connection', (socket) => {
  socket.on('join', (room) => {
    socket.join(room)
    socket.emit('joined', room)
  })
  socket.on('publish', (room, content) => io.to(room).emit('message', content))
})
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ msg: 'listening', port: server.address().port, pid: process.pid })))
