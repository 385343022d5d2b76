// The machine as attaching sees it: its programs, and what its kernel tells of devices. Tests have
// one without programs; system-host.ts is the real one.

import { StorageError } from '../base/errors.ts';

export interface Host {
  /** The process may make devices. */
  readonly root: boolean;
  /** Differs after each boot. */
  readonly bootId: string;
  has(program: string): boolean;
  /** Resolves with stdout; throws `unavailable` with what the program said. */
  run(program: string, args: readonly string[]): Promise<string>;
  /** A process that outlives this one, its output in the file `log`. Returns its pid. */
  start(program: string, args: readonly string[], log: string): number;
  /** Asked to end; `kill` is for a process that holds nothing and would wait first. */
  end(pid: number, how?: 'kill'): void;
  /** Says of a pid which process it is: differs when it is used again. Empty when there is none. */
  processStart(pid: number): string;
  /** Undefined when it cannot be read. */
  read(path: string): string | undefined;
  exists(path: string): boolean;
  list(folder: string): readonly string[];
  /** Neither a mount nor swap nor another program claims the device for itself alone. */
  isUnclaimed(device: string): boolean;
  /** Processes that have it open. */
  openers(device: string): readonly { readonly pid: number; readonly name: string }[];
  /**
   * False when a read of `path`, past every cache, is an error. One that takes long is none: the
   * server may wait for its store.
   */
  answers(path: string): Promise<boolean>;
  /** What was written to the device is durable. */
  sync(device: string): Promise<void>;
}

/** The Debian package of each program that a way may need. */
const PACKAGE_OF: Readonly<Record<string, string>> = {
  nbdfuse: 'libnbd-bin',
  nbdinfo: 'libnbd-bin',
  nbdkit: 'nbdkit',
  'nbd-client': 'nbd-client',
  losetup: 'mount',
  umount: 'mount',
};

/** Undefined when all are there; else which to install. */
export function missingPrograms(host: Host, programs: readonly string[]): string | undefined {
  const missing = programs.filter((program) => !host.has(program));
  if (missing.length === 0) return undefined;
  const packages = [...new Set(missing.map((program) => PACKAGE_OF[program] ?? program))];
  return `${missing.join(' and ')} missing: apt-get install ${packages.join(' ')}`;
}

export function requireRoot(host: Host): void {
  if (host.root) return;
  throw new StorageError('denied', 'devices of this machine are made by root only: use sudo');
}
