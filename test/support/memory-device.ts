// An in-memory BlockDevice shared by all its handles, for tests and benchmarks of what serves block
// devices. Bytes live in chunks of 1 MiB, made when first written: few large buffers cost the
// garbage collector little. Each 4 KiB block of a chunk is a hole, allocated zeroes, or data; what
// is not data is kept zeroed.
//
// `gate` turns calls into promises, so that a test decides when, in which order and how they
// settle.

import { assert } from '../../src/base/assert.ts';
import { StorageError } from '../../src/base/errors.ts';
import type {
  BlockDevice,
  BlockDeviceDirectory,
  Extent,
  Maybe,
} from '../../src/volume/block-device.ts';

export const MEMORY_BLOCK_BYTES = 4096;

const CHUNK_BYTES = 1024 * 1024;
const CHUNK_BLOCKS = CHUNK_BYTES / MEMORY_BLOCK_BYTES;

const [HOLE, ZERO, DATA] = [0, 1, 2];

interface Chunk {
  readonly bytes: Uint8Array;
  /** One of HOLE, ZERO, DATA for each block. */
  readonly states: Uint8Array;
}

export type MemoryCall =
  | 'read'
  | 'write'
  | 'trim'
  | 'writeZeroes'
  | 'flush'
  | 'blockStatus'
  | 'prefetch';

export interface MemoryVolume {
  readonly name: string;
  readonly description: string;
  sizeBytes: number;
  readonly readOnly: boolean;
  readonly chunks: Map<number, Chunk>;
  /** How often each call was made, and how many handles are open. */
  readonly calls: Record<MemoryCall, number>;
  openHandles: number;
  /** When set, a call waits for what this returns; a rejection is the call's failure. */
  gate: ((call: MemoryCall, offset: number) => Promise<void> | undefined) | undefined;
}

export function createMemoryVolume(
  name: string,
  sizeBytes: number,
  options: { readonly readOnly?: boolean; readonly description?: string } = {},
): MemoryVolume {
  assert(sizeBytes % MEMORY_BLOCK_BYTES === 0, 'a memory volume is whole blocks');
  return {
    name,
    description: options.description ?? '',
    sizeBytes,
    readOnly: options.readOnly ?? false,
    chunks: new Map(),
    calls: {
      read: 0,
      write: 0,
      trim: 0,
      writeZeroes: 0,
      flush: 0,
      blockStatus: 0,
      prefetch: 0,
    },
    openHandles: 0,
    gate: undefined,
  };
}

/** As it was when it was made; its memory is kept. Nobody may have it open. */
export function wipeMemoryVolume(volume: MemoryVolume): void {
  assert(volume.openHandles === 0, 'nobody uses the volume');
  for (const { bytes, states } of volume.chunks.values()) {
    for (let i = states.indexOf(DATA); i >= 0; i = states.indexOf(DATA, i + 1)) {
      bytes.fill(0, i * MEMORY_BLOCK_BYTES, (i + 1) * MEMORY_BLOCK_BYTES);
    }
    states.fill(HOLE);
  }
  for (const call of Object.keys(volume.calls) as MemoryCall[]) volume.calls[call] = 0;
  volume.gate = undefined;
}

/** How many 4 KiB blocks hold data. */
export function dataBlockCount(volume: MemoryVolume): number {
  let count = 0;
  for (const { states } of volume.chunks.values()) {
    for (const state of states) if (state === DATA) count += 1;
  }
  return count;
}

/** A directory of memory volumes; the array may change while it is served. */
export function memoryDirectory(volumes: readonly MemoryVolume[]): BlockDeviceDirectory {
  return {
    list: () => volumes,
    open(name) {
      const volume = volumes.find((one) => one.name === name);
      if (volume === undefined) throw new StorageError('notFound', `there is no volume "${name}"`);
      return openMemoryDevice(volume);
    },
  };
}

