/** Packages of Debian that tests need. As root they are installed; otherwise the tests that need them say so and are skipped. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'

/** Tries; whoever needs them looks whether they are there. */
export const installPackages = (...names: readonly string[]): void => {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return
  try {
    execFileSync('apt-get', ['update', '-qq'], { stdio: 'ignore' })
    execFileSync('apt-get', ['install', '-y', '-qq', ...names], {
      stdio: 'ignore',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
  } catch {
    // the caller names what is missing
  }
}
