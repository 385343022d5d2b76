// Clients of PostgreSQL that know exactly which of their transactions were acknowledged.
//
// Each feeds one psql with a transaction like pgbench's (TPC-B) that also inserts its own number
// into the table `ledger`, as one message, followed by `\echo number`. psql prints the number when
// the server has said that COMMIT is done; then it is noted here, outside the device, and the next
// one is sent. After a crash every noted number must be in the table, none that was never sent may
// be, and all sums must agree.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PostgresClient } from '../../examples/postgres/client.ts';
import { createSeededRng, type Rng } from '../../src/base/rng.ts';
import { until } from '../support/command.ts';

/** Ids of client c are c × this + 1, 2, 3, … */
const IDS_PER_CLIENT = 10_000_000;
const ACCOUNTS_PER_BRANCH = 100_000;
const TELLERS_PER_BRANCH = 10;
const DELTA_MAX = 5000;

export interface LedgerCheck {
  readonly acknowledged: number;
  /** In the table, whether their answer came or not. */
  readonly found: number;
}

/** What was sent and what acknowledged at one instant. */
export interface LedgerMark {
  readonly acknowledged: ReadonlySet<number>;
  readonly sent: readonly number[];
}

export class Ledger {
  readonly #file: string;
  readonly #scale: number;
  readonly #rng: Rng;
  readonly #acknowledged = new Set<number>();
  readonly #sent: number[];

  /** What is acknowledged is also appended to `file`. */
  constructor(options: { file: string; scale: number; clients: number; seed: number }) {
    this.#file = options.file;
    this.#scale = options.scale;
    this.#rng = createSeededRng(options.seed);
    this.#sent = Array.from({ length: options.clients }, () => 0);
  }

  get clients(): number {
    return this.#sent.length;
  }

  get acknowledged(): number {
    return this.#acknowledged.size;
  }

  static async create(db: PostgresClient, scale: number): Promise<void> {
    await db.pgbenchInit(scale);
    await db.query('CREATE TABLE ledger (id bigint PRIMARY KEY, delta integer NOT NULL)');
  }

  /** The next transaction of a client, as psql reads it. */
  next(client: number): string {
    const number = ++this.#sent[client]!;
    const id = client * IDS_PER_CLIENT + number;
    const branch = this.#pick(this.#scale);
    const teller = this.#pick(this.#scale * TELLERS_PER_BRANCH);
    const account = this.#pick(this.#scale * ACCOUNTS_PER_BRANCH);
    const delta = this.#pick(2 * DELTA_MAX + 1) - DELTA_MAX - 1;
    const statements = [
      'BEGIN',
      `UPDATE pgbench_accounts SET abalance = abalance + ${delta} WHERE aid = ${account}`,
      `UPDATE pgbench_tellers SET tbalance = tbalance + ${delta} WHERE tid = ${teller}`,
      `UPDATE pgbench_branches SET bbalance = bbalance + ${delta} WHERE bid = ${branch}`,
      'INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ' +
        `(${teller}, ${branch}, ${account}, ${delta}, now())`,
      `INSERT INTO ledger VALUES (${id}, ${delta})`,
      'COMMIT',
    ];
    return `${statements.join(' \\; ')};\n\\echo ${id}\n`;
  }

