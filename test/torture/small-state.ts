// A small disk for the state directory, for the journal to run out of.

import { mkdir, readdir, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand, until } from '../support/command.ts';
import type { TestServer } from '../support/server.ts';

/** Some seconds of journal. */
const STATE_SIZE = '512m';
const FILLER = 'filler';

/** Moves the state directory of the running server onto a tmpfs; `open` unmounts it. */
export async function mountSmallState(
  server: TestServer,
  open: AsyncDisposableStack,
): Promise<void> {
  await server.stop();
  const { stateDir } = server;
  const aside = `${stateDir}.aside`;
  await rename(stateDir, aside);
  await mkdir(stateDir);
  await runCommand('mount', [
    '-t',
    'tmpfs',
    '-o',
    `size=${STATE_SIZE},mode=700`,
    'torture',
    stateDir,
  ]);
  open.defer(() => runCommand('umount', ['--lazy', stateDir]).then(() => {}));
  const names = await readdir(aside);
  if (names.length > 0) {
    await runCommand('cp', ['-a', ...names.map((name) => join(aside, name)), stateDir]);
  }
  await rm(aside, { recursive: true });
  await server.restart();
}

/** Takes all of the space but `leaveBytes`. */
export async function fillState(server: TestServer, leaveBytes: number): Promise<void> {
  const filler = join(server.stateDir, FILLER);
  await until('the state directory is full', async () => {
    const { bavail, bsize } = await statfs(server.stateDir);
    const bytes = bavail * bsize - leaveBytes;
    if (bytes <= 0) return true;
    // The journal goes on growing: what was free a moment ago may not be any more.
    return runCommand('fallocate', ['--length', String(bytes), filler]).then(
      () => true,
      () => false,
    );
  });
}

export async function emptyState(server: TestServer): Promise<void> {
  await rm(join(server.stateDir, FILLER), { force: true });
}
