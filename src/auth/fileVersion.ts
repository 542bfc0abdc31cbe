/** Names the version of a file that lies there: another file, or another content, has another one. */
import { stat } from 'node:fs/promises'

export const versionOf = async (file: string): Promise<string> => {
  const { ino, size, mtimeNs } = await stat(file, { bigint: true })
  return `${ino} ${size} ${mtimeNs}`
}
