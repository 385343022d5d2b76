// What a durable append of 16 KiB costs, by how it is done:
//
//   node src/engine/journal/sync.bench.ts [directory]
//
// In alternation, so that a noisy disk hurts all alike. The journal uses the last one.

import * as fs from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { allocateShared } from '../../codec/shared.ts';
import { createNodeJournalDisk } from './node-journal-disk.ts';

const RECORD_BYTES = 16 * 1024;
const SLOT_BYTES = 64 * 1024 * 1024;
const BATCH = 100;
const ROUNDS = 15;

const write = promisify(fs.write);
const fdatasync = promisify(fs.fdatasync);
const { O_RDWR, O_CREAT, O_DSYNC } = fs.constants;

interface Way {
  readonly name: string;
  readonly append: (position: number) => Promise<void>;
}

function preallocated(path: string): string {
  const zeroes = new Uint8Array(1024 * 1024);
  const fd = fs.openSync(path, 'w');
  for (let at = 0; at < SLOT_BYTES; at += zeroes.length) fs.writeSync(fd, zeroes);
  fs.fsyncSync(fd);
  fs.closeSync(fd);
  return path;
}

const directory = await mkdtemp(join(process.argv[2] ?? tmpdir(), 'varve-sync-'));
const bytes = allocateShared(RECORD_BYTES).fill(7);
const disk = createNodeJournalDisk();
try {
  const growing = fs.openSync(join(directory, 'growing'), O_RDWR | O_CREAT);
  const plain = fs.openSync(preallocated(join(directory, 'plain')), O_RDWR);
  const dsync = fs.openSync(preallocated(join(directory, 'dsync')), O_RDWR | O_DSYNC);
  const ours = await disk.open(directory, preallocated(join(directory, 'ours')).split('/').at(-1)!);
  const pooled = (fd: number) => async (position: number) => {
    await write(fd, bytes, 0, RECORD_BYTES, position);
    await fdatasync(fd);
  };
  const ways: readonly Way[] = [
    { name: 'growing file, write, fdatasync (thread pool)', append: pooled(growing) },
    { name: 'filled slot, write, fdatasync (thread pool)', append: pooled(plain) },
    {
      name: 'filled slot, O_DSYNC write (thread pool)',
      append: async (position) => void (await write(dsync, bytes, 0, RECORD_BYTES, position)),
    },
    {
      name: 'filled slot, write, fdatasync (blocking the main thread)',
      async append(position) {
        fs.writeSync(plain, bytes, 0, RECORD_BYTES, position);
        fs.fdatasyncSync(plain);
      },
    },
    {
      name: 'filled slot, write, fdatasync (a thread of its own)',
      append: (position) => ours.append(bytes, position, true),
    },
  ];
  const times = new Map<string, number[]>(ways.map(({ name }) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const { name, append } of ways) {
      for (let i = 0; i < BATCH; i++) {
        const position = (round * BATCH + i) * RECORD_BYTES;
        const startMs = performance.now();
        await append(position);
        times.get(name)!.push((performance.now() - startMs) * 1000);
      }
    }
  }
  for (const { name } of ways) {
    const sorted = times.get(name)!.toSorted((a, b) => a - b);
    const at = (share: number): string => sorted[Math.floor(sorted.length * share)]!.toFixed(0);
    console.log(`${name.padEnd(58)} median ${at(0.5)} µs, p90 ${at(0.9)}, p99 ${at(0.99)}`);
  }
  await ours.close();
} finally {
  await disk.close();
  await rm(directory, { recursive: true, force: true });
}
