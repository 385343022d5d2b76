// Everything between PostgreSQL and the bucket, as one thing that goes up, crashes, comes back.
//
//   PostgreSQL ─ ext4 ─ block device (src/attach) ─ varve ─ store
//
// A crash takes varve first, with SIGKILL, so that everything above it fails as it would if the
// machine were lost: what the page cache still holds gets an I/O error and is gone.

import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { attachVolume, type TestDevice } from '../../test/support/attach.ts';
import { runCommand, until } from '../../test/support/command.ts';
import type { TestServer } from '../../test/support/server.ts';
import { Postgres } from './postgres.ts';

/** How long a file system that has lost its device may hold on before it is detached lazily. */
const UNMOUNT_TIMEOUT_MS = 20_000;

/** What a machine needs to know of its device. */
export type MachineServer = Pick<TestServer, 'dir' | 'uri'> & Partial<TestServer>;

export interface MachineOptions<Server extends MachineServer = TestServer> {
  readonly server: Server;
  readonly signal?: AbortSignal | undefined;
}

export class Machine<Server extends MachineServer = TestServer> {
  readonly server: Server;
  readonly postgres: Postgres;
  readonly #options: MachineOptions<Server>;
  readonly #mountPoint: string;
  #device: TestDevice | undefined;
  #mounted = false;

  constructor(options: MachineOptions<Server>) {
    const { dir } = options.server;
    this.#options = options;
    this.server = options.server;
    this.#mountPoint = join(dir, 'mnt');
    this.postgres = new Postgres({
      dataDir: join(this.#mountPoint, 'pgdata'),
      runDir: join(dir, 'pg'),
      signal: options.signal,
    });
  }

  /** How the volume is attached, for people. */
  get how(): string {
    return this.#device?.how ?? 'nothing';
  }

  /** A new file system on the volume, and a new, running cluster on that. */
  async create(): Promise<void> {
    // The user of PostgreSQL must get through to its own folders.
    await chmod(this.server.dir, 0o755);
    await this.#attach();
    await this.#run('mkfs.ext4', ['-q', this.#device!.path]);
    await this.#mount();
    await this.postgres.create();
    await this.postgres.start();
  }

  /** Stops everything in the order in which nothing is lost. The server must then exit with 0. */
  async shutDown(): Promise<void> {
    await this.postgres.stop('fast');
    await this.#unmount();
    await this.#detach();
    const { code, stderr } = (await this.server.stop?.()) ?? { code: 0, stderr: '' };
    if (code !== 0) throw new Error(`varve serve exited with ${code}: ${stderr}`);
  }

  async crash(): Promise<void> {
    await this.server.kill9?.();
    await this.release();
  }

  /**
   * What a machine does when it comes back: mount, which replays the journal, and start PostgreSQL,
   * which replays its own. Between the two the file system must be clean.
   */
  async recover(): Promise<void> {
    await this.server.restart?.();
    await this.#attach();
    await this.#mount();
    await this.#unmount();
    await this.checkFileSystem();
    await this.#mount();
    await this.postgres.start();
  }

  /** Comes up on a copy of a machine that still runs, such as a branch of its volume. */
  async recoverCopy(): Promise<void> {
    // The user of PostgreSQL must get through to its own folders.
    await chmod(this.server.dir, 0o755);
    await this.#attach();
    await this.#mount();
    await this.postgres.adopt();
    await this.postgres.start();
  }

  /** The file system must not be mounted. */
  async checkFileSystem(): Promise<void> {
    await this.#run('e2fsck', ['-f', '-n', this.#device!.path]);
  }

  /** Takes down what is on top of the server, whatever state it is in. Never throws half-way. */
  async release(): Promise<void> {
    const errors: unknown[] = [];
    for (const step of [() => this.postgres.kill(), () => this.#unmount(), () => this.#detach()]) {
      await step().catch((error: unknown) => errors.push(error));
    }
    if (errors.length > 0) throw new AggregateError(errors, 'the device could not be released');
  }

  async #attach(): Promise<void> {
    this.#options.signal?.throwIfAborted();
    const { server } = this.#options;
    this.#device = await attachVolume({ uri: server.uri, dir: server.dir });
  }

  async #detach(): Promise<void> {
    await this.#device?.detach();
    this.#device = undefined;
  }

  async #mount(): Promise<void> {
    await mkdir(this.#mountPoint, { recursive: true });
    await this.#run('mount', ['-o', 'noatime', this.#device!.path, this.#mountPoint]);
    this.#mounted = true;
  }

  async #unmount(): Promise<void> {
    if (!this.#mounted) return;
    // A process that was just killed may still hold a file for a moment.
    const unmounted = until(
      'the file system is not busy',
      () =>
        runCommand('umount', [this.#mountPoint]).then(
          () => true,
          () => false,
        ),
      { timeoutMs: UNMOUNT_TIMEOUT_MS },
    );
    await unmounted.catch(() => runCommand('umount', ['--lazy', this.#mountPoint]));
    this.#mounted = false;
  }

  #run(name: string, args: readonly string[]): Promise<string> {
    return runCommand(name, args, { signal: this.#options.signal });
  }
}
