/**
 * A disk that loses power, without a disk: a library for LD_PRELOAD logs, in one order, what a process writes to its LMDB file,
 * what it flushes, and the marks it sets; from that log come the files that a cut at any moment may leave behind.
 *
 * The disk that is assumed keeps what was flushed and nothing else: of the writes behind the last flush any may be there or not,
 * also a later one without an earlier, in sectors of 512 bytes, and the file may have grown without them. Not assumed: a disk
 * that lies about flushes, or that damages a sector it was not writing.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Mark } from './powerModel.ts'
import type { SeededRandom } from './world.ts'

/**
 * Writes are made with the log locked, so both have the same order. Flushes are not, or nothing would ever be written during one:
 * they have a beginning and an end, and so do writes that are flushed when they return (O_DSYNC).
 */
const source = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
enum { WRITE = 1, SYNC_WRITE, FLUSH, END, TRUNCATE, MARK };
struct head { uint32_t kind, length; uint64_t offset, id; };
static int log_fd = -1;
static const char *data_path, *marks_path;
static uint64_t ids;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("POWER_LOG");
  data_path = getenv("POWER_DATA");
  marks_path = getenv("POWER_MARKS");
  if (path && data_path && marks_path) log_fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
}
static int is(int fd, const char *path) {
  struct stat a, b;
  return log_fd >= 0 && fstat(fd, &a) == 0 && S_ISREG(a.st_mode) && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}
