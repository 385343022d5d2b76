// nbdkit, beside which ours is measured. Its memory plugin keeps plain bytes and promises nothing;
// its file plugin writes plain bytes to a local file, and a flush is an fdatasync of it.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from '../test/support/command.ts';
import { debianProgram } from '../test/support/debian.ts';

export type NbdkitPlugin = 'memory' | 'file';

/** Serves `bytes` on a socket in `dir` until `open` is disposed. Gives its URI. */
export async function startNbdkit(
  dir: string,
  plugin: NbdkitPlugin,
  bytes: number,
  open: AsyncDisposableStack,
): Promise<string> {
  const socket = join(dir, 'nbdkit.sock');
  const file = join(dir, 'nbdkit.img');
  if (plugin === 'file') {
    await writeFile(file, '');
    await truncate(file, bytes);
  }
  const served = plugin === 'file' ? file : String(bytes);
  const child = spawn(debianProgram('nbdkit'), ['-f', '-U', socket, plugin, served], {
    stdio: 'inherit',
  });
  open.defer(() => void child.kill());
  await until('nbdkit listens', () => existsSync(socket));
  return `nbd+unix:///?socket=${socket}`;
}
