// A PostgreSQL cluster of our own in a given folder: own port, own socket, never the machine's.
// client.ts is what is asked of it.
//
// The postmaster is our child, not pg_ctl's, so that its id is known and it can be killed as a
// crash would kill it.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { appendFile, chown, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from '../../test/support/command.ts';
import { type ClientOptions, PostgresClient } from './client.ts';
import { HERE, type ProgramPlace } from './program-place.ts';

/** Another cluster of the machine would have 5432; the socket's folder is ours, so none clashes. */
const PORT = 54329;
/** Recovery reads every page that changed since the last checkpoint, cold, from the store. */
const START_TIMEOUT_MS = 180_000;
/** A psql costs tens of milliseconds of CPU that recovery can use better. */
const ASK_AGAIN_MS = 250;

/**
 * A cold read waits for the store: *_io_concurrency lets recovery, scans and vacuum ask for many
 * pages at once. docs/postgres.md says more.
 */
const SETTINGS = `
listen_addresses = ''
shared_buffers = 128MB
max_connections = 60
max_wal_size = 1GB
checkpoint_timeout = 60s
checkpoint_completion_target = 0.9
effective_io_concurrency = 64
maintenance_io_concurrency = 64
wal_decode_buffer_size = 4MB
`;

export interface PostgresOptions extends Omit<ClientOptions, 'port'> {
  /** The data directory; its parent exists. */
  readonly dataDir: string;
  /** For the socket and the log, not on the device. */
  readonly runDir: string;
  readonly port?: number;
  /** More lines of postgresql.conf, which win. */
  readonly settings?: string;
  /** Settings of this server alone, which no copy of its data directory takes along. */
  readonly ownSettings?: Readonly<Record<string, string>>;
}

export class Postgres extends PostgresClient {
  readonly #options: PostgresOptions;
  readonly #log: string;
  readonly #place: ProgramPlace;
  #postmaster: ChildProcess | undefined;

  constructor(options: PostgresOptions) {
    super({ ...options, port: options.port ?? PORT });
    this.#options = options;
    this.#log = join(options.runDir, 'postgres.out');
    this.#place = options.place ?? HERE;
  }

  /** `initdb` with checksums: a page that comes back wrong is an error, not an answer. */
  async create(): Promise<void> {
    const { dataDir, runDir } = this.#options;
    for (const folder of [this.#place.path(dataDir), runDir]) await this.#own(folder);
    const args = ['-D', dataDir, '--data-checksums', '--auth=trust', '--username=postgres'];
    await this.run('initdb', [...args, '--encoding=UTF8', '--locale=C']);
    // initdb has synced what it wrote: this must be on the device before a crash, too.
    const settings = `${SETTINGS}${this.#options.settings ?? ''}`;
    const file = join(this.#place.path(dataDir), 'postgresql.conf');
    await appendFile(file, settings, { flush: true });
  }

  /**
   * Makes a copy of a running cluster one's own: the file that names the other's process would keep
   * this one from starting beside it.
   */
  async adopt(): Promise<void> {
    const { dataDir, runDir } = this.#options;
    await this.#own(runDir);
    await rm(join(this.#place.path(dataDir), 'postmaster.pid'), { force: true });
  }

  async #own(folder: string): Promise<void> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const { uid, gid } = this.user;
    if (uid !== undefined && gid !== undefined) await chown(folder, uid, gid);
  }

  /** Resolves when it answers, after recovery if there is any to do. */
  async start(): Promise<void> {
    this.#options.signal?.throwIfAborted();
    const { dataDir, runDir, ownSettings = {} } = this.#options;
    const own = Object.entries(ownSettings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const flags = ['-D', dataDir, '-k', runDir, '-p', String(this.port), ...own];
    const { path, args, ...where } = this.launch('postgres', flags);
    const child = spawn(path, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      ...where,
      env: this.environment,
      detached: true,
    });
    // One file for all starts; what fails to be written must not end us.
    child.stderr.on('data', (part: Buffer) => void appendFile(this.#log, part).catch(() => {}));
    this.#postmaster = child;
    await until(
      'PostgreSQL answers',
      async () => {
        this.#options.signal?.throwIfAborted();
        if (hasEnded(child)) throw new Error('it has ended');
        return await this.query('SELECT 1').then(
          () => true,
          () => false,
        );
      },
      { timeoutMs: START_TIMEOUT_MS, everyMs: ASK_AGAIN_MS },
    ).catch(async (cause: unknown) => {
      throw new Error(`PostgreSQL does not start: ${await this.logTail()}`, { cause });
    });
  }

  /** `fast` checkpoints; `immediate` leaves the work to recovery. */
  async stop(mode: 'fast' | 'immediate'): Promise<void> {
    const child = this.#postmaster;
    if (child === undefined || hasEnded(child)) return;
    const gone = once(child, 'exit');
    child.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
    await gone;
    this.#postmaster = undefined;
  }

  /** Every process of it, at once, as losing the machine would. */
  async kill(): Promise<void> {
    const child = this.#postmaster;
    if (child?.pid === undefined) return;
    // Stopped first, so that it starts no further process while its children are looked up.
    child.kill('SIGSTOP');
    const pids = [...childrenOf(child.pid), child.pid];
    for (const pid of pids) killIfThere(pid);
    await until('the processes of PostgreSQL are gone', () => !pids.some(isAlive));
    // Another process may have its id from now on.
    this.#postmaster = undefined;
  }

  async logTail(): Promise<string> {
    const text = await readFile(this.#log, 'utf8').catch(() => '');
    return text.split('\n').slice(-15).join('\n');
  }
}

function childrenOf(pid: number): readonly number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return text.split(' ').filter(Boolean).map(Number);
  } catch {
    // It has ended, and its children end by themselves: they watch it.
    return [];
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** A zombie is dead: its parent only has not looked yet. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
