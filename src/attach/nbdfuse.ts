// A device where the kernel has no NBD: libnbd's nbdfuse shows the volume as a file, a loop device
// makes a disk of the file.
//
//   server ─ NBD ─ nbdfuse ─ FOLDER/disk (FUSE) ─ /dev/loopN
//   server ─ NBD ─ nbdkit (retry) ─ nbdfuse ─ FOLDER/disk ─ /dev/loopN            reconnect clean
//   server ─ NBD ─ nbdkit (fua, retry) ─ nbdfuse ─ FOLDER/disk ─ /dev/loopN       reconnect always
//
// A flush arrives as one: the file system's barrier is an fsync of the file, which nbdfuse sends as
// NBD_CMD_FLUSH. The loop device goes through the page cache, under which a flush is still a flush
// (docs/postgres.md has the measurement).
//
// When its server is gone nbdfuse ends and the device fails: a new server may have lost what no
// flush covered. To connect again, and then answer the next flush with success, would be a lie. So
// it is done only by an export name with a write verifier (RFC 0005), or with every write a FUA
// write, so that what was acknowledged stays.
//
// What is there is asked of the kernel, never of a record: a loop device is ours when its file is.

import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import type { AttachedDevice, Attacher, AttachPlace, AttachTask, Trace } from './attacher.ts';
import { type Host, missingPrograms } from './host.ts';
import { proxyArgs } from './proxy.ts';
import { exportUri } from './upstream.ts';
import { unescapeOctal } from './usage.ts';
import { waitFor } from './wait-for.ts';

/** nbdfuse is there at once, or says why not; a server far away may take some round trips. */
const START_MS_MAX = 30_000;
/** From the end of the mount to the end of its process. */
const END_MS_MAX = 30_000;
/** What every file system of today is made for, and a volume's own block. */
const SECTOR_BYTES = 4096;

const PROGRAMS = ['nbdfuse', 'losetup', 'umount'];

export function createNbdfuseAttacher(host: Host, clock: Clock): Attacher {
  async function attach(task: AttachTask, place: AttachPlace): Promise<AttachedDevice> {
    await mkdir(place.folder, { recursive: true, mode: 0o700 });
    const file = fileOf(place);
    const pid = host.start('nbdfuse', nbdfuseArgs(task, file), place.log);
    const session = host.processStart(pid);
    try {
      await waitFor(clock, 'nbdfuse to show its file', START_MS_MAX, () => {
        if (!isProcess(pid, session)) throw endedError(place);
        return isMounted(place) && host.exists(file);
      });
      const mode = task.readOnly ? ['--read-only'] : [];
      const sectors = ['--sector-size', String(SECTOR_BYTES)];
      const how = ['--find', '--show', '--direct-io=off', ...sectors, ...mode, file];
      const device = (await host.run('losetup', how)).trim();
      return { device, session, pid };
    } catch (error) {
      if (isProcess(pid, session)) host.end(pid);
      await detach({ place });
      throw error;
    }
  }

  /** A pid that had ended when it was first looked at is none, either. */
  function isProcess(pid: number, session: string): boolean {
    return session !== '' && session !== 'ended' && host.processStart(pid) === session;
  }

  function endedError({ log }: AttachPlace): StorageError {
    const said = (host.read(log) ?? '').trim().replaceAll(/\s*\n\s*/g, '; ');
    return new StorageError('unavailable', `nbdfuse ended: ${said}`, { retryable: false });
  }

  function isMounted({ folder }: AttachPlace): boolean {
    const lines = (host.read('/proc/self/mounts') ?? '').split('\n');
    return lines.some((line) => unescapeOctal(line.split(' ')[1] ?? '') === folder);
  }

  /** It may go by itself at any time: nbdfuse that ends takes it along. */
  async function unmount(place: AttachPlace): Promise<void> {
    if (!isMounted(place)) return;
    await host.run('umount', [place.folder]).catch((error: unknown) => {
      if (isMounted(place)) throw error;
    });
  }

  function loopsOf(place: AttachPlace): readonly string[] {
    const file = fileOf(place);
    return host
      .list('/sys/block')
      .filter((name) => host.read(`/sys/block/${name}/loop/backing_file`)?.trimEnd() === file)
      .map((name) => `/dev/${name}`);
  }

  async function fail({ attached }: Trace): Promise<void> {
    const { pid, session } = attached ?? {};
    if (pid === undefined || session === undefined || !isProcess(pid, session)) return;
    // Its nbdkit first, if it has one, and both killed: asked to end, they would wait for requests
    // that nobody answers.
    const children = host.read(`/proc/${pid}/task/${pid}/children`) ?? '';
    for (const child of children.split(' ').filter(Boolean)) host.end(Number(child), 'kill');
    host.end(pid, 'kill');
    await waitFor(clock, 'nbdfuse to end', END_MS_MAX, () => !isProcess(pid, session));
  }

  async function detach({ place, attached }: Trace): Promise<void> {
    const { pid, session } = attached ?? {};
    const ours = pid !== undefined && session !== undefined;
    for (const device of loopsOf(place)) await host.run('losetup', ['--detach', device]);
    await waitFor(clock, 'the loop device to go', END_MS_MAX, () => loopsOf(place).length === 0);
    await unmount(place);
    if (ours) {
      // It writes nothing of its own, but who attaches again must not find it at work.
      await waitFor(clock, 'nbdfuse to end', END_MS_MAX, () => !isProcess(pid, session));
    }
    await rmdir(place.folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }

  return {
    way: 'nbdfuse',
    async probe({ reconnect }) {
      const missing = missingPrograms(
        host,
        reconnect === 'never' ? PROGRAMS : [...PROGRAMS, 'nbdkit'],
      );
      if (missing !== undefined) return missing;
      for (const path of ['/dev/fuse', '/dev/loop-control']) {
        if (!host.exists(path)) return `there is no ${path}: modprobe fuse loop`;
      }
      return undefined;
    },
    attach,
    async serves({ device, session, pid }, place, reconnect) {
      if (pid === undefined || !isProcess(pid, session)) return false;
      if (!loopsOf(place).includes(device)) return false;
      // Else a read would wait for the server. Here it is how the loss of one is seen: nbdfuse
      // learns of it by a request.
      return reconnect !== 'never' || (await host.answers(fileOf(place)));
    },
    survivors: ({ place }) => loopsOf(place),
    fail,
    detach,
  };
}

function fileOf({ folder }: AttachPlace): string {
  return join(folder, 'disk');
}

function nbdfuseArgs(task: AttachTask, file: string): readonly string[] {
  const { upstream, exportName, readOnly, reconnect } = task;
  const mode = readOnly ? ['--readonly'] : [];
  if (reconnect === 'never') return [...mode, file, exportUri(upstream, exportName)];
  const nbdkit = ['nbdkit', '--exit-with-parent', '--foreground'];
  return [...mode, file, '[', ...nbdkit, ...proxyArgs(task), ']'];
}