  note(id: number): void {
    this.#acknowledged.add(id);
    appendFileSync(this.#file, `${id}\n`);
  }

  mark(): LedgerMark {
    return { acknowledged: new Set(this.#acknowledged), sent: [...this.#sent] };
  }

  /**
   * Compares with the table. Throws what is wrong. A copy of the database that was made between two
   * marks holds what the first knew to be acknowledged, and nothing that was sent after the other.
   */
  async check(
    db: PostgresClient,
    between: readonly [LedgerMark, LedgerMark] = [this.mark(), this.mark()],
  ): Promise<LedgerCheck> {
    const [{ acknowledged }, { sent }] = between;
    const rows = (await db.query('SELECT id FROM ledger')).split('\n').filter(Boolean).map(Number);
    const present = new Set(rows);
    const missing = [...acknowledged].filter((id) => !present.has(id));
    if (missing.length > 0) {
      throw new Error(`${missing.length} acknowledged transactions are LOST: ${some(missing)}`);
    }
    const unknown = rows.filter((id) => !wasSent(sent, id));
    if (unknown.length > 0) throw new Error(`rows that nobody sent: ${some(unknown)}`);
    await db.checkBalances();
    const sums = await db.query(
      'SELECT (SELECT (count(*), coalesce(sum(delta), 0)) FROM ledger) = ' +
        '(SELECT (count(*), coalesce(sum(delta), 0)) FROM pgbench_history)',
    );
    if (sums !== 't') throw new Error('the ledger and the history differ: a torn transaction');
    return { acknowledged: acknowledged.size, found: present.size };
  }

  /** 1 to `count`. */
  #pick(count: number): number {
    return 1 + Math.floor(this.#rng.float() * count);
  }
}

function wasSent(sent: readonly number[], id: number): boolean {
  const client = Math.floor((id - 1) / IDS_PER_CLIENT);
  return id - client * IDS_PER_CLIENT <= (sent[client] ?? 0);
}

function some(ids: readonly number[]): string {
  return ids.slice(0, 20).join(', ');
}

export interface LoadOptions {
  /** A client that lost its connection comes again after this; default: that is a failure. */
  readonly reconnectAfterMs?: number;
}

/** The clients of one round. */
export class Load {
  readonly #db: PostgresClient;
  readonly #ledger: Ledger;
  readonly #reconnectAfterMs: number | undefined;
  readonly #sessions = new Map<number, ChildProcess>();
  readonly #ended: Promise<void>[] = [];
  readonly #answers: number[];
  /** When each client sent what it waits for. */
  readonly #sentMs: number[];
  #slowestMs = 0;
  readonly #failures: string[] = [];
  #reconnections = 0;
  #stopping = false;

  constructor(db: PostgresClient, ledger: Ledger, { reconnectAfterMs }: LoadOptions = {}) {
    this.#db = db;
    this.#ledger = ledger;
    this.#reconnectAfterMs = reconnectAfterMs;
    this.#answers = Array.from({ length: ledger.clients }, () => 0);
    this.#sentMs = this.#answers.map(() => performance.now());
    for (let client = 0; client < ledger.clients; client++) {
      this.#ended.push(this.#run(client));
    }
  }

  /** Transactions acknowledged in this round. */
  get acknowledged(): number {
    return this.#answers.reduce((sum, one) => sum + one, 0);
  }

  /** How often a client had to come again. */
  get reconnections(): number {
    return this.#reconnections;
  }

  /**
   * How long the slowest transaction since the last call took, or has taken so far; coming again
   * included.
   */
  takeSlowestMs(): number {
    const now = performance.now();
    const slowest = Math.max(this.#slowestMs, ...this.#sentMs.map((sent) => now - sent));
    this.#slowestMs = 0;
    return slowest;
  }

  /** Resolves when every client has had `count` answers more. Rejects when one has failed. */
  async advance(count: number): Promise<void> {
    const goals = this.#answers.map((answers) => answers + count);
    await until(`every client gets ${count} answers more`, () => {
      this.throwIfFailed();
      return this.#answers.every((answers, client) => answers >= goals[client]!);
    });
  }

  /** Throws when a client met an error, or lost its connection. */
  throwIfFailed(): void {
    if (this.#failures.length > 0) throw new Error(this.#failures.join(', '));
  }

  /** Lets each client finish its transaction. Throws when one met an error. */
  async finish(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#ended);
    this.throwIfFailed();
  }

  async kill(): Promise<void> {
    this.#stopping = true;
    for (const session of this.#sessions.values()) session.kill('SIGKILL');
    await Promise.all(this.#ended);
  }

  async #run(client: number): Promise<void> {
    for (;;) {
      const code = await this.#session(client);
      if (code === 0 || (this.#stopping && this.#reconnectAfterMs !== undefined)) return;
      if (this.#reconnectAfterMs === undefined) {
        this.#failures.push(`client ${client}: psql ended with ${String(code)}`);
        return;
      }
      this.#reconnections += 1;
      await sleep(this.#reconnectAfterMs);
      if (this.#stopping) return;
    }
  }

  /** Resolves with the exit code of psql. What it sent last may be committed without its answer. */
  async #session(client: number): Promise<number | null> {
    const session = this.#db.session();
    this.#sessions.set(client, session);
    // A psql whose server has gone ends; what is written to it afterwards goes nowhere.
    session.stdin?.on('error', () => {});
    createInterface({ input: session.stdout! }).on('line', (line) => {
      this.#ledger.note(Number(line));
      this.#answers[client]! += 1;
      const now = performance.now();
      this.#slowestMs = Math.max(this.#slowestMs, now - this.#sentMs[client]!);
      this.#sentMs[client] = now;
      if (this.#stopping) session.stdin?.end();
      else session.stdin?.write(this.#ledger.next(client));
    });
    session.stdin?.write(this.#ledger.next(client));
    const [code] = await once(session, 'close');
    return code as number | null;
  }
}
