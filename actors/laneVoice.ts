/**
 * What a multiplexer says itself, beside what documents publish: who is wanted, who stays out, and something at least every
 * `keepAliveMs`. A provider that heard nothing for 30 s reconnects, also when there is nothing to say; pings of WebSockets it does not see.
 */
import type { ErrorCode } from './errors.ts'
import type { SharedSink } from './laneMessages.ts'
import { publication } from './publication.ts'
import type { Scope } from './system/scope.ts'
import type { MonotonicMs } from './world.ts'

/** Awareness of nobody: changes nothing at any client. */
const nobody = publication([{ kind: 'awareness', bytes: new Uint8Array([0]) }])

const reasonOf = (code: ErrorCode, detail: string): string => (detail === '' ? code : `${code}: ${detail}`)

export class LaneVoice {
  /** One of the tokens came with the version of a provider that answers pings. */
  knowsPing = false
  readonly #scope: Scope
  readonly #sink: SharedSink
  readonly #keepAliveMs: number
  #saidAt: MonotonicMs

  constructor(scope: Scope, sink: SharedSink, keepAliveMs: number) {
    this.#scope = scope
    this.#sink = sink
    this.#keepAliveMs = keepAliveMs
    this.#saidAt = scope.monotonic()
    this.#keepAliveIn(keepAliveMs)
  }

  /** Something goes out. */
  said(): void {
    this.#saidAt = this.#scope.monotonic()
  }

  wantToken(name: string): void {
    this.said()
    this.#sink.send({ type: 'lane.tokenWanted', name })
  }

  wantPresence(name: string): void {
    this.said()
    this.#sink.send({ type: 'lane.presenceWanted', name })
  }

  closed(name: string, code: ErrorCode, detail: string): void {
    this.said()
    this.#sink.send({ type: 'lane.closed', name, reason: reasonOf(code, detail) })
  }

  denied(name: string, code: ErrorCode, detail: string): void {
    this.said()
    this.#sink.send({ type: 'lane.denied', name, reason: reasonOf(code, detail) })
  }

  /** `name`: of any lane; without one it is said of a lane without a name, for clients pass over what belongs to none of their documents. */
  keepAlive(hasSpoken: boolean, name = ''): void {
    const silence = this.#scope.monotonic() - this.#saidAt
    const isDue = silence >= this.#keepAliveMs
    if (isDue && hasSpoken) {
      this.said()
      this.#sink.send(this.knowsPing ? { type: 'lane.ping' } : { type: 'lane.publish', name, publication: nobody })
    }
    this.#keepAliveIn(isDue ? this.#keepAliveMs : this.#keepAliveMs - silence)
  }

  #keepAliveIn(ms: number): void {
    this.#scope.after('keepAlive', ms, { type: 'multiplexer.keepAlive' })
  }
}
