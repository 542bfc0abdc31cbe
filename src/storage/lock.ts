/**
 * One process at a time in a data directory.
 *
 * Node has no flock, and a file with a pid in it lies after `kill -9`, in containers and when pids are used again. So the lock
 * is a Unix socket in the directory: the kernel stops answering for it when its process dies, however it dies, and it answers
 * across containers that share the directory.
 *
 * Two starters cannot both win: each listens on a socket with a name of its own first, and only then looks for others. Of
 * two, at least one sees the other; if both do, both step back and try again after a random time. A dead socket can be
 * deleted by anybody, since its name is never used again; if it was not dead but only about to listen, its owner has yet to
 * look, and will see the other.
 *
 * On Windows the lock is a named pipe made from the path: there the kernel refuses a second listener of one name.
 */
import { createHash, randomInt, randomUUID } from 'node:crypto'
import { type FileHandle, open, readdir, rm } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join, resolve } from 'node:path'
import { TroupeError } from '../../actors/errors.ts'

const lockName = /^lock-[\w-]+\.sock$/
const attempts = 4

/** Names in a data directory that belong to the lock. */
export const isLockFile = (name: string): boolean => lockName.test(name)

export type Release = () => Promise<void>

const listen = (path: string): Promise<Server> =>
  new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', reject)
    server.listen({ path }, () => {
      server.off('error', reject)
      server.on('error', () => undefined) // a caller that we could not accept: it knows that we live
      server.unref()
      resolve(server)
    })
  })

/** False only when the kernel says that nobody listens. */
const isAlive = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ path })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'))
  })

const closed = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()))

/** Socket paths have at most 103 to 107 bytes; through the open directory they are short. */
const reach = (directory: string, handle: FileHandle): string => (process.platform === 'linux' ? `/proc/self/fd/${handle.fd}` : directory)

const tryLock = async (directory: string): Promise<Release | undefined> => {
  const handle = await open(directory, 'r')
  const at = (name: string): string => join(reach(directory, handle), name)
  const own = `lock-${process.pid}-${randomUUID()}.sock` // safety hangs on a name that nobody had: not from a seeded source
  let server: Server | undefined
  const release: Release = async () => {
    await rm(at(own), { force: true })
    if (server !== undefined) await closed(server)
    await handle.close()
  }
  try {
    server = await listen(at(own))
    for (const other of await readdir(directory)) {
      if (!isLockFile(other) || other === own) continue
      if (await isAlive(at(other))) {
        await release()
        return undefined
      }
      await rm(at(other), { force: true })
    }
    return release
  } catch (error) {
    await release()
    throw new TroupeError('storage.read_only', `no lock can be made in ${directory}`, { cause: error })
  }
}

/** Errors: `storage.locked`, `storage.read_only`. */
export const lockDirectory = async (directory: string): Promise<Release> => {
  const locked = new TroupeError('storage.locked', directory)
  if (process.platform === 'win32') {
    const digest = createHash('sha256').update(resolve(directory).toLowerCase()).digest('hex')
    const server = await listen(`\\\\.\\pipe\\troupe-${digest}`).catch(() => Promise.reject(locked))
    return () => closed(server)
  }
  for (let attempt = 0; attempt < attempts; attempt++) {
    const release = await tryLock(directory)
    if (release !== undefined) return release
    await new Promise((again) => setTimeout(again, randomInt(1, 40)))
  }
  throw locked
}
