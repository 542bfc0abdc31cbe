import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const project = (name: string, include: string[], options: object = {}) => ({
  resolve: { alias: { troupe: fileURLToPath(new URL('./src/index.ts', import.meta.url)) } }, // examples import the library by its name
  test: { name, include, setupFiles: ['./test/support/equality.ts'], testTimeout: 120_000, hookTimeout: 120_000, ...options },
})

/** They compute for ten seconds and more. Begun last, each would be waited for alone; begun first, they fill the pauses of those that wait. */
const longest = ['test/sim/sim.test.ts', 'test/crdt/document.test.ts', 'test/crdt/historyTraces.test.ts']

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification) => longest.some((path) => moduleId.endsWith(path))
    const sorted = await super.sort(files)
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}

export default defineConfig({
  test: {
    // Most tests wait for processes, disks and timers half of their time, in which a core would idle.
    maxWorkers: availableParallelism() + 1,
    sequence: { sequencer: LongestFirst },
    reporters: ['default', './test/support/summaryReporter.ts'],
    globalSetup: ['./test/support/setup.ts'],
    // Timeouts are for what hangs, on a machine with ten times too much to do.
    projects: [
      project('unit', ['test/{crdt,actors,auth,documents,storage,contract,doors,config,sim,extend,http,house}/**/*.test.ts']),
      project('integration', ['test/integration/**/*.test.ts']),
      project('compat', ['test/compat/**/*.test.ts']),
      project('crash', ['test/crash/**/*.test.ts'], { testTimeout: 180_000 }),
    ],
  },
})
