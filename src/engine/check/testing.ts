// What the tests of this folder share: a store, random histories on it, and its objects.

import { createSeededRng } from '../../base/rng.ts';
import { silentLog } from '../../base/log.ts';
import { systemClock } from '../../base/system.ts';
import { createInlineSealer } from '../../codec/sealer.ts';
import type { Database } from '../db.ts';
import type { DatabaseSettings } from '../settings.ts';
import { openRoot } from '../store-root.ts';
import { noise, PASSPHRASE, type TestBed } from '../testing.ts';
import { checkStore, type CheckComponents, type Checked } from './check-store.ts';
import type { InspectRecords } from './branch-check.ts';

export const INODE = 20;
export const SIZE = 2 * 1024 * 1024;

/** Collects early and flushes often. */
export const BUSY: Partial<DatabaseSettings> = {
  garbageSoft: 0.1,
  garbageHard: 1,
  smallSegmentsMax: 8,
};

export async function componentsOf(
  bed: TestBed,
): Promise<CheckComponents & { readonly cipher: 'chacha20-poly1305' | 'aes-256-gcm' }> {
  const { format, keyring } = await openRoot(bed.store, PASSPHRASE, 'admin');
  return {
    store: bed.store,
    keyring,
    sealer: createInlineSealer(),
    clock: systemClock,
    rng: createSeededRng(77),
    log: silentLog,
    cipher: format.cipher,
  };
}

export async function check(
  bed: TestBed,
  deep = false,
  inspect: InspectRecords = async () => {},
): Promise<Checked> {
  const options = { deep, branch: undefined, inspect, onProgress: () => {} };
  return checkStore(await componentsOf(bed), options);
}

/** One random change, to the file and to `model` alike. */
export async function randomChange(
  db: Database,
  model: Uint8Array,
  rng: { float(): number },
  seed: number,
): Promise<void> {
  let offset = Math.floor(rng.float() * model.length);
  offset -= offset % 4096;
  const most = Math.ceil((rng.float() ** 2 * 100_000) / 4096) * 4096;
  const length = Math.min(model.length - offset, Math.max(4096, most));
  if (rng.float() < 0.8) {
    const data = noise(seed, length);
    await db.write(INODE, offset, data);
    model.set(data, offset);
  } else {
    await db.zero(INODE, offset, length, rng.float() < 0.5);
    model.fill(0, offset, offset + length);
  }
}

/** Names of the stored objects that hold `part`, in order. */
export function namesWith(bed: TestBed, part: string): string[] {
  return [...bed.memory.objects.keys()].filter((name) => name.includes(part)).toSorted();
}

export function flip(bed: TestBed, name: string, at?: number): void {
  const bytes = bed.memory.objects.get(name)!.slice();
  bytes[at ?? Math.floor(bytes.length / 2)]! ^= 1;
  bed.memory.objects.set(name, bytes);
}

/** So many of them that the collector joins them into a data object. */
export async function smallCommits(db: Database, model: Uint8Array): Promise<void> {
  for (let block = 0; block < 24; block++) {
    const data = Buffer.alloc(4096, `small ${block}`);
    await db.write(INODE, block * 8192, data);
    model.set(data, block * 8192);
    await db.barrier();
  }
}
