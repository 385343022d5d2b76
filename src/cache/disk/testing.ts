// What the tests of this folder share: a cache on a disk in memory, and frames whose bytes follow
// from their key, so that a model needs to remember only which were inserted.

import assert from 'node:assert/strict';
import { silentLog } from '../../base/log.ts';
import { createSeededRng } from '../../base/rng.ts';
import { createManualClock } from '../../objectstore/manual-clock.ts';
import { type DiskCache, type DiskCacheComponents, openDiskCache } from './disk-cache.ts';
import type { MemoryDisk } from './memory-disk.ts';

export const SLAB_BYTES = 16 * 1024;

export function saltOf(object: number): Uint8Array {
  return createSeededRng(object + 1000).bytes(16);
}

const made = new Map<number, Uint8Array>();

/** The only bytes that frame `frame` of `object` ever has. */
export function frameBytes(object: number, frame: number): Uint8Array {
  const key = object * 65_537 + frame;
  const known = made.get(key);
  if (known !== undefined) return known;
  const rng = createSeededRng(key);
  const bytes = rng.bytes(100 + Math.floor(rng.float() * 900));
  made.set(key, bytes);
  return bytes;
}

export function frames(
  object: number,
  first: number,
  count: number,
): { readonly lengths: Uint32Array; readonly bytes: Uint8Array } {
  const parts = Array.from({ length: count }, (_, index) => frameBytes(object, first + index));
  return { lengths: Uint32Array.from(parts, (part) => part.length), bytes: Buffer.concat(parts) };
}

export function insert(cache: DiskCache, object: number, first: number, count: number): void {
  const { lengths, bytes } = frames(object, first, count);
  cache.insert(saltOf(object), first, lengths, bytes);
}

/** Whether the frames are there; if they are, they must be right. */
export async function check(
  cache: DiskCache,
  object: number,
  first: number,
  count: number,
): Promise<boolean> {
  const { lengths, bytes } = frames(object, first, count);
  const target = new Uint8Array(bytes.length);
  const there = await cache.read(saltOf(object), first, lengths, target);
  if (there) assert.deepEqual(Buffer.from(target), bytes, 'other bytes than were inserted');
  return there;
}

let seed = 1;

export interface OpenOptions extends Partial<DiskCacheComponents> {
  readonly slabs?: number;
  readonly slabBytes?: number;
}

/** A cache of 16 slabs of 16 KiB, unless told otherwise. */
export function openOn(disk: MemoryDisk, options: OpenOptions = {}): Promise<DiskCache> {
  const { slabs = 16, slabBytes = SLAB_BYTES, ...components } = options;
  return openDiskCache(
    {
      disk,
      clock: createManualClock(),
      rng: createSeededRng(seed++),
      log: silentLog,
      ...components,
    },
    { directory: 'cache', budgetBytes: slabs * slabBytes, slabBytes },
  );
}
