// The journal's disk as a component: the cache's disk, and what durability needs beyond it. The
// real one is node-journal-disk.ts; the simulator's tears, drops and reorders what was not synced.

import type { Disk, DiskFile } from '../../cache/disk/disk.ts';

export interface JournalFile extends DiskFile {
  /**
   * Writes `bytes`, which lie in shared memory, at `position`. With `durable`, everything that was
   * written to the file is on stable storage when it resolves. One call at a time. After a failure
   * nothing is known about what was written since the last durable call.
   */
  append(bytes: Uint8Array, position: number, durable: boolean): Promise<void>;
  /** Everything that was written to the file, and its length, are on stable storage. */
  sync(): Promise<void>;
}

export interface JournalDisk extends Disk {
  open(directory: string, name: string): Promise<JournalFile>;
  /** The names of files that were made or removed are on stable storage. */
  syncDirectory(directory: string): Promise<void>;
}
