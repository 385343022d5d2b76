// nbdkit's memory plugin, beside which ours is measured: it keeps plain bytes and promises nothing.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../test/support/command.ts';
import { debianProgram } from '../test/support/debian.ts';

/** Serves `bytes` of memory on a socket in `dir` until `open` is disposed. Gives its URI. */
export async function startNbdkit(
  dir: string,
  bytes: number,
  open: AsyncDisposableStack,
): Promise<string> {
  const socket = join(dir, 'nbdkit.sock');
  const child = spawn(debianProgram('nbdkit'), ['-f', '-U', socket, 'memory', String(bytes)], {
    stdio: 'inherit',
  });
  open.defer(() => void child.kill());
  await until('nbdkit listens', () => existsSync(socket));
  return `nbd+unix:///?socket=${socket}`;
}
