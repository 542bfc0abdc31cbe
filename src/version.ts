/** Name and version, from the package itself. */
import { readFileSync } from 'node:fs'

const found = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { name: string; version: string }

export const { name, version } = found
