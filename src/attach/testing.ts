// A host without programs: what /proc and /sys say is a map, and programs are functions.

import { StorageError } from '../base/errors.ts';
import type { Host } from './host.ts';

export interface FakeHost extends Host {
  root: boolean;
  bootId: string;
  /** Programs that are installed. */
  readonly programs: Set<string>;
  /** Contents by path; a folder is what paths begin with. */
  readonly files: Map<string, string>;
  readonly processes: Map<number, string>;
  readonly claimed: Set<string>;
  readonly open: Map<string, string>;
  /** What a read of gives an error. */
  readonly dead: Set<string>;
  /** Command lines, in their order; `sync DEVICE` among them. */
  readonly ran: string[];
  /** What a program does, and prints. A program without one prints nothing. */
  readonly acts: Map<string, (args: readonly string[]) => string>;
}

const FIRST_PID = 100;
const NBDKIT_PID_FIRST = 1000;

export function createFakeHost(): FakeHost {
  const files = new Map<string, string>();
  const processes = new Map<number, string>();
  const ran: string[] = [];
  const acts: FakeHost['acts'] = new Map();
  let pid = FIRST_PID;
  const act = (program: string, args: readonly string[]): string => {
    ran.push([program, ...args].join(' '));
    return acts.get(program)?.(args) ?? '';
  };
  const host: FakeHost = {
    root: true,
    bootId: 'boot-1',
    programs: new Set(['nbdfuse', 'losetup', 'umount']),
    files,
    processes,
    claimed: new Set(),
    open: new Map(),
    dead: new Set(),
    ran,
    acts,
    has: (program) => host.programs.has(program),
    run: async (program, args) => act(program, args),
    start(program, args) {
      pid += 1;
      processes.set(pid, `start of ${pid}`);
      act(program, args);
      return pid;
    },
    end(which) {
      processes.delete(which);
      files.delete(`/proc/${which}/cmdline`);
    },
    processStart: (which) => processes.get(which) ?? '',
    read: (path) => files.get(path),
    exists: (path) => files.has(path),
    list(folder) {
      const inside = [...files.keys()].filter((path) => path.startsWith(`${folder}/`));
      return [...new Set(inside.map((path) => path.slice(folder.length + 1).split('/')[0]!))];
    },
    isUnclaimed: (device) => !host.claimed.has(device),
    openers(device) {
      const name = host.open.get(device);
      return name === undefined ? [] : [{ pid: 7, name }];
    },
    answers: async (path) => !host.dead.has(path),
    sync: async (device) => void act('sync', [device]),
  };
  withVerifier(host, '1');
  return host;
}

/** The server's write verifier is that. */
export function withVerifier(host: FakeHost, verifier: string): void {
  host.acts.set('nbdinfo', (args) => {
    const volume = /\/\/\/(.*)%2F\?/.exec(args[1]!)![1]!;
    return JSON.stringify({ exports: [{ 'export-name': `${volume}/${verifier}` }] });
  });
}

/** Lets nbdfuse, losetup and umount do to the files what they do to a kernel. */
export function withLoopDevices(host: FakeHost): void {
  const { files, acts } = host;
  for (const path of ['/dev/fuse', '/dev/loop-control']) files.set(path, '');
  acts.set('nbdfuse', (args) => {
    const file = args.find((arg) => arg.endsWith('/disk'))!;
    files.set(file, '');
    files.set('/proc/self/mounts', `nbdfuse ${file.slice(0, -5)} fuse.nbdfuse rw 0 0\n`);
    return '';
  });
  acts.set('losetup', (args) => {
    if (args[0] === '--detach') {
      files.delete('/sys/block/loop0/loop/backing_file');
      return '';
    }
    files.set('/sys/block/loop0/loop/backing_file', `${args.at(-1)!}\n`);
    files.set('/sys/block/loop0/dev', '7:0\n');
    return '/dev/loop0\n';
  });
  acts.set('umount', () => {
    files.delete('/proc/self/mounts');
    host.processes.clear();
    return '';
  });
}

/** Lets nbd-client connect /dev/nbd0, and nbdkit listen for it. */
export function withKernelNbd(host: FakeHost): void {
  const { files, acts, processes } = host;
  host.programs.add('nbd-client');
  let pid = NBDKIT_PID_FIRST;
  acts.set('nbdkit', (args) => {
    pid += 1;
    processes.set(pid, `start of ${pid}`);
    files.set(args[args.indexOf('--pidfile') + 1]!, `${pid}\n`);
    files.set(`/proc/${pid}/cmdline`, ['nbdkit', ...args, ''].join('\0'));
    return '';
  });
  files.set('/dev/nbd0', '');
  files.set('/sys/block/nbd0/size', '0\n');
  acts.set('nbd-client', (args) => {
    const connects = args[0] !== '-d';
    files.set('/sys/block/nbd0/size', connects ? '2048\n' : '0\n');
    if (connects) files.set('/sys/block/nbd0/pid', '4711\n');
    else files.delete('/sys/block/nbd0/pid');
    return '';
  });
}

/** A program that fails as one does. */
export function failWith(said: string): () => string {
  return () => {
    throw new StorageError('unavailable', said, { retryable: false });
  };
}
