/** Instruments of Prometheus that cost an addition to a number while things happen; it is read when Prometheus comes. */
import { Counter, Gauge, type Registry } from 'prom-client'

/** How often each of a known set happened. */
export const tally = (registers: Registry[], name: string, help: string, label: string): ((value: string) => void) => {
  const counter = new Counter({ name, help, labelNames: [label], registers })
  const counts = new Map<string, Counter.Internal>()
  return (value) => {
    let count = counts.get(value)
    if (count === undefined) {
      count = counter.labels(value)
      counts.set(value, count)
    }
    count.inc()
  }
}

/** A number that only grows. */
export const sum = (registers: Registry[], name: string, help: string, read: () => number): void => {
  new Counter({
    name,
    help,
    registers,
    collect() {
      this.reset()
      this.inc(read())
    },
  })
}

/** A number that rises and falls. */
export const level = (registers: Registry[], name: string, help: string, read: () => number): void => {
  new Gauge({
    name,
    help,
    registers,
    collect() {
      this.set(read())
    },
  })
}

/** The same for each value of a label. */
export const sumOfEach = (
  registers: Registry[],
  name: string,
  help: string,
  label: string,
  read: () => Iterable<readonly [string, number]>,
): void => {
  new Counter({
    name,
    help,
    labelNames: [label],
    registers,
    collect() {
      this.reset()
      for (const [value, count] of read()) this.inc({ [label]: value }, count)
    },
  })
}

/** How a number is spread over many: the middle, nine and 99 of a hundred, and the most. Nothing when there are none. */
export const spread = (registers: Registry[], name: string, help: string, read: () => Float64Array): void => {
  new Gauge({
    name,
    help,
    labelNames: ['quantile'],
    registers,
    collect() {
      this.reset()
      const values = read().sort()
      for (const quantile of [0.5, 0.9, 0.99, 1]) {
        const value = values[Math.ceil(quantile * values.length) - 1]
        if (value !== undefined) this.set({ quantile }, value)
      }
    },
  })
}

export const levelOfEach = (
  registers: Registry[],
  name: string,
  help: string,
  label: string,
  read: () => Iterable<readonly [string, number]>,
): void => {
  new Gauge({
    name,
    help,
    labelNames: [label],
    registers,
    collect() {
      this.reset() // or what is gone would keep its last number
      for (const [value, count] of read()) this.set({ [label]: value }, count)
    },
  })
}
