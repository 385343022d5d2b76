// The real host: programs are started, /proc and /sys are read.

import { execFile, spawn } from 'node:child_process';
import { accessSync, closeSync, constants, existsSync, openSync, readdirSync } from 'node:fs';
import { readFileSync, readlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { StorageError } from '../base/errors.ts';
import { processStart } from '../base/process-start.ts';
import type { Host } from './host.ts';

/** Programs that only set something up: one that takes longer hangs. */
const PROGRAM_MS_MAX = 60_000;
/** Who asks whether a device works wants to know soon. */
const ANSWER_MS_MAX = 5_000;
/** Administrators' programs are not in everybody's PATH. */
const MORE_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'];

export const systemHost: Host = {
  root: process.getuid?.() === 0,
  get bootId() {
    return read('/proc/sys/kernel/random/boot_id')?.trim() ?? '';
  },
  has: (program) => find(program) !== undefined,
  run,
  start,
  end(pid, how) {
    try {
      process.kill(pid, how === 'kill' ? 'SIGKILL' : 'SIGTERM');
    } catch (error) {
      // It has ended by itself.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  },
  processStart,
  read,
  exists: existsSync,
  list,
  isUnclaimed(device) {
    try {
      // open(2): with O_EXCL a block device that is claimed, as mounts and pools do, is EBUSY.
      closeSync(openSync(device, constants.O_RDONLY | constants.O_EXCL));
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EBUSY') return false;
      // A device that is gone or dead has nobody who could lose it.
      return true;
    }
  },
  openers(device) {
    return list('/proc')
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .filter((pid) =>
        list(`/proc/${pid}/fd`).some((fd) => leadsTo(`/proc/${pid}/fd/${fd}`, device)),
      )
      .map((pid) => ({ pid: Number(pid), name: read(`/proc/${pid}/comm`)?.trim() ?? '' }));
  },
  answers,
  async sync(device) {
    await using file = await open(device, 'r');
    await file.sync();
  },
};

function find(program: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...MORE_FOLDERS];
  return folders
    .map((folder) => join(folder, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        // Not in this folder: the next one may have it.
        return false;
      }
    });
}

function run(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { timeout: PROGRAM_MS_MAX, killSignal: 'SIGKILL' } as const;
    execFile(find(program) ?? program, args, options, (cause, stdout, stderr) => {
      if (cause === null) return resolve(stdout);
      const said = `${stdout}${stderr}`.trim().replaceAll(/\s*\n\s*/g, '; ');
      const what = `${program} ${args.join(' ')} failed: ${said === '' ? cause.message : said}`;
      reject(new StorageError('unavailable', what, { cause, retryable: false }));
    });
  });
}

/** In a process of its own: a read that hangs in the kernel would hold this one. */
function answers(path: string): Promise<boolean> {
  const args = [`if=${path}`, 'of=/dev/null', 'bs=4096', 'count=1', 'iflag=direct'];
  return new Promise((resolve) => {
    execFile('dd', args, { timeout: ANSWER_MS_MAX, killSignal: 'SIGKILL' }, (error) => {
      resolve(error === null || error.killed === true);
    });
  });
}

function start(program: string, args: readonly string[], log: string): number {
  const output = openSync(log, 'w', 0o600);
  try {
    // In a session of its own: neither Ctrl-C nor the end of the terminal takes the device away.
    const child = spawn(find(program) ?? program, args, {
      cwd: '/',
      stdio: ['ignore', output, output],
      detached: true,
    });
    if (child.pid === undefined) {
      // The reason comes later, as an event; there is nobody left to tell.
      child.once('error', () => {});
      throw new StorageError('unavailable', `${program} cannot be started`);
    }
    child.unref();
    return child.pid;
  } finally {
    closeSync(output);
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function list(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function leadsTo(link: string, target: string): boolean {
  try {
    return readlinkSync(link) === target;
  } catch {
    // Closed in the meantime.
    return false;
  }
}
