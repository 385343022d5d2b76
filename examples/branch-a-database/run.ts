// A branch of a database that works on, something tried on it that nobody would try on the
// database, and its end.
//
//   PostgreSQL ─ ext4 ─ device ─ varve, branch main ──────┬─ store
//   PostgreSQL ─ ext4 ─ device ─ varve, branch migration ─┘
//
//   1. a database of a given size, and clients that note every acknowledged transaction
//   2. snapshot, branch, a server for it, PostgreSQL's recovery on it
//   3. there: nothing misses that was acknowledged before; the migration
//   4. the branch goes, and so do its bytes
//   5. the parent: every acknowledged transaction, all sums, pg_amcheck; varve fsck

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { collectReport, branchReport, type CollectReport } from '../../src/server/http/report.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { Ledger, type LedgerCheck, Load } from '../../test/torture/ledger.ts';
import { type Bucket, openBucket, type Used } from '../postgres/bucket.ts';
import { Machine } from '../postgres/machine.ts';
import { say } from '../support/demo.ts';
import { createDocuments, hashDocuments, type Look, lookAt, migrate } from './documents.ts';
import { type Phase, Phases } from './phases.ts';

const SNAPSHOT = 'before-migration';
const BRANCH = 'migration';
const SEED = 1;
const MIB = 1024 * 1024;
/** Of pgbench's tables, by its scale: what remains of the size is documents. */
const BYTES_PER_SCALE = 16 * MIB;
/** The WAL, both versions of a table while it is rewritten; holes cost nothing. */
const VOLUME_SHARE = 2;
const VOLUME_MORE_BYTES = 4096 * MIB;
/** What the migration rewrites, and what the clients write. */
const SMALL_TABLES = ['pgbench_*', 'ledger'];

export interface BranchDemoOptions {
  /** Undefined for a gateway of our own; `file:` for a folder of our own. */
  readonly store: string | undefined;
  readonly endpoint: string | undefined;
  readonly databaseBytes: number;
  readonly scale: number;
  /** How long the clients work before the branch is made. */
  readonly seconds: number;
  readonly clients: number;
  readonly fsckFlags: readonly string[];
  readonly signal: AbortSignal;
  /** Told at each step, with the folders that exist then and must not in the end. */
  readonly onPhase?: (name: string, folders: readonly string[]) => void;
}

export interface BranchDemoResult {
  readonly phases: readonly Phase[];
  readonly rows: number;
  /** Of the parent at its end, and of the branch before it was migrated. */
  readonly parentCheck: LedgerCheck;
  readonly branchCheck: LedgerCheck;
  readonly parentLook: Look;
  readonly branchLook: Look;
  /** What lies under the branch's name, with the migration and after it was deleted. */
  readonly branchUsed: Used;
  readonly branchLeft: Used;
  readonly collected: CollectReport;
  readonly fsck: string;
}

interface Parent {
  readonly options: BranchDemoOptions;
  readonly bucket: Bucket;
  readonly server: TestServer;
  readonly machine: Machine;
  readonly ledger: Ledger;
  readonly load: Load;
  readonly phases: Phases;
  /** Of everything, for who looks whether something is left. */
  readonly folders: string[];
  readonly open: AsyncDisposableStack;
}

export async function runBranchDemo(options: BranchDemoOptions): Promise<BranchDemoResult> {
  await using open = new AsyncDisposableStack();
  const { parent, rows } = await startParent(options, open);
  const { machine, server, ledger, load, phases } = parent;
  const hash = await hashDocuments(machine.postgres, rows);
  await phases.run(
    'clients of main, nothing else',
    () => server,
    () => sleep(options.seconds * 1000, undefined, { signal: options.signal }),
  );
  const branched = await useBranch(parent, rows);
  await load.finish();
  say('the clients of main have ended: looking at all that they wrote');
  const parentCheck = await ledger.check(machine.postgres);
  await machine.postgres.amcheck();
  const parentLook = await lookAt(machine.postgres);
  if ((await hashDocuments(machine.postgres, rows)) !== hash) {
    throw new Error('documents that were deleted on the branch have changed on main');
  }
  await machine.shutDown();
  say('main was shut down cleanly: varve fsck');
  const fsck = await server.fsck(...options.fsckFlags);
  return { phases: phases.rows, rows, parentCheck, parentLook, ...branched, fsck };
}

