// A machine with a ZFS of its own: a mount namespace in which one zfs-fuse runs, and all that
// stands on its pools. Two of them live beside each other on one kernel, and one can be lost as a
// whole.
//
//   /var/lib/zfs, /run/zfs, /run/lock/zfs   the daemon's socket and pool cache: private, empty
//   /etc/zfs                                the same: what it runs on a fault sends mail
//   /zfs-kstat                              its counters, as it mounts them
//   mounts of FUSE, of loop and NBD devices taken away: a volume that is attached is one, or has
//                                           one, and could not be detached while it is held here
//   everything else                         this machine's: block devices above all
//
// Where the kernel has ZFS, a machine is a machine: its commands are the same.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand, until } from '../../test/support/command.ts';
import type { Program, ProgramPlace } from '../postgres/program-place.ts';

/** A pool that waits for a device may take as long as the device. */
const COMMAND_MS_MAX = 300_000;

const SETUP = `
set -e
umount --lazy --all --types fuse || true
findmnt --raw --noheadings --output TARGET,SOURCE | while read -r target source; do
  case $source in /dev/loop* | /dev/nbd*) umount --lazy "$target" || true ;; esac
done
mkdir -p /zfs-kstat /etc/zfs /var/lib/zfs /run/zfs /run/lock/zfs
for folder in /etc/zfs /var/lib/zfs /run/zfs /run/lock/zfs; do mount -t tmpfs none $folder; done
exec zfs-fuse --no-daemon "$@"
`;

export interface ZfsHostOptions {
  /** For its log. Made. */
  readonly dir: string;
  /** Of zfs-fuse: zfs-fuse(8). */
  readonly flags?: readonly string[];
  readonly signal?: AbortSignal | undefined;
}

export class ZfsHost implements ProgramPlace {
  readonly #daemon: ChildProcess;
  readonly #signal: AbortSignal | undefined;

  private constructor(daemon: ChildProcess, signal: AbortSignal | undefined) {
    this.#daemon = daemon;
    this.#signal = signal;
  }

  /** Resolves when its ZFS answers. */
  static async start({ dir, flags = [], signal }: ZfsHostOptions): Promise<ZfsHost> {
    await mkdir(dir, { recursive: true });
    const log = openSync(join(dir, 'zfs-fuse.log'), 'a');
    const unshare = ['--mount', '--propagation', 'private', 'bash', '-c', SETUP, 'zfs-fuse'];
    const daemon = spawn('unshare', [...unshare, ...flags], {
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
    const host = new ZfsHost(daemon, signal);
    try {
      await until('zfs-fuse answers', () => {
        if (host.#hasEnded) throw new Error(`zfs-fuse has ended: ${dir}/zfs-fuse.log`);
        return host.zpool('list').then(
          () => true,
          () => false,
        );
      });
    } catch (error) {
      await host.kill();
      throw error;
    }
    return host;
  }

  get #hasEnded(): boolean {
    return this.#daemon.exitCode !== null || this.#daemon.signalCode !== null;
  }

  get #namespace(): string {
    return `/proc/${this.#daemon.pid}/ns/mnt`;
  }

  path(file: string): string {
    return `/proc/${this.#daemon.pid}/root${file}`;
  }

  launch({ path, args, cwd, uid, gid }: Program): Program {
    const user = [
      ...(uid === undefined ? [] : ['--setuid', String(uid)]),
      ...(gid === undefined ? [] : ['--setgid', String(gid)]),
    ];
    const enter = [`--mount=${this.#namespace}`, `--wdns=${cwd}`, ...user, '--', path, ...args];
    return { path: '/usr/bin/nsenter', args: enter, cwd: '/' };
  }

  /** Resolves with stdout. */
  run(name: string, args: readonly string[], cleanup = false): Promise<string> {
    const program = this.launch({ path: name, args, cwd: '/' });
    return runCommand(program.path, program.args, {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
      timeoutMs: COMMAND_MS_MAX,
      signal: cleanup ? undefined : this.#signal,
    });
  }

  zpool(...args: string[]): Promise<string> {
    return this.run('zpool', args);
  }

  zfs(...args: string[]): Promise<string> {
    return this.run('zfs', args);
  }

  /** Of ZFS: `arcstats` above all. */
  async counters(name: string): Promise<Readonly<Record<string, number>>> {
    const folder = this.path(`/zfs-kstat/zfs/${name}`);
    const entries = (await readdir(folder)).map(async (one) => {
      return [one, Number(await readFile(join(folder, one), 'utf8'))] as const;
    });
    return Object.fromEntries(await Promise.all(entries));
  }

  /**
   * Its ZFS does nothing more from now on: the instant at which power is lost. What it stands on
   * may then go, too, and learns nothing that the machine has seen of it.
   */
  freeze(): void {
    if (!this.#hasEnded) this.#daemon.kill('SIGSTOP');
  }

  /**
   * Every process of the machine at once, its ZFS first, as losing its power would. What is mounted
   * goes with them. Idempotent.
   */
  async kill(): Promise<void> {
    if (this.#hasEnded) return;
    const namespace = readlinkSync(this.#namespace);
    const gone = once(this.#daemon, 'exit');
    this.#daemon.kill('SIGKILL');
    await until('every process of the machine is gone', () => {
      const pids = processesIn(namespace);
      for (const pid of pids) killIfThere(pid);
      return pids.length === 0;
    });
    await gone;
  }
}

/** Those of a mount namespace; this one's is another. */
function processesIn(namespace: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/ns/mnt`) === namespace;
      } catch {
        // It has ended, or is a zombie that has no namespace any more.
        return false;
      }
    });
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
