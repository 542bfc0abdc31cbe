/** Quantiles, medians, and tables in Markdown. */

/** Latencies in buckets of 0.1 ms up to 60 s: any number of samples in the same memory. */
export class Latencies {
  #buckets = new Uint32Array(600_001)
  count = 0
  most = 0

  add(ms) {
    this.#buckets[Math.min(600_000, Math.max(0, Math.round(ms * 10)))]++
    this.count++
    if (ms > this.most) this.most = ms
  }

  quantile(share) {
    const wanted = Math.max(1, Math.ceil(this.count * share))
    let seen = 0
    for (let bucket = 0; bucket < this.#buckets.length; bucket++) {
      seen += this.#buckets[bucket]
      if (seen >= wanted) return bucket / 10
    }
    return Number.NaN
  }
}

export const quantile = (numbers, share) => {
  const sorted = Float64Array.from(numbers).sort()
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * share) - 1))]
}

/** The run in the middle, by the figure that `of` takes from it; of two, the higher one. */
export const middle = (runs, of) => runs.toSorted((a, b) => of(a) - of(b))[Math.floor(runs.length / 2)]

export const round = (number, digits = 1) => (Number.isFinite(number) ? number.toFixed(digits) : '–')
export const grouped = (number) => (Number.isFinite(number) ? Math.round(number).toLocaleString('en').replaceAll(',', ' ') : '–')
export const mebibytes = (bytes) => round(bytes / 1024 / 1024, 1)
export const milliseconds = (ms) => (ms >= 1_000 ? `${round(ms / 1_000)} s` : `${round(ms, ms < 10 ? 1 : 0)} ms`)

export const table = (heads, rows) => {
  const line = (cells) => `| ${cells.join(' | ')} |`
  return [line(heads), line(heads.map((_, column) => (column === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')
}

/** One line of the speed budget: what was promised, what was measured. `limit` is a ceiling unless `isFloor`. */
export const budget = (what, measured, limit, unit, isFloor = false) => ({
  what,
  measured,
  limit,
  unit,
  isFloor,
  isMet: isFloor ? measured >= limit : measured <= limit,
})

export const budgetTable = (lines) =>
  lines.length === 0
    ? ''
    : table(
        ['budget', 'limit', 'measured', ''],
        lines.map(({ what, measured, limit, unit, isFloor, isMet }) => {
          const show = (number) => (Math.abs(number) >= 1_000 ? grouped(number) : String(Number(number.toFixed(2))))
          return [what, `${isFloor ? '≥' : '≤'} ${show(limit)} ${unit}`, `${show(measured)} ${unit}`, isMet ? 'pass' : '**miss**']
        }),
      )
