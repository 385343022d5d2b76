// What each step took: time, requests to the store by kind, and what the clients of the parent felt
// of it.

import { formatTable } from '../../src/cli/text-table.ts';
import type { StatusReport } from '../../src/server/http/report.ts';
import type { TestServer } from '../../test/support/server.ts';
import type { Load } from '../../test/torture/ledger.ts';
import { say } from '../support/demo.ts';

export interface Phase {
  readonly name: string;
  /** Whose requests they are. */
  readonly branch: string;
  readonly seconds: number;
  /** Of the parent's clients, meanwhile. */
  readonly commits: number;
  readonly slowestMs: number;
  readonly requests: Requests;
}

export interface Requests {
  /** Log objects: one per group of commits. */
  readonly putLog: number;
  readonly putOther: number;
  readonly get: number;
  readonly list: number;
  readonly delete: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
}

const MIB = 1024 * 1024;

export class Phases {
  readonly rows: Phase[] = [];
  readonly #load: Load;
  readonly #onPhase: (name: string) => void;

  constructor(load: Load, onPhase: (name: string) => void) {
    this.#load = load;
    this.#onPhase = onPhase;
  }

  /**
   * Does `work` and measures it. `serverOf` is asked before and after it: a server that is only
   * there afterwards has made all of its requests in it.
   */
  async run<T>(
    name: string,
    serverOf: () => TestServer | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    say(name);
    this.#onPhase(name);
    const before = await serverOf()?.status();
    const { acknowledged } = this.#load;
    this.#load.takeSlowestMs();
    const startMs = performance.now();
    const result = await work();
    const seconds = (performance.now() - startMs) / 1000;
    const slowestMs = this.#load.takeSlowestMs();
    const commits = this.#load.acknowledged - acknowledged;
    const after = await serverOf()?.status();
    if (after !== undefined) {
      const requests = difference(before, after);
      this.rows.push({ name, branch: after.branch, seconds, commits, slowestMs, requests });
    }
    // Whatever the step did: every client of the parent goes on, and none has met an error.
    await this.#load.advance(1);
    return result;
  }
}

function difference(before: StatusReport | undefined, after: StatusReport): Requests {
  const count = (kind: 'put' | 'get' | 'list' | 'delete' | 'bytesUp' | 'bytesDown'): number =>
    after.store[kind] - (before?.store[kind] ?? 0);
  const putsOfLog = (one: StatusReport | undefined): number =>
    one?.store.byCause['barrier']?.put ?? 0;
  const putLog = putsOfLog(after) - putsOfLog(before);
  return {
    putLog,
    putOther: count('put') - putLog,
    get: count('get'),
    list: count('list'),
    delete: count('delete'),
    bytesUp: count('bytesUp'),
    bytesDown: count('bytesDown'),
  };
}

const HEADER = [
  'STEP',
  'SECONDS',
  'COMMITS',
  'SLOWEST',
  'SERVER',
  'PUT LOG',
  'PUT',
  'GET',
  'LIST',
  'DELETE',
  'MIB UP',
  'MIB DOWN',
];

/** COMMITS and SLOWEST are the parent's, the rest is of the server that is named. */
export function formatPhases(phases: readonly Phase[]): string {
  const rows = phases.map(({ requests, ...phase }) => [
    phase.name,
    phase.seconds.toFixed(2),
    String(phase.commits),
    `${phase.slowestMs.toFixed(0)} ms`,
    phase.branch,
    String(requests.putLog),
    String(requests.putOther),
    String(requests.get),
    String(requests.list),
    String(requests.delete),
    (requests.bytesUp / MIB).toFixed(1),
    (requests.bytesDown / MIB).toFixed(1),
  ]);
  const names = ['STEP', 'SERVER'];
  const right = HEADER.flatMap((title, column) => (names.includes(title) ? [] : [column]));
  return formatTable([HEADER, ...rows], right);
}
