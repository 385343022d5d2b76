// A program that runs until it is ended, as the user of PostgreSQL: a child of ours, not a service
// of the machine.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { debianProgram } from '../../test/support/debian.ts';
import { until } from '../../test/support/command.ts';
import { databaseUser } from '../postgres/installation.ts';

export interface ServiceOptions {
  readonly program: string;
  readonly args: readonly string[];
  /** The user may enter it. */
  readonly cwd: string;
  /** What it prints. */
  readonly log: string;
  readonly isReady: () => Promise<unknown>;
}

export class Service {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Resolves when `isReady` does. */
  static async start({ program, args, cwd, log, isReady }: ServiceOptions): Promise<Service> {
    const file = openSync(log, 'a');
    const child = spawn(debianProgram(program), args, {
      ...databaseUser(),
      cwd,
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
      stdio: ['ignore', file, file],
      detached: true,
    });
    closeSync(file);
    const service = new Service(child);
    try {
      await until(`${program} is ready`, async () => {
        if (service.#hasEnded) {
          throw new Error(`${program} has ended: ${await readFile(log, 'utf8')}`);
        }
        return await isReady().then(
          () => true,
          () => false,
        );
      });
    } catch (error) {
      await service.end();
      throw error;
    }
    return service;
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** It has nothing to save. Idempotent. */
  async end(): Promise<void> {
    if (this.#hasEnded) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }
}
