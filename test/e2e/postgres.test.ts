// PostgreSQL on ext4 on a volume: load, a crash of everything, recovery, and every check it has.

import { test } from 'node:test';
import { checkAcknowledged, startAckedWriters } from '../../examples/postgres/acked-writer.ts';
import { Machine } from '../../examples/postgres/machine.ts';
import { startServer } from '../support/server.ts';

test('PostgreSQL has every commit that it acknowledged after SIGKILL of the server', async () => {
  await using open = new AsyncDisposableStack();
  const server = await startServer({ volumes: { disk: '4G' } });
  open.defer(() => server.remove());
  const machine = new Machine({ server });
  open.defer(() => machine.release());
  const { postgres } = machine;
  await machine.create();
  await postgres.pgbenchInit(2);
  await postgres.pgbench(['-c', '4', '-T', '5']);

  const writers = await startAckedWriters(postgres, 4);
  try {
    await writers.reach(200);
    await machine.crash();
  } finally {
    await writers.end();
  }
  await machine.recover();
  await checkAcknowledged(postgres, writers.acknowledged);
  await postgres.checkBalances();
  await postgres.amcheck();

  // And once more with PostgreSQL stopped at once, the server right after it.
  await postgres.pgbench(['-c', '4', '-T', '2']);
  await postgres.stop('immediate');
  await machine.crash();
  await machine.recover();
  await postgres.checkBalances();
  await postgres.amcheck();
  await machine.shutDown();
});
