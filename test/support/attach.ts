// A volume as a block device of this machine, for file systems.
//
//   the kernel's NBD:  nbd-client ─► /dev/nbdN                    where the module is loaded
//   else:              nbdfuse ─► DIR/disk (FUSE) ─► /dev/loopN   any kernel with FUSE and loop
//
// Flushes arrive on both: the file system's barrier becomes an fsync of the FUSE file, which
// nbdfuse sends as NBD_CMD_FLUSH.
//
// The loop device goes through the page cache (--direct-io=off), under which a flush is still a
// flush. docs/postgres.md has the measurement.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand, until } from './command.ts';
import { debianProgram } from './debian.ts';

export interface AttachOptions {
  readonly uri: string;
  /** A folder for mount points; it exists. */
  readonly dir: string;
  readonly directIo?: boolean;
}

export interface AttachedDevice {
  /** `/dev/nbd0`, `/dev/loop3`. */
  readonly path: string;
  /** For people. */
  readonly how: string;
  /** Also works when the server is gone. Idempotent. */
  detach(): Promise<void>;
}

export async function attachVolume(options: AttachOptions): Promise<AttachedDevice> {
  const device = freeNbdDevice();
  return device === undefined ? attachByLoop(options) : attachByKernel(options, device);
}

/** A device of the kernel's NBD that nobody uses, when there is such a kernel. */
function freeNbdDevice(): string | undefined {
  const names = readdirSync('/sys/block').filter((name) => /^nbd\d+$/.test(name));
  return names.find((name) => {
    const used = existsSync(`/sys/block/${name}/pid`);
    return !used && existsSync(`/dev/${name}`) && sectors(name) === 0;
  });
}

function sectors(name: string): number {
  return Number(readFileSync(`/sys/block/${name}/size`, 'utf8'));
}

async function attachByKernel({ uri }: AttachOptions, name: string): Promise<AttachedDevice> {
  const { pathname, searchParams } = new URL(uri);
  const volume = decodeURIComponent(pathname.replace(/^\/+/, ''));
  const socket = searchParams.get('socket') ?? '';
  const path = `/dev/${name}`;
  await runCommand('nbd-client', ['-unix', socket, path, '-N', volume, '-b', '4096']);
  let attached = true;
  return {
    path,
    how: `${path}, the kernel's NBD`,
    async detach() {
      if (!attached) return;
      attached = false;
      await runCommand('nbd-client', ['-d', path]);
      await until(`${path} is free`, () => sectors(name) === 0);
    },
  };
}

async function attachByLoop({ uri, dir, directIo }: AttachOptions): Promise<AttachedDevice> {
  const file = await mountByNbdfuse(uri, join(dir, 'fuse'));
  const mode = directIo === true ? 'on' : 'off';
  let path: string;
  try {
    const args = ['--find', '--show', `--direct-io=${mode}`, file.path];
    path = (await runCommand('losetup', args)).trim();
  } catch (error) {
    await file.unmount();
    throw error;
  }
  let attached = true;
  return {
    path,
    how: `${path} on nbdfuse, direct-io ${mode}`,
    async detach() {
      if (!attached) return;
      attached = false;
      // While somebody has it open the kernel only promises to detach it: then the file is busy.
      await runCommand('losetup', ['--detach', path]);
      await until(`${path} is free`, async () => {
        const list = await runCommand('losetup', ['--list', '--noheadings', '--output', 'NAME']);
        return !list.split('\n').includes(path);
      });
      await file.unmount();
    },
  };
}

export interface NbdFile {
  readonly path: string;
  unmount(): Promise<void>;
}

/** The volume as a file, `folder`/disk. */
export async function mountByNbdfuse(uri: string, folder: string): Promise<NbdFile> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, 'disk');
  // In a group of its own: Ctrl-C must not take the device away from under its file system.
  const child = spawn(debianProgram('nbdfuse'), [path, uri], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  let said = '';
  child.stderr.on('data', (part: Buffer) => (said += part.toString()));
  const gone = once(child, 'exit').then(() => undefined);
  try {
    await until('nbdfuse shows its file', () => {
      if (hasEnded(child)) throw new Error(`nbdfuse ${uri} ended: ${said}`);
      return existsSync(path);
    });
  } catch (error) {
    await unmount();
    throw error;
  }

  async function unmount(): Promise<void> {
    // When the server goes, nbdfuse goes too, but its mount stays behind.
    await until('the file of nbdfuse is not busy', async () => {
      if (!isMounted(folder)) return true;
      await runCommand('fusermount3', ['-u', folder]).catch(() => {});
      return !isMounted(folder);
    });
    await gone;
    await rmdir(folder);
  }

  return { path, unmount };
}

function isMounted(folder: string): boolean {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return mounts.some((line) => line.split(' ')[1] === folder);
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