async function startParent(
  options: BranchDemoOptions,
  open: AsyncDisposableStack,
): Promise<{ readonly parent: Parent; readonly rows: number }> {
  const { signal, databaseBytes, scale, clients } = options;
  const folder = await mkdtemp(join(tmpdir(), 'varve-demo-'));
  open.defer(() => rm(folder, { recursive: true, force: true }));
  const bucket = await openBucket({
    url: options.store,
    endpoint: options.endpoint,
    folder: join(folder, 'store'),
    env: process.env,
  });
  open.defer(() => bucket.close());
  say(`store: ${bucket.description}`);
  signal.throwIfAborted();
  const server = await startServer({
    ...storeOf(bucket),
    volumes: { disk: String(databaseBytes * VOLUME_SHARE + VOLUME_MORE_BYTES) },
    detached: true,
  });
  open.defer(() => server.remove());
  const machine = new Machine({ server, signal });
  open.defer(() => machine.release());
  open.defer(() => say('cleaning up'));
  await machine.create();
  say(`PostgreSQL runs on ext4 on ${machine.how}: filling it`);
  const rows = await createDocuments(machine.postgres, databaseBytes - scale * BYTES_PER_SCALE);
  await Ledger.create(machine.postgres, scale);
  await machine.postgres.query('CHECKPOINT');
  const ledger = new Ledger({ file: join(folder, 'ledger.txt'), scale, clients, seed: SEED });
  const load = new Load(machine.postgres, ledger);
  open.defer(() => load.kill());
  const folders = [folder, server.dir];
  const phases = new Phases(load, (name) => options.onPhase?.(name, folders));
  return {
    parent: { options, bucket, server, machine, ledger, load, phases, folders, open },
    rows,
  };
}

function storeOf({ url, flags, env }: Bucket) {
  return { store: url, storeFlags: flags, env };
}

type Branched = Pick<
  BranchDemoResult,
  'branchCheck' | 'branchLook' | 'branchUsed' | 'branchLeft' | 'collected'
>;

/** From the snapshot to the last byte of the branch. */
async function useBranch(parent: Parent, rows: number): Promise<Branched> {
  const { server, ledger, phases, bucket } = parent;
  const main = (): TestServer => server;
  const first = ledger.mark();
  await phases.run('varve snapshot create', main, () =>
    server.command('snapshot', 'create', SNAPSHOT),
  );
  const last = ledger.mark();
  await phases.run('varve branch create', main, () =>
    server.command('branch', 'create', BRANCH, '--from', SNAPSHOT),
  );
  const id = await branchId(server);
  const child = await startChild(parent);
  const { postgres } = child.machine;
  const of = (): TestServer => child.server;
  const branchCheck = await ledger.check(postgres, [first, last]);
  say(`all ${branchCheck.acknowledged} transactions acknowledged before are on the branch`);
  await phases.run('migration on the branch', of, () => migrate(postgres, rows));
  const branchLook = await lookAt(postgres);
  await phases.run('pg_amcheck of what it rewrote', of, () => postgres.amcheck(SMALL_TABLES));

  const branchUsed = await usedBy(bucket, id);
  await phases.run('PostgreSQL, mount, device end', of, () => child.machine.release());
  const { code, stderr } = await child.server.stop();
  if (code !== 0) throw new Error(`the branch's server exited with ${code}: ${stderr}`);
  await phases.run('varve branch delete', main, () => server.command('branch', 'delete', BRANCH));
  const collected = await phases.run('snapshot delete, varve gc', main, async () => {
    await server.command('snapshot', 'delete', SNAPSHOT);
    return collectReport.parse(JSON.parse(await server.command('gc', '--json')));
  });
  const branchLeft = await usedBy(bucket, id);
  return { branchCheck, branchLook, branchUsed, branchLeft, collected };
}

interface Child {
  readonly server: TestServer;
  readonly machine: Machine;
}

async function startChild({ options, bucket, phases, folders, open }: Parent): Promise<Child> {
  let server: TestServer | undefined;
  const started = await phases.run(
    'varve serve --branch',
    () => server,
    async () => {
      options.signal.throwIfAborted();
      server = await startServer({
        ...storeOf(bucket),
        init: false,
        volumes: {},
        flags: ['--branch', BRANCH],
        detached: true,
      });
      return server;
    },
  );
  open.defer(() => started.remove());
  folders.push(started.dir);
  const machine = new Machine({ server: started, signal: options.signal });
  open.defer(() => machine.release());
  await phases.run(
    'attach, mount, PostgreSQL recovers',
    () => server,
    () => machine.recoverCopy(),
  );
  return { server: started, machine };
}

async function branchId(server: TestServer): Promise<string> {
  const listed = JSON.parse(await server.command('branch', 'list', '--json')) as unknown;
  const found = branchReport
    .array()
    .parse(listed)
    .find(({ name }) => name === BRANCH);
  if (found === undefined) throw new Error('the branch is not listed');
  return found.id;
}

async function usedBy(bucket: Bucket, id: string): Promise<Used> {
  return (await bucket.usedByBranch()).get(id) ?? { objects: 0, bytes: 0 };
}
