// Bundles the programs into dist/. Libraries stay outside; types are written by tsc afterwards.
import { chmodSync, cpSync, mkdirSync, rmSync } from 'node:fs'
import { build } from 'esbuild'

rmSync('dist', { recursive: true, force: true })
mkdirSync('dist/examples', { recursive: true })

const common = { bundle: true, format: 'esm', target: 'node20', logLevel: 'warning', sourcemap: true }
await build({
  ...common,
  platform: 'node',
  packages: 'external',
  // What the program and the library share is there once: an error that a plugin throws is of the class that the program knows.
  splitting: true,
  entryPoints: {
    main: 'src/main.ts',
    index: 'src/index.ts',
    'work.worker': 'src/documents/work.worker.ts',
    preflight: 'src/storage/preflight.ts',
    conformance: 'test/compat/yjs-server-suite/command.ts',
  },
  outdir: 'dist',
})
chmodSync('dist/main.js', 0o755) // `npx troupe` in a clone

// The client runs in browsers, beside the libraries of the page.
await build({
  ...common,
  platform: 'browser',
  target: 'es2022',
  packages: 'external',
  entryPoints: { client: 'src/client/index.ts' },
  outdir: 'dist',
})

// The example programs import the library by its name, as a user's program does.
await build({
  ...common,
  platform: 'node',
  packages: 'external',
  tsconfigRaw: '{}', // not the path that lets the type checker find the sources
  entryPoints: [
    'hello-actor',
    'order',
    'analytics',
    'game-score',
    'hooks',
    'storage-backend',
    'own-server',
    'bus-client',
    'agent',
    'mirror',
  ].map((name) => `examples/${name}.ts`),
  outdir: 'dist/programs',
})

// The example pages run in a browser, so their libraries go in.
await build({
  ...common,
  platform: 'browser',
  target: 'es2022',
  minify: true,
  sourcemap: false,
  entryPoints: ['examples/editor.ts', 'examples/chat.ts'],
  outdir: 'dist/examples',
})
for (const page of ['editor', 'chat']) cpSync(`examples/${page}.html`, `dist/examples/${page}.html`)
