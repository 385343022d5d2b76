// A PostgreSQL cluster of our own in a given folder: own port, own socket, never the machine's.
//
// The postmaster is our child, not pg_ctl's, so that its id is known and it can be killed as a
// crash would kill it.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { appendFile, chown, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand, until } from '../../test/support/command.ts';
import { binaryFolder, databaseUser } from './installation.ts';
import { HERE, type Program, type ProgramPlace } from './program-place.ts';

/** Another cluster of the machine would have 5432; the socket's folder is ours, so none clashes. */
const PORT = '54329';
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
port = ${PORT}
shared_buffers = 128MB
max_connections = 60
max_wal_size = 1GB
checkpoint_timeout = 60s
checkpoint_completion_target = 0.9
effective_io_concurrency = 64
maintenance_io_concurrency = 64
wal_decode_buffer_size = 4MB
`;

export interface PostgresOptions {
  /** The data directory; its parent exists. */
  readonly dataDir: string;
  /** For the socket and the log, not on the device. */
  readonly runDir: string;
  /** More lines of postgresql.conf, which win. */
  readonly settings?: string;
  /** Where its programs run; default: here. */
  readonly place?: ProgramPlace | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface PgbenchResult {
  readonly tps: number;
  readonly latencyMs: number;
}

export class Postgres {
  readonly #options: PostgresOptions;
  readonly #user = databaseUser();
  readonly #bin = binaryFolder();
  readonly #log: string;
  readonly #place: ProgramPlace;
  #postmaster: ChildProcess | undefined;

  constructor(options: PostgresOptions) {
    this.#options = options;
    this.#log = join(options.runDir, 'postgres.out');
    this.#place = options.place ?? HERE;
  }

  /** What a person types to look at it. */
  get psqlCommand(): string {
    return `psql -h ${this.#options.runDir} -p ${PORT} -U postgres postgres`;
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
    const { uid, gid } = this.#user;
    if (uid !== undefined && gid !== undefined) await chown(folder, uid, gid);
  }

  /** Resolves when it answers, after recovery if there is any to do. */
  async start(): Promise<void> {
    this.#options.signal?.throwIfAborted();
    const { dataDir, runDir } = this.#options;
    const { path, args, ...where } = this.#launch('postgres', ['-D', dataDir, '-k', runDir]);
    const child = spawn(path, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      ...where,
      env: environment(runDir),
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

  /** Unaligned rows, one a line. */
  async query(sql: string): Promise<string> {
    const args = [...this.#where(), '-X', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-c', sql];
    return (await this.run('psql', [...args, 'postgres'])).trim();
  }

  async pgbenchInit(scale: number): Promise<void> {
    const args = ['-i', '-q', '-s', String(scale), '--foreign-keys'];
    await this.run('pgbench', [...this.#where(), ...args, 'postgres']);
  }

  async pgbench(args: readonly string[], options = ''): Promise<PgbenchResult> {
    const all = [...this.#where(), '--no-vacuum', ...args, 'postgres'];
    const said = await this.run('pgbench', all, { PGOPTIONS: options });
    const tps = /^tps = ([\d.]+)/m.exec(said)?.[1];
    const latency = /^latency average = ([\d.]+) ms/m.exec(said)?.[1];
    if (tps === undefined || latency === undefined) throw new Error(`pgbench said: ${said}`);
    return { tps: Number(tps), latencyMs: Number(latency) };
  }

  /**
   * Reads every heap page, of all tables or of those named, and compares every B-tree with its
   * table. Throws what it finds.
   */
  async amcheck(tables: readonly string[] = []): Promise<void> {
    const which = tables.length === 0 ? ['--all'] : tables.map((table) => `--table=${table}`);
    const what = [...which, '--install-missing', '--heapallindexed', '--jobs=2'];
    await this.run('pg_amcheck', [...this.#where(), ...what]);
  }

  /** pgbench moves money in three tables at once and logs it in a fourth: all must agree. */
  async checkBalances(): Promise<void> {
    const sums = await this.query(
      'SELECT (SELECT sum(abalance) FROM pgbench_accounts), ' +
        '(SELECT sum(tbalance) FROM pgbench_tellers), ' +
        '(SELECT sum(bbalance) FROM pgbench_branches), ' +
        '(SELECT coalesce(sum(delta), 0) FROM pgbench_history)',
    );
    if (new Set(sums.split('|')).size !== 1) throw new Error(`pgbench's sums differ: ${sums}`);
  }

  /** A psql that reads statements from its standard input. */
  session(): ChildProcess {
    const flags = [...this.#where(), '-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1', 'postgres'];
    const { path, args, ...where } = this.#launch('psql', flags);
    return spawn(path, args, {
      stdio: ['pipe', 'pipe', 'ignore'],
      ...where,
      env: environment(this.#options.runDir),
      detached: true,
    });
  }

  async logTail(): Promise<string> {
    const text = await readFile(this.#log, 'utf8').catch(() => '');
    return text.split('\n').slice(-15).join('\n');
  }

  /** A program of PostgreSQL's, as its user. */
  run(
    name: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const { path, args: argv, ...where } = this.#launch(name, args);
    return runCommand(path, argv, {
      ...where,
      env: { ...environment(this.#options.runDir), ...env },
      signal: this.#options.signal,
      timeoutMs: 600_000,
    });
  }

  /** As its user, in a folder that this user may enter. */
  #launch(name: string, args: readonly string[]): Program {
    const path = join(this.#bin, name);
    return this.#place.launch({ path, args, cwd: this.#options.runDir, ...this.#user });
  }

  #where(): readonly string[] {
    return ['-h', this.#options.runDir, '-p', PORT, '-U', 'postgres'];
  }
}

function environment(home: string): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '', HOME: home, LC_ALL: 'C' };
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
