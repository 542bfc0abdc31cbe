/** Real editing histories, see test/fixtures/traces/README.md. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'

export type Patch = [position: number, deleted: number, inserted: string]

export interface Trace {
  endContent: string
  txns: { patches: Patch[]; agent?: number; parents?: number[] }[]
}

export const trace = (name: string): Trace =>
  JSON.parse(gunzipSync(readFileSync(new URL(`../fixtures/traces/${name}.json.gz`, import.meta.url))).toString()) as Trace
