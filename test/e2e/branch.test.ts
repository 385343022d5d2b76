// A branch of a running database: PostgreSQL recovers on it, and is whole, while the parent works
// on.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Machine } from '../../examples/postgres/machine.ts';
import { startServer } from '../support/server.ts';

test('PostgreSQL starts on a branch of a running database and passes pg_amcheck', async (t) => {
  await using open = new AsyncDisposableStack();
  const server = await startServer({ volumes: { disk: '4G' } });
  open.defer(() => server.remove());
  const machine = new Machine({ server });
  open.defer(() => machine.release());
  const { postgres } = machine;
  await machine.create();
  await postgres.pgbenchInit(2);

  const load = postgres.pgbench(['-c', '4', '-T', '20']);
  const before = (await server.status()).barriers;
  while ((await server.status()).barriers < before + 50) await server.command('flush');
  const startMs = performance.now();
  await server.command('branch', 'create', 'dev');
  t.diagnostic(`the branch was there after ${Math.round(performance.now() - startMs)} ms`);

  const child = await startServer({
    store: `file:${server.storeDir}`,
    init: false,
    volumes: {},
    flags: ['--branch', 'dev'],
  });
  open.defer(() => child.remove());
  const other = new Machine({ server: child });
  open.defer(() => other.release());
  await other.recoverCopy();
  await other.postgres.checkBalances();
  await other.postgres.amcheck();
  // It goes its own way.
  await other.postgres.pgbench(['-c', '2', '-T', '3']);
  await load;
  await postgres.checkBalances();
  await postgres.amcheck();
  await other.shutDown();
  await machine.shutDown();
  // The parent is served once more, and lets go of what only the branch needed.
  await server.restart();
  await server.command('branch', 'delete', 'dev');
  const report = JSON.parse(await server.command('gc', '--json')) as { deletedObjects: number };
  assert.ok(report.deletedObjects > 0, 'what only the branch kept is gone');
});
