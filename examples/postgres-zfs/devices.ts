// The two devices that are compared, and the local one of L2ARC. All of them do direct I/O: ZFS has
// its own cache and reads past the page cache, and the page cache below a loop device is a layer
// that no other machine has.

import { truncate, writeFile } from 'node:fs/promises';
import { attachVolume } from '../../test/support/attach.ts';
import { runCommand } from '../../test/support/command.ts';
import type { TestServer } from '../../test/support/server.ts';

export interface Device {
  /** `/dev/nbd0`, `/dev/loop3`. */
  readonly path: string;
  readonly how: string;
  detach(): Promise<void>;
}

export async function attachVarve({ uri, dir }: TestServer): Promise<Device> {
  const device = await attachVolume({ uri, dir });
  if (!device.path.startsWith('/dev/loop')) return device;
  try {
    await runCommand('losetup', ['--direct-io=on', device.path]);
  } catch (error) {
    await device.detach();
    throw error;
  }
  return device;
}

/** A disk on a file of this machine, which is made when it is missing and stays behind. */
export async function attachFile(file: string, bytes: number): Promise<Device> {
  await writeFile(file, '', { flag: 'a' });
  await truncate(file, bytes);
  const flags = ['--find', '--show', '--direct-io=on', '--sector-size', '4096'];
  const path = (await runCommand('losetup', [...flags, file])).trim();
  let attached = true;
  return {
    path,
    how: `${path} on a local file`,
    async detach() {
      if (!attached) return;
      await runCommand('losetup', ['--detach', path]);
      attached = false;
    },
  };
}
