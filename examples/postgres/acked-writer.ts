// Clients that know exactly which of their commits were acknowledged.
//
// Each feeds one psql with `INSERT … ; \echo id`: psql prints the id when the server has answered
// that the commit is done (synchronous_commit = on), and only then is the next one sent. What was
// printed is kept here, outside the device. After a crash every one of them must be there; one
// more per client may be, whose answer was lost.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { until } from '../../test/support/command.ts';
import type { Postgres } from './postgres.ts';

/** Ids of client c are c × this + 1, 2, 3, … */
const IDS_PER_CLIENT = 10_000_000;

export interface AckedWriters {
  readonly acknowledged: ReadonlySet<number>;
  /** Sent, whether acknowledged or not. */
  readonly sent: number;
  /** Resolves when so many were acknowledged; rejects when every client has ended before. */
  reach(count: number): Promise<void>;
  /** Ends the clients; resolves when nothing more is acknowledged. */
  end(): Promise<void>;
}

export async function startAckedWriters(db: Postgres, clients: number): Promise<AckedWriters> {
  await db.query('CREATE TABLE IF NOT EXISTS acked (id bigint PRIMARY KEY, filler text)');
  const acknowledged = new Set<number>();
  const sessions: ChildProcess[] = [];
  let sent = 0;
  let running = clients;

  function send(session: ChildProcess, id: number): void {
    sent += 1;
    session.stdin?.write(`INSERT INTO acked VALUES (${id}, repeat('x', 200));\n\\echo ${id}\n`);
  }

  const ended = Array.from({ length: clients }, async (_, client) => {
    const session = db.session();
    sessions.push(session);
    // A psql whose server has gone ends; what is written to it afterwards goes nowhere.
    session.stdin?.on('error', () => {});
    const lines = createInterface({ input: session.stdout! });
    lines.on('line', (line) => {
      const id = Number(line);
      acknowledged.add(id);
      send(session, id + 1);
    });
    send(session, client * IDS_PER_CLIENT + 1);
    await once(session, 'close');
    running -= 1;
  });

  return {
    acknowledged,
    get sent() {
      return sent;
    },
    reach: (count) =>
      until(`${count} commits are acknowledged`, () => {
        if (acknowledged.size >= count) return true;
        if (running === 0) throw new Error('every client of the database has lost it');
        return false;
      }),
    async end() {
      for (const session of sessions) session.kill('SIGKILL');
      await Promise.all(ended);
    },
  };
}

/** Compares with what the database has now. Throws when an acknowledged commit is missing. */
export async function checkAcknowledged(
  db: Postgres,
  acknowledged: ReadonlySet<number>,
): Promise<{ readonly unacknowledged: number }> {
  const rows = (await db.query('SELECT id FROM acked')).split('\n').filter(Boolean).map(Number);
  const present = new Set(rows);
  const missing = [...acknowledged].filter((id) => !present.has(id));
  if (missing.length > 0) {
    const some = missing.slice(0, 10).join(', ');
    throw new Error(`${missing.length} acknowledged commits are LOST, among them ${some}`);
  }
  return { unacknowledged: present.size - acknowledged.size };
}
