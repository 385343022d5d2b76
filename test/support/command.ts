// Runs a program to its end. What it prints is returned, or is part of the error that it causes.

import { execFile } from 'node:child_process';
import { debianProgram } from './debian.ts';

const MIB = 1024 * 1024;

/** Longer than anything that a test or the demo waits for: a program that hangs is ended. */
const TIMEOUT_MS = 120_000;

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly uid?: number;
  readonly gid?: number;
  /** Written to its standard input, which is then closed. */
  readonly input?: string;
  readonly timeoutMs?: number;
  /** Ends the program, and the call with it. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Resolves with stdout. Rejects, naming the command line and what was printed, when it exits with
 * anything but 0; a program that is not installed fails with the package to install.
 */
export async function runCommand(
  name: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const path = name.includes('/') ? name : debianProgram(name);
  options.signal?.throwIfAborted();
  const { input, timeoutMs = TIMEOUT_MS, env, cwd, uid, gid, signal } = options;
  return new Promise((resolve, reject) => {
    const child = execFile(
      path,
      args,
      {
        maxBuffer: 64 * MIB,
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
        env: env ?? process.env,
        ...(cwd === undefined ? {} : { cwd }),
        ...(uid === undefined ? {} : { uid }),
        ...(gid === undefined ? {} : { gid }),
        ...(signal === undefined ? {} : { signal }),
      },
      (cause, stdout, stderr) => {
        if (cause === null) return resolve(stdout);
        const how = cause.killed === true ? `was ended after ${timeoutMs} ms` : `failed`;
        const said = `${stdout}${stderr}`.trim();
        const line = `${name} ${args.join(' ')}`;
        reject(new Error(`${line} ${how} (${String(cause.code ?? cause.signal)}): ${said}`));
      },
    );
    // A program that ends without reading its input is no fault of its own.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input ?? '');
  });
}

/** A script for libnbd's Python shell, with a handle `h` that is connected to `uri`. */
export function nbdsh(uri: string, lines: readonly string[]): Promise<string> {
  const script = ['import nbd', 'h = nbd.NBD()', `h.connect_uri(${JSON.stringify(uri)})`, ...lines];
  // Debian's interpreter: another one that comes first in PATH lacks the module.
  return runCommand('/usr/bin/python3', ['-c', script.join('\n')]).catch((error: Error) => {
    if (!error.message.includes('No module named')) throw error;
    const install = 'apt-get install --no-install-recommends python3-libnbd';
    throw new Error(`libnbd for Python is missing: ${install}`, { cause: error });
  });
}

export interface UntilOptions {
  readonly timeoutMs?: number;
  /** Default: 20 ms, short against what is waited for, long against what asking costs. */
  readonly everyMs?: number;
}

/** Asks until the answer is true. Rejects after `timeoutMs` with what was waited for. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  { timeoutMs = TIMEOUT_MS, everyMs = 20 }: UntilOptions = {},
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
