import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const project = (name: string, include: string[], options: object = {}) => ({
  resolve: { alias: { troupe: fileURLToPath(new URL('./src/index.ts', import.meta.url)) } }, // examples import the library by its name
  test: { name, include, testTimeout: 30_000, hookTimeout: 60_000, ...options },
})

export default defineConfig({
  test: {
    // Most tests wait for processes, disks and timers; with one core left free, as is the default, half of two would idle.
    maxWorkers: '100%',
    reporters: ['default', './test/support/summaryReporter.ts'],
    globalSetup: ['./test/support/setup.ts'],
    projects: [
      project('unit', ['test/{crdt,actors,auth,documents,storage,contract,doors,config,sim,extend,http,house}/**/*.test.ts']),
      project('integration', ['test/integration/**/*.test.ts'], { testTimeout: 60_000 }),
      project('compat', ['test/compat/**/*.test.ts'], { testTimeout: 90_000 }),
      project('crash', ['test/crash/**/*.test.ts'], { testTimeout: 180_000 }),
    ],
  },
})
