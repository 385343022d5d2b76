// Clients of a database, wherever it is: PostgreSQL's own programs, run as its user.

import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { runCommand } from '../../test/support/command.ts';
import { binaryFolder, databaseUser } from './installation.ts';
import { HERE, type Program, type ProgramPlace } from './program-place.ts';

export interface ClientOptions {
  /** The folder of the socket that they connect to. The user of PostgreSQL may enter it. */
  readonly runDir: string;
  readonly port: number;
  /** Where the programs run; default: here. */
  readonly place?: ProgramPlace | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface PgbenchResult {
  readonly tps: number;
  readonly latencyMs: number;
}

export class PostgresClient {
  readonly user = databaseUser();
  readonly #options: ClientOptions;
  readonly #bin = binaryFolder();

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  get port(): number {
    return this.#options.port;
  }

  /** What a person types to look at it. */
  get psqlCommand(): string {
    const { runDir, port } = this.#options;
    return `psql -h ${runDir} -p ${port} -U postgres postgres`;
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
   * table. Throws what it finds. A standby can install nothing: it has what its primary has.
   */
  async amcheck(tables: readonly string[] = []): Promise<void> {
    const isStandby = (await this.query('SELECT pg_is_in_recovery()')) === 't';
    const which = tables.length === 0 ? ['--all'] : tables.map((table) => `--table=${table}`);
    const what = [...which, '--heapallindexed', '--jobs=2'];
    if (!isStandby) what.push('--install-missing');
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
    const { path, args, ...where } = this.launch('psql', flags);
    return spawn(path, args, {
      stdio: ['pipe', 'pipe', 'ignore'],
      ...where,
      env: this.environment,
      detached: true,
    });
  }

  /** A program of PostgreSQL's, as its user. */
  run(
    name: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const { path, args: argv, ...where } = this.launch(name, args);
    return runCommand(path, argv, {
      ...where,
      env: { ...this.environment, ...env },
      signal: this.#options.signal,
      timeoutMs: 600_000,
    });
  }

  /** As its user, in a folder that this user may enter. */
  launch(name: string, args: readonly string[]): Program {
    const path = join(this.#bin, name);
    const { runDir, place = HERE } = this.#options;
    return place.launch({ path, args, cwd: runDir, ...this.user });
  }

  #where(): readonly string[] {
    const { runDir, port } = this.#options;
    return ['-h', runDir, '-p', String(port), '-U', 'postgres'];
  }

  /** Of the programs, and of nothing else here. */
  get environment(): Readonly<Record<string, string>> {
    return { PATH: process.env['PATH'] ?? '', HOME: this.#options.runDir, LC_ALL: 'C' };
  }
}
