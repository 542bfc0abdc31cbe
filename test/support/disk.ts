/**
 * Bad disks for tests: a small one, a read-only one, one that is slow or fails. Each says why it is not to be had on this machine.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const newDirectory = (parent = tmpdir()): string => mkdtempSync(join(parent, 'troupe-disk-'))

/** Undefined when tmpfs can be mounted, else the reason. */
export const whyNoMount = (): string | undefined => {
  if (process.platform !== 'linux') return 'no tmpfs outside Linux'
  if (process.getuid?.() !== 0) return 'mounting needs root'
  const directory = newDirectory()
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'troupe-test', directory], { stdio: 'pipe' })
    execFileSync('umount', [directory], { stdio: 'pipe' })
    return undefined
  } catch (error) {
    return `mount is refused: ${error instanceof Error ? error.message : error}`
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

export interface Mount {
  readonly directory: string
  makeReadOnly(): void
  unmount(): void
}

export const mountSmallDisk = (megabytes: number): Mount => {
  const directory = newDirectory()
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'troupe-test', directory])
  return {
    directory,
    makeReadOnly: () => void execFileSync('mount', ['-o', 'remount,ro', directory]),
    unmount() {
      execFileSync('umount', ['-l', directory])
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** While $FAULT_GATE exists, flushes wait (and say so in $FAULT_GATE.reached); while $FAULT_EIO exists, they fail. */
const shim = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static int fault(void) {
  const char *gate = getenv("FAULT_GATE"), *eio = getenv("FAULT_EIO");
  if (gate && access(gate, F_OK) == 0) {
    char reached[4096];
    snprintf(reached, sizeof reached, "%s.reached", gate);
    int fd = open(reached, O_CREAT | O_WRONLY, 0600);
    if (fd >= 0) close(fd);
    while (access(gate, F_OK) == 0) usleep(500);
  }
  if (eio && access(eio, F_OK) == 0) { errno = EIO; return -1; }
  return 0;
}
int fdatasync(int fd) { int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync"); return fault() ? -1 : real(fd); }
int fsync(int fd) { int (*real)(int) = dlsym(RTLD_NEXT, "fsync"); return fault() ? -1 : real(fd); }
`

/** A library for LD_PRELOAD, or the reason why there is none. */
export const buildShim = (): { path: string } | { reason: string } => {
  if (process.platform !== 'linux') return { reason: 'LD_PRELOAD is for Linux' }
  const directory = join(tmpdir(), `troupe-shim-${process.pid}`)
  mkdirSync(directory, { recursive: true })
  const path = join(directory, 'fault.so')
  try {
    writeFileSync(join(directory, 'fault.c'), shim)
    execFileSync('gcc', ['-shared', '-fPIC', '-O1', '-o', path, join(directory, 'fault.c'), '-ldl'], { stdio: 'pipe' })
    return { path }
  } catch (error) {
    return { reason: `gcc: ${error instanceof Error ? error.message.split('\n')[0] : error}` }
  }
}
