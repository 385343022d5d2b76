// Runs a range of seeds in worker processes and stops at the first failure.

import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { SeedDone } from './worker.ts';

export interface SeedRange {
  readonly from: number;
  readonly to: number;
}

export interface RangeResult {
  readonly passed: number;
  readonly failure: { readonly seed: number; readonly message: string } | undefined;
}

export interface RunSeedsOptions {
  readonly workers: number;
  readonly onDone?: (passed: number) => void;
  /** Folder of the simulator to run; another copy than this one for planted bugs. */
  readonly directory?: string;
}

/** Of several seeds that fail at about the same time, any may be the one that is reported. */
export function runSeeds(range: SeedRange, options: RunSeedsOptions): Promise<RangeResult> {
  const script = join(options.directory ?? import.meta.dirname, 'worker.ts');
  return new Promise((resolve) => {
    let next = range.from;
    let passed = 0;
    let busy = 0;
    const children: ChildProcess[] = [];
    const finish = (failure: RangeResult['failure']): void => {
      for (const child of children) {
        child.removeAllListeners();
        child.kill('SIGKILL');
      }
      resolve({ passed, failure });
    };
    const feed = (child: ChildProcess): void => {
      if (next <= range.to) {
        busy += 1;
        child.send(next++);
      } else if (busy === 0) finish(undefined);
    };
    for (let i = 0; i < options.workers; i++) {
      const child = fork(script, {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      });
      children.push(child);
      child.on('message', (message) => {
        // Only worker.ts is at the other end.
        const { seed, failure } = message as SeedDone;
        busy -= 1;
        if (failure !== undefined) return finish({ seed, message: failure });
        passed += 1;
        options.onDone?.(passed);
        feed(child);
      });
      child.on('exit', (code) => {
        finish({ seed: next - 1, message: `the worker ended with ${code} at about this seed` });
      });
    }
    for (const child of children) feed(child);
  });
}
