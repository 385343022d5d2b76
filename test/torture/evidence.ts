// What is kept of a run that failed.

import { copyFile, cp, writeFile } from 'node:fs/promises';
import { inspect } from 'node:util';
import { join } from 'node:path';
import { copyStore, type Ground, type World } from './world.ts';

/**
 * Into the run's folder: the error, what everybody said, the state directory, and the store as it
 * is now. varve is killed first, so that it changes nothing more.
 */
export async function keepEvidence(ground: Ground, world: World | undefined, error: unknown) {
  const { folder, network, options } = ground;
  const problems: unknown[] = [];
  const attempt = (step: Promise<unknown>): Promise<unknown> =>
    step.catch((problem: unknown) => problems.push(problem));
  if (world !== undefined) {
    const { server, machine } = world;
    await writeFile(join(folder, 'postgres-tail.txt'), await machine.postgres.logTail());
    await attempt(world.crash());
    const log = join(server.dir, 'pg', 'postgres.out');
    await attempt(copyFile(log, join(folder, 'postgres.log')));
    const state = join(folder, 'state');
    // Sockets cannot be copied, and are of no use.
    const filter = (path: string): boolean => !path.endsWith('.sock');
    await attempt(cp(server.stateDir, state, { recursive: true, filter }));
    network?.proxy.set({});
    await attempt(network?.proxy.light() ?? Promise.resolve());
    await attempt(copyStore(world, join(folder, 'store')));
  }
  const report = {
    error,
    options,
    proxy: network?.proxy.counters(),
    problems,
    serve: 'VARVE_PASSPHRASE="correct horse" varve serve --store file:store --nbd …',
  };
  await writeFile(join(folder, 'failure.txt'), `${inspect(report, { depth: 8 })}\n`);
}
