/**
 * Preloaded by a server: its wall clock is off by the milliseconds that stand in the file CLOCK_FILE, as if somebody had set it.
 * Timers and the monotonic clock go on.
 */
import { readFileSync } from 'node:fs'

const RealDate = Date
let setMs = 0
setInterval(() => {
  setMs = Number(readFileSync(process.env.CLOCK_FILE, 'utf8'))
}, 10).unref()

globalThis.Date = class extends RealDate {
  constructor(...given) {
    if (given.length === 0) super(RealDate.now() + setMs)
    else super(...given)
  }
  static now() {
    return RealDate.now() + setMs
  }
}
