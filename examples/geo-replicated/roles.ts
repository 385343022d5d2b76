// Who is primary, who is standby, and whom COMMIT waits for: what an operator does, in SQL.

import { until } from '../../test/support/command.ts';
import type { PostgresClient } from '../postgres/client.ts';
import type { Site } from './site.ts';

/** A standby reads what it missed from ZFS at the other site, and syncs it here. */
const CATCH_UP_MS_MAX = 300_000;
const ASK_EVERY_MS = 100;

/**
 * From when this resolves on, COMMIT is answered when `standby` has it on its disk. Before that
 * the standby catches up, and COMMITs that come meanwhile wait for it.
 */
export async function replicateSynchronously(primary: Site, standby: Site): Promise<void> {
  // Asked for only once it streams: until then, every COMMIT would wait.
  await untilState(primary, standby, 'the standby streams', "state = 'streaming'");
  await waitFor(primary.postgres, `FIRST 1 (${standby.name})`);
  await untilState(primary, standby, 'the standby is synchronous', "sync_state = 'sync'");
}

/** `sync` while COMMIT waits for the standby. */
export async function syncState(primary: Site, standby: Site): Promise<string> {
  return await primary.postgres.query(
    `SELECT sync_state FROM pg_stat_replication WHERE application_name = '${standby.name}'`,
  );
}

/**
 * Makes the standby primary. The old primary must be fenced. It waits for nobody: it has no standby
 * now, and a second loss would cost what is committed from here on.
 */
export async function promote(standby: Site, old: Site): Promise<void> {
  const { postgres } = standby;
  // Keeps the WAL since the last common checkpoint for the old primary's return.
  await postgres.query(`SELECT pg_create_physical_replication_slot('${old.name}', true)`);
  await waitFor(postgres, '');
  const promoted = await postgres.query('SELECT pg_promote()');
  if (promoted !== 't') throw new Error(`${standby.name} does not become primary`);
}

/** The names are on the disk when this resolves: a primary that restarts still waits for them. */
async function waitFor(db: PostgresClient, standbys: string): Promise<void> {
  await db.query(`ALTER SYSTEM SET synchronous_standby_names = '${standbys}'`);
  await db.query('SELECT pg_reload_conf()');
}

async function untilState(
  primary: Site,
  standby: Site,
  what: string,
  condition: string,
): Promise<void> {
  const name = `application_name = '${standby.name}'`;
  const sql = `SELECT ${condition} FROM pg_stat_replication WHERE ${name}`;
  await until(what, async () => (await primary.postgres.query(sql)) === 't', {
    timeoutMs: CATCH_UP_MS_MAX,
    everyMs: ASK_EVERY_MS,
  });
}

/** Nobody writes any more: the standby has replayed all that the primary has. */
export async function caughtUp(primary: Site, standby: Site): Promise<void> {
  const end = await primary.postgres.query('SELECT pg_current_wal_flush_lsn()');
  const sql = `SELECT pg_last_wal_replay_lsn() >= '${end}'::pg_lsn`;
  await until(
    'the standby has caught up',
    async () => (await standby.postgres.query(sql)) === 't',
    {
      timeoutMs: CATCH_UP_MS_MAX,
      everyMs: ASK_EVERY_MS,
    },
  );
}

/** Count and a sum over all rows, in whatever order they lie, of each table. */
export async function fingerprint(db: PostgresClient): Promise<string> {
  const tables = ['ledger', 'accounts', 'branches', 'history', 'tellers'].map((name) =>
    name === 'ledger' ? name : `pgbench_${name}`,
  );
  const selects = tables.map(
    (table) => `SELECT '${table}', count(*), sum(hashtextextended(t::text, 0)) FROM ${table} t`,
  );
  return await db.query(selects.join(' UNION ALL '));
}
