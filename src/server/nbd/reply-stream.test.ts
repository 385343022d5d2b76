// Any mix of packed, detached and own replies must arrive whole and leave no buffer behind.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../base/system.ts';
import { BufferPool } from './buffer-pool.ts';
import { ByteBudget } from './byte-budget.ts';
import { ConnectionMemory } from './connection-memory.ts';
import { SHARED_BYTES_MAX, SLAB_BYTES } from './limits.ts';
import { ReplyStream } from './reply-stream.ts';
import type { Region } from './reply-stream.ts';
import type { Wire } from './wire.ts';

/** Counts what is out. */
class CountingPool extends BufferPool {
  out = 0;
  override take(bytes: number): Buffer {
    this.out += 1;
    return super.take(bytes);
  }
  override give(buffer: Buffer): void {
    this.out -= 1;
    super.give(buffer);
  }
}

interface Recorder {
  readonly wire: Wire;
  readonly received: Buffer[];
  /** Lets the wire take what it was given: only now are the bytes copied. */
  settle(): void;
}

function createRecorder(): Recorder {
  const received: Buffer[] = [];
  let waiting: (() => void)[] = [];
  const nothing = (): void => {};
  return {
    received,
    wire: {
      send(chunks, sent) {
        waiting.push(() => {
          received.push(Buffer.concat(chunks));
          sent();
        });
      },
      pause: nothing,
      resume: nothing,
      end: nothing,
      destroy: nothing,
    },
    settle() {
      const now = waiting;
      waiting = [];
      for (const one of now) one();
    },
  };
}

function createMemory(): ConnectionMemory {
  const budget = new ByteBudget(SHARED_BYTES_MAX, systemClock);
  return new ConnectionMemory(budget, { fail: assert.fail });
}

const step = fc.oneof(
  fc.record({ kind: fc.constant('packed' as const), bytes: fc.integer({ min: 1, max: 90_000 }) }),
  fc.record({ kind: fc.constant('detached' as const), bytes: fc.integer({ min: 1, max: 90_000 }) }),
  fc.record({ kind: fc.constant('own' as const), bytes: fc.integer({ min: 1, max: 5000 }) }),
  fc.record({ kind: fc.constant('flush' as const), bytes: fc.constant(0) }),
  fc.record({ kind: fc.constant('settle' as const), bytes: fc.constant(0) }),
  fc.record({ kind: fc.constant('complete' as const), bytes: fc.constant(0) }),
  fc.record({ kind: fc.constant('drop' as const), bytes: fc.constant(0) }),
);

test('replies arrive whole, in the order they were finished; all buffers come home', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const pool = new CountingPool(SLAB_BYTES * 4);
      const recorder = createRecorder();
      const memory = createMemory();
      const stream = new ReplyStream(recorder.wire, pool, memory, () => {});
      const expected: Buffer[] = [];
      const regions: { region: Region; bytes: number; mark: number }[] = [];
      steps.forEach(({ kind, bytes }, i) => {
        const mark = (i % 255) + 1;
        const region = kind === 'complete' || kind === 'drop' ? regions.shift() : undefined;
        if (kind === 'packed') {
          const at = stream.reserve(bytes);
          stream.slab.bytes.fill(mark, at, at + bytes);
          stream.commit(at + bytes);
          expected.push(Buffer.alloc(bytes, mark));
        } else if (kind === 'detached') {
          stream.reserve(bytes);
          regions.push({ region: stream.detach(bytes), bytes, mark });
        } else if (kind === 'own') {
          stream.sendOwn(Buffer.alloc(bytes, mark));
          expected.push(Buffer.alloc(bytes, mark));
        } else if (kind === 'flush') stream.flush();
        else if (kind === 'settle') recorder.settle();
        else if (region !== undefined && kind === 'complete') {
          const { slab, start } = region.region;
          slab.bytes.fill(region.mark, start, start + region.bytes);
          stream.attach(region.region, start + region.bytes);
          expected.push(Buffer.alloc(region.bytes, region.mark));
        } else if (region !== undefined) stream.drop(region.region);
        assert.equal(memory.bytes, stream.unsentBytes);
      });
      for (const { region } of regions) stream.drop(region);
      stream.flush();
      recorder.settle();
      assert.equal(stream.unsentBytes, 0);
      assert.equal(memory.bytes, 0);
      assert.ok(Buffer.concat(recorder.received).equals(Buffer.concat(expected)));
      stream.close();
      assert.equal(pool.out, 0, 'every slab is back in the pool');
    }),
    { numRuns: 150 },
  );
});

test('whenSent waits for everything before it, and unsentBytes counts what waits', () => {
  const recorder = createRecorder();
  const stream = new ReplyStream(recorder.wire, new BufferPool(0), createMemory(), () => {});
  let sent = false;
  stream.append(Buffer.alloc(10));
  stream.sendOwn(Buffer.alloc(1000));
  stream.whenSent(() => (sent = true));
  assert.equal(stream.unsentBytes, 1010);
  stream.flush();
  assert.equal(sent, false);
  recorder.settle();
  assert.equal(sent, true);
  assert.equal(stream.unsentBytes, 0);
});

test('the pool keeps no more than its limit, and hands out whole classes', () => {
  const pool = new BufferPool(3 * 8192);
  assert.equal(pool.take(1).length, 4096);
  assert.equal(pool.take(4097).length, 8192);
  const many = Array.from({ length: 5 }, () => pool.take(8192));
  for (const one of many) pool.give(one);
  assert.equal(pool.freeBytes, 3 * 8192);
  pool.take(8000);
  assert.equal(pool.freeBytes, 2 * 8192);
});
