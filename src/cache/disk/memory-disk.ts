// A disk in memory for tests and simulation, that fails when it is told to: a full disk, errors by
// operation, a crash that tears the write under way, damage. It counts operations.

import { StorageError } from '../../base/errors.ts';
import type { Disk, DiskFile } from './disk.ts';

export type DiskOperation = 'list' | 'open' | 'read' | 'write' | 'truncate' | 'close' | 'remove';

export class MemoryDisk implements Disk {
  readonly files = new Map<string, Uint8Array>();
  readonly counts: Record<DiskOperation, number> = {
    list: 0,
    open: 0,
    read: 0,
    write: 0,
    truncate: 0,
    close: 0,
    remove: 0,
  };
  openFiles = 0;
  /** The largest sum of all sizes that there ever was. */
  peakBytes = 0;
  /** Past it, writes are cut short and fail: the disk is full. */
  capacityBytes = Infinity;
  /** So many bytes are written yet; then the machine stops, in the middle of a write if need be. */
  bytesUntilCrash = Infinity;
  /** Says which operations fail. */
  failing: (operation: DiskOperation, name: string) => boolean = () => false;
  /** Awaited by every read and write before it does anything. */
  gate: () => Promise<void> = () => Promise.resolve();

  get bytes(): number {
    let sum = 0;
    for (const file of this.files.values()) sum += file.length;
    return sum;
  }

  /** What the next process finds: these files, on a disk without faults. */
  reboot(): MemoryDisk {
    const disk = new MemoryDisk();
    for (const [name, bytes] of this.files) disk.files.set(name, bytes.slice());
    return disk;
  }

  async list(): Promise<readonly string[]> {
    await this.begin('list', '');
    return [...this.files.keys()];
  }

  async open(_directory: string, name: string): Promise<DiskFile> {
    await this.begin('open', name);
    if (!this.files.has(name)) this.files.set(name, new Uint8Array(0));
    this.openFiles += 1;
    return new MemoryFile(this, name);
  }

  async remove(_directory: string, name: string): Promise<void> {
    await this.begin('remove', name);
    this.files.delete(name);
  }

  /** Counts an operation, and fails it if it is to fail. */
  async begin(operation: DiskOperation, name: string): Promise<void> {
    this.counts[operation] += 1;
    await this.gate();
    if (this.bytesUntilCrash <= 0) throw new StorageError('unavailable', 'the machine is off');
    if (this.failing(operation, name)) {
      throw new StorageError('unavailable', `${operation} of ${name} failed: EIO`);
    }
  }

  store(name: string, bytes: Uint8Array): void {
    this.files.set(name, bytes);
    this.peakBytes = Math.max(this.peakBytes, this.bytes);
  }
}

class MemoryFile implements DiskFile {
  readonly #disk: MemoryDisk;
  readonly #name: string;
  #closed = false;

  constructor(disk: MemoryDisk, name: string) {
    this.#disk = disk;
    this.#name = name;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    await this.#begin('read');
    const part = this.#bytes().subarray(position, position + target.length);
    target.set(part);
    return part.length;
  }

  async write(parts: readonly Uint8Array[], position: number): Promise<void> {
    await this.#begin('write');
    const whole = Buffer.concat(parts);
    const disk = this.#disk;
    const before = this.#bytes();
    const room = disk.capacityBytes - (disk.bytes - before.length) - position;
    const count = Math.max(0, Math.min(whole.length, disk.bytesUntilCrash, room));
    const bytes = new Uint8Array(Math.max(before.length, count > 0 ? position + count : 0));
    bytes.set(before);
    bytes.set(whole.subarray(0, count), position);
    disk.store(this.#name, bytes);
    disk.bytesUntilCrash -= whole.length;
    if (room < whole.length) throw new StorageError('noSpace', 'the disk is full');
    if (count < whole.length) throw new StorageError('unavailable', 'the machine went off');
  }

  async truncate(bytes: number): Promise<void> {
    await this.#begin('truncate');
    const cut = new Uint8Array(bytes);
    cut.set(this.#bytes().subarray(0, bytes));
    this.#disk.store(this.#name, cut);
  }

  async size(): Promise<number> {
    return this.#bytes().length;
  }

  async close(): Promise<void> {
    if (this.#closed) throw new Error('a file is closed once');
    this.#closed = true;
    this.#disk.openFiles -= 1;
    await this.#disk.begin('close', this.#name);
  }

  #begin(operation: DiskOperation): Promise<void> {
    if (this.#closed) throw new Error('a closed file is left alone');
    return this.#disk.begin(operation, this.#name);
  }

  /** Empty for a file that was removed while it was open. */
  #bytes(): Uint8Array {
    return this.#disk.files.get(this.#name) ?? new Uint8Array(0);
  }
}