static uint64_t put(int kind, uint64_t id, uint64_t offset, const struct iovec *parts, int count, size_t length) {
  struct head head = { kind, length, offset, id ? id : ++ids };
  char *all = malloc(sizeof head + length), *to = all + sizeof head;
  memcpy(all, &head, sizeof head);
  size_t left = length;
  for (int i = 0; i < count && left > 0; i++) {
    size_t part = parts[i].iov_len < left ? parts[i].iov_len : left;
    memcpy(to, parts[i].iov_base, part);
    to += part;
    left -= part;
  }
  if (REAL(write)(log_fd, all, sizeof head + length) != (ssize_t)(sizeof head + length)) abort();
  free(all);
  return head.id;
}
static void end(uint64_t id) {
  pthread_mutex_lock(&lock);
  put(END, id, 0, 0, 0, 0);
  pthread_mutex_unlock(&lock);
}
static ssize_t write_at(int fd, const struct iovec *parts, int count, off64_t at) {
  size_t length = 0;
  for (int i = 0; i < count; i++) length += parts[i].iov_len;
  if (fcntl(fd, F_GETFL) & O_DSYNC) {
    pthread_mutex_lock(&lock);
    uint64_t id = put(SYNC_WRITE, 0, at, parts, count, length);
    pthread_mutex_unlock(&lock);
    ssize_t done = REAL(pwritev64)(fd, parts, count, at);
    if (done == (ssize_t)length) end(id);
    return done;
  }
  pthread_mutex_lock(&lock);
  ssize_t done = REAL(pwritev64)(fd, parts, count, at);
  if (done > 0) put(WRITE, 0, at, parts, count, done);
  pthread_mutex_unlock(&lock);
  return done;
}
static ssize_t write_on(int fd, const struct iovec *parts, int count) {
  off64_t at = lseek64(fd, 0, SEEK_CUR);
  ssize_t done = write_at(fd, parts, count, at);
  if (done > 0) lseek64(fd, at + done, SEEK_SET);
  return done;
}
ssize_t pwrite64(int fd, const void *from, size_t length, off64_t at) {
  struct iovec part = { (void *)from, length };
  return is(fd, data_path) ? write_at(fd, &part, 1, at) : REAL(pwrite64)(fd, from, length, at);
}
ssize_t pwrite(int fd, const void *from, size_t length, off_t at) { return pwrite64(fd, from, length, at); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  return is(fd, data_path) ? write_at(fd, parts, count, at) : REAL(pwritev64)(fd, parts, count, at);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return pwritev64(fd, parts, count, at); }
ssize_t writev(int fd, const struct iovec *parts, int count) {
  return is(fd, data_path) ? write_on(fd, parts, count) : REAL(writev)(fd, parts, count);
}
ssize_t write(int fd, const void *from, size_t length) {
  struct iovec part = { (void *)from, length };
  if (is(fd, data_path)) return write_on(fd, &part, 1);
  if (is(fd, marks_path)) {
    pthread_mutex_lock(&lock);
    put(MARK, 0, 0, &part, 1, length);
    pthread_mutex_unlock(&lock);
  }
  return REAL(write)(fd, from, length);
}
int ftruncate64(int fd, off64_t size) {
  if (!is(fd, data_path)) return REAL(ftruncate64)(fd, size);
  pthread_mutex_lock(&lock);
  int failed = REAL(ftruncate64)(fd, size);
  if (!failed) put(TRUNCATE, 0, size, 0, 0, 0);
  pthread_mutex_unlock(&lock);
  return failed;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
static int flush(int fd, int (*real)(int)) {
  if (!is(fd, data_path)) return real(fd);
  pthread_mutex_lock(&lock);
  uint64_t id = put(FLUSH, 0, 0, 0, 0, 0);
  pthread_mutex_unlock(&lock);
  int failed = real(fd);
  if (!failed) end(id);
  return failed;
}
int fdatasync(int fd) { return flush(fd, REAL(fdatasync)); }
int fsync(int fd) { return flush(fd, REAL(fsync)); }
`

/** Makes the library in this directory. Undefined when it is there as `power.so`, else the reason. */
export const buildWatcher = (directory: string): string | undefined => {
  if (process.platform !== 'linux') return 'LD_PRELOAD is for Linux'
  try {
    mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, 'power.c'), source)
    const options = ['-shared', '-fPIC', '-O1', '-U_FORTIFY_SOURCE', '-pthread']
    execFileSync('gcc', [...options, '-o', join(directory, 'power.so'), join(directory, 'power.c'), '-ldl'], { stdio: 'pipe' })
    return undefined
  } catch (error) {
    return `gcc: ${error instanceof Error ? error.message.split('\n')[0] : error}`
  }
}

const kinds = ['', 'write', 'syncWrite', 'flush', 'end', 'truncate', 'mark'] as const

export interface Step {
  readonly kind: (typeof kinds)[number]
  /** The same for a beginning and its end. */
  readonly id: number
  /** Of a write; the size, of a truncation. */
  readonly offset: number
  readonly data: Buffer
}

export const readLog = (log: Buffer): Step[] => {
  const steps: Step[] = []
  for (let at = 0; at < log.length; ) {
    const length = log.readUInt32LE(at + 4)
    const [offset, id] = [Number(log.readBigUInt64LE(at + 8)), Number(log.readBigUInt64LE(at + 16))]
    steps.push({ kind: kinds[log.readUInt32LE(at)] ?? '', id, offset, data: log.subarray(at + 24, at + 24 + length) })
    at += 24 + length
  }
  return steps
}

export const markOf = ({ kind, data }: Step): Mark | undefined => (kind === 'mark' ? (JSON.parse(data.toString()) as Mark) : undefined)

const sector = 512

/** Which of the writes that were not flushed are there. `headers`: only those to the first two pages, which point at the rest. */
export const fates = ['nothing', 'everything', 'writes', 'sectors', 'beginnings', 'headers', 'allButFew'] as const
export type Fate = (typeof fates)[number]

/** Tells of each sector of one write whether it is there. */
const survivors = (fate: Fate, { offset, data }: Step, chance: SeededRandom): ((index: number) => boolean) => {
  const always = (is: boolean) => () => is
  switch (fate) {
    case 'nothing':
      return always(false)
    case 'everything':
      return always(true)
    case 'writes':
      return always(chance.chance(0.5))
    case 'sectors':
      return () => chance.chance(0.5)
    case 'beginnings': {
      const count = chance.below(Math.ceil(data.length / sector) + 2)
      return (index) => index < count
    }
    case 'headers':
      return always(offset < 8_192)
    case 'allButFew':
      return always(chance.chance(0.9))
  }
}

export interface Cut {
  /** How many steps were taken before it. */
  readonly at: number
  readonly fate: Fate
  /** A planted fault: flushes of what was written from this step on did nothing. */
  readonly flushesUntil?: number
}

/** The file that is found after the cut. */
export const imageAfter = (steps: readonly Step[], { at, fate, flushesUntil = at }: Cut, chance: SeededRandom): Buffer => {
  const before = steps.slice(0, at)
  const ended = new Set(before.filter(({ kind }) => kind === 'end').map(({ id }) => id))
  const lastFlush = before.findLastIndex(({ kind, id }) => kind === 'flush' && ended.has(id))
  const flushed = Math.min(lastFlush, flushesUntil)
  const image = Buffer.alloc(before.reduce((most, { offset, data }) => Math.max(most, offset + data.length), 0))
  let size = 0
  const grow = (to: number): void => {
    size = Math.max(size, to)
  }
  before.forEach((step, index) => {
    const { kind, offset, data } = step
    const isDurable = index < flushed || (kind === 'syncWrite' && ended.has(step.id))
    if (kind === 'truncate' && (isDurable || chance.chance(0.5))) {
      image.fill(0, offset)
      size = offset
    }
    if (kind !== 'write' && kind !== 'syncWrite') return
    const end = offset + data.length
    const isThere = isDurable ? () => true : survivors(fate, step, chance)
    let from = offset
    for (let sectors = 0; from < end; sectors++) {
      const to = Math.min(end, (Math.floor(from / sector) + 1) * sector)
      if (isThere(sectors)) {
        data.copy(image, from, from - offset, to - offset)
        grow(to)
      }
      from = to
    }
    if (!isDurable && fate !== 'nothing' && chance.chance(0.2)) grow(end)
  })
  return image.subarray(0, size)
}
