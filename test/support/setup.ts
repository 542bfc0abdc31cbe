/**
 * Before all tests: builds what the tests run, and finds (or, as root on Debian, installs) the browser.
 * With CI=true a missing one is a failure; otherwise the tests that need it are skipped with the reason.
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const candidates = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]

const findBrowser = (): string | undefined => [process.env.CHROMIUM, ...candidates].find((path) => path !== undefined && existsSync(path))

const installBrowser = (): void => {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return
  try {
    execFileSync('apt-get', ['update', '-qq'], { stdio: 'ignore' })
    execFileSync('apt-get', ['install', '-y', '-qq', 'chromium'], {
      stdio: 'ignore',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
  } catch {
    // named below
  }
}

export default function setup(): void {
  execFileSync(process.execPath, ['build.mjs'], { stdio: 'inherit' })
  if (findBrowser() === undefined) installBrowser()
  const browser = findBrowser()
  if (browser !== undefined) process.env.CHROMIUM = browser
  else if (process.env.CI === 'true')
    throw new Error('Chromium is missing; install it (on Debian: apt-get install chromium) or set CHROMIUM to its path')
  else process.stderr.write('Chromium is missing: the browser tests are skipped. Install it, or set CHROMIUM to its path.\n')
}