function openMemoryDevice(volume: MemoryVolume): BlockDevice {
  const { sizeBytes, chunks } = volume;
  let open = true;
  volume.openHandles += 1;

  function gated<T>(call: MemoryCall, offset: number, bytes: number, work: () => T): Maybe<T> {
    assert(open, 'no call on a closed handle');
    volume.calls[call] += 1;
    if (offset < 0 || offset + bytes > sizeBytes) {
      throw new StorageError('invalid', 'the range ends past the end of the volume');
    }
    const wait = volume.gate?.(call, offset);
    return wait === undefined ? work() : wait.then(work);
  }

  return {
    name: volume.name,
    description: volume.description,
    sizeBytes,
    readOnly: volume.readOnly,
    read: (offset, target) =>
      gated('read', offset, target.length, () => {
        readBlocks(chunks, offset, target);
      }),
    write: (offset, source) =>
      gated('write', offset, source.length, () => {
        writeBlocks(chunks, offset, source);
      }),
    trim: (offset, bytes) =>
      gated('trim', offset, bytes, () => {
        zeroBlocks(chunks, offset, bytes, false);
      }),
    writeZeroes: (offset, bytes, allocate) =>
      gated('writeZeroes', offset, bytes, () => {
        zeroBlocks(chunks, offset, bytes, allocate);
      }),
    flush: () => gated('flush', 0, 0, () => undefined),
    blockStatus: (offset, bytes, extentsMax) =>
      gated('blockStatus', offset, bytes, () => statusOf(chunks, offset, bytes, extentsMax)),
    prefetch: (offset, bytes) => gated('prefetch', offset, bytes, () => undefined),
    close() {
      assert(open, 'a handle is closed once');
      open = false;
      volume.openHandles -= 1;
    },
  };
}

type Chunks = Map<number, Chunk>;

/**
 * Calls `visit` for each chunk of the range: `from` and `to` lie inside it, `done` bytes came
 * before.
 */
function eachChunk(
  offset: number,
  bytes: number,
  visit: (index: number, from: number, to: number, done: number) => void,
): void {
  let done = 0;
  while (done < bytes) {
    const at = offset + done;
    const from = at % CHUNK_BYTES;
    const to = Math.min(CHUNK_BYTES, from + bytes - done);
    visit(Math.floor(at / CHUNK_BYTES), from, to, done);
    done += to - from;
  }
}

function chunkFor(chunks: Chunks, index: number): Chunk {
  let chunk = chunks.get(index);
  if (chunk === undefined) {
    chunk = { bytes: new Uint8Array(CHUNK_BYTES), states: new Uint8Array(CHUNK_BLOCKS) };
    chunks.set(index, chunk);
  }
  return chunk;
}

function readBlocks(chunks: Chunks, offset: number, target: Uint8Array): void {
  eachChunk(offset, target.length, (index, from, to, done) => {
    const chunk = chunks.get(index);
    if (chunk === undefined) target.fill(0, done, done + to - from);
    else target.set(chunk.bytes.subarray(from, to), done);
  });
}

function writeBlocks(chunks: Chunks, offset: number, source: Uint8Array): void {
  eachChunk(offset, source.length, (index, from, to, done) => {
    const chunk = chunkFor(chunks, index);
    const whole = to - from === source.length;
    chunk.bytes.set(whole ? source : source.subarray(done, done + to - from), from);
    const first = Math.floor(from / MEMORY_BLOCK_BYTES);
    chunk.states.fill(DATA, first, Math.ceil(to / MEMORY_BLOCK_BYTES));
  });
}

function zeroBlocks(chunks: Chunks, offset: number, bytes: number, allocate: boolean): void {
  const zero = (index: number, from: number, to: number): void => {
    if (!allocate && !chunks.has(index)) return;
    const chunk = chunkFor(chunks, index);
    chunk.bytes.fill(0, from, to);
    // Only whole blocks change their state.
    const first = Math.ceil(from / MEMORY_BLOCK_BYTES);
    const end = Math.floor(to / MEMORY_BLOCK_BYTES);
    if (first < end) chunk.states.fill(allocate ? ZERO : HOLE, first, end);
  };
  if (allocate) {
    eachChunk(offset, bytes, zero);
    return;
  }
  // A trim of a whole huge volume must not visit chunks that are not there.
  for (const index of chunks.keys()) {
    const from = Math.max(0, offset - index * CHUNK_BYTES);
    const to = Math.min(CHUNK_BYTES, offset + bytes - index * CHUNK_BYTES);
    if (from < to) zero(index, from, to);
  }
}

function statusOf(chunks: Chunks, offset: number, bytes: number, extentsMax: number): Extent[] {
  const extents: Extent[] = [];
  const end = offset + bytes;
  let start = offset;
  let last = -1;
  const close = (at: number): void => {
    if (at > start) {
      extents.push({ lengthBytes: at - start, hole: last === HOLE, zero: last !== DATA });
    }
    start = at;
  };
  for (let at = offset; at < end && extents.length < extentsMax;) {
    const chunk = chunks.get(Math.floor(at / CHUNK_BYTES));
    const within = at % CHUNK_BYTES;
    const state = chunk?.states[Math.floor(within / MEMORY_BLOCK_BYTES)] ?? HOLE;
    if (state !== last) close(at);
    last = state;
    const unit = chunk === undefined ? CHUNK_BYTES : MEMORY_BLOCK_BYTES;
    at += unit - (at % unit);
  }
  if (extents.length < extentsMax) close(end);
  return extents;
}
