// Starts the real `varve` in a directory of its own, for tests that go through its command line.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const LAUNCHER = join(import.meta.dirname, '../../varve');

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface VarveServer {
  /** The line that says that every face listens. */
  readonly ready: string;
  readonly child: ChildProcess;
  /** Resolves when the process is gone, whoever ended it. */
  readonly finished: Promise<Finished>;
  /** Sends the signal; resolves when the process is gone. */
  stop(signal?: NodeJS.Signals): Promise<Finished>;
}

export interface VarveBox {
  readonly dir: string;
  readonly env: Record<string, string>;
  run(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Finished>;
  /** Resolves at the `ready` line; rejects with what was printed when the process ends before. */
  serve(args: readonly string[]): Promise<VarveServer>;
  /** Kills what still runs and removes the directory. */
  remove(): Promise<void>;
}

export interface VarveBoxOptions {
  /** In process groups of their own, which Ctrl-C in the terminal does not reach. */
  readonly detached?: boolean;
  /** Another installation than this working tree. */
  readonly launcher?: string;
}

export async function createVarveBox(options: VarveBoxOptions = {}): Promise<VarveBox> {
  const dir = await mkdtemp(join(tmpdir(), 'varve-box-'));
  const children = new Set<ChildProcess>();
  const env = { PATH: process.env['PATH'] ?? '', HOME: dir, VARVE_PASSPHRASE: 'correct horse' };

  function start(args: readonly string[], more: Readonly<Record<string, string>>) {
    const child = spawn(options.launcher ?? LAUNCHER, args, {
      cwd: dir,
      env: { ...env, ...more },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: options.detached ?? false,
    });
    children.add(child);
    const said = { stdout: '', stderr: '' };
    child.stdout.on('data', (part: Buffer) => (said.stdout += part.toString()));
    child.stderr.on('data', (part: Buffer) => (said.stderr += part.toString()));
    const finished = once(child, 'close').then(([code]): Finished => {
      children.delete(child);
      return { code: code as number | null, ...said };
    });
    return { child, said, finished };
  }

  return {
    dir,
    env,
    run: (args, more = {}) => start(args, more).finished,
    async serve(args) {
      const { child, said, finished } = start(['serve', ...args], {});
      const ready = new Promise<string>((resolve) => {
        child.stdout.on('data', () => {
          if (said.stdout.includes('\n')) resolve(said.stdout);
        });
      });
      const first = await Promise.race([ready, finished]);
      if (typeof first !== 'string') throw new Error(`varve serve ended: ${first.stderr}`);
      return {
        ready: first,
        child,
        finished,
        stop: (signal = 'SIGTERM') => {
          child.kill(signal);
          return finished;
        },
      };
    },
    async remove() {
      const running = [...children];
      const gone = running.map((child) => once(child, 'close'));
      for (const child of running) child.kill('SIGKILL');
      await Promise.all(gone);
      await rm(dir, { recursive: true, force: true });
    },
  };
}
