// What fills the database: a table of documents that no compression makes smaller, of any size.
//
// As fast as PostgreSQL takes them in without lying: COPY from a program into a table of the same
// transaction, frozen, with wal_level = minimal. Such rows are in no WAL, and are synced before the
// COMMIT; no vacuum touches them later. pgbench -i at the scale of 8 GiB takes many times as long.

import type { Postgres } from '../postgres/postgres.ts';

/** With what a row has besides, four of them fill a page of 8 KiB, and none is TOASTed. */
const BODY_CHARACTERS = 1976;
/** Base64: four characters of three bytes. */
const BODY_RANDOM_BYTES = (BODY_CHARACTERS / 4) * 3;
const ROWS_PER_PAGE = 4;
const PAGE_BYTES = 8192;

/** The migration deletes the first of so many parts. */
const DELETED_SHARE = 20;

/** Makes the table, of `bytes`. Restarts PostgreSQL twice. Resolves with the number of rows. */
export async function createDocuments(db: Postgres, bytes: number): Promise<number> {
  const rows = Math.max(1, Math.floor(bytes / PAGE_BYTES)) * ROWS_PER_PAGE;
  const random = `head -c ${rows * BODY_RANDOM_BYTES} /dev/urandom | base64 -w ${BODY_CHARACTERS}`;
  await withMinimalWal(db, () =>
    db.query(
      'BEGIN; CREATE TABLE documents (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ' +
        "state text NOT NULL DEFAULT 'draft', body text NOT NULL); " +
        `COPY documents (body) FROM PROGRAM '${random}' WITH (FREEZE); COMMIT; ANALYZE documents`,
    ),
  );
  // A pipe succeeds when its last program does: only the table tells that all of it came.
  const { documents } = await lookAt(db);
  if (documents !== rows) throw new Error(`${documents} documents were made instead of ${rows}`);
  return rows;
}

async function withMinimalWal(db: Postgres, work: () => Promise<unknown>): Promise<void> {
  await db.query('ALTER SYSTEM SET wal_level = minimal');
  await db.query('ALTER SYSTEM SET max_wal_senders = 0');
  await db.stop('fast');
  await db.start();
  await work();
  await db.query('ALTER SYSTEM RESET ALL');
  await db.stop('fast');
  await db.start();
}

/** Nobody would try this on the only copy. */
export async function migrate(db: Postgres, rows: number): Promise<void> {
  await db.query('ALTER TABLE documents DROP COLUMN state');
  await db.query('ALTER TABLE pgbench_accounts ALTER COLUMN abalance TYPE bigint');
  await db.query(`DELETE FROM documents WHERE id <= ${deleted(rows)}`);
  await db.query('CHECKPOINT');
}

/** What a look at the database shows of the migration. */
export interface Look {
  readonly documents: number;
  readonly hasState: boolean;
  /** Type of pgbench_accounts.abalance. */
  readonly balanceType: string;
  readonly databaseBytes: number;
}

export async function lookAt(db: Postgres): Promise<Look> {
  const column = 'SELECT data_type FROM information_schema.columns WHERE table_name';
  const answer = await db.query(
    'SELECT (SELECT count(*) FROM documents), ' +
      `EXISTS (${column} = 'documents' AND column_name = 'state'), ` +
      `coalesce((${column} = 'pgbench_accounts' AND column_name = 'abalance'), ''), ` +
      'pg_database_size(current_database())',
  );
  const [documents, hasState, balanceType = '', databaseBytes] = answer.split('|');
  return {
    documents: Number(documents),
    hasState: hasState === 't',
    balanceType,
    databaseBytes: Number(databaseBytes),
  };
}

/** Of the documents that the migration deletes, elsewhere. */
export function hashDocuments(db: Postgres, rows: number): Promise<string> {
  const hash = 'SELECT sum(hashtextextended(state || body, id)) FROM documents';
  return db.query(`${hash} WHERE id <= ${deleted(rows)}`);
}

/** How many the migration leaves of `rows`. */
export function documentsLeft(rows: number): number {
  return rows - deleted(rows);
}

function deleted(rows: number): number {
  return Math.floor(rows / DELETED_SHARE);
}
