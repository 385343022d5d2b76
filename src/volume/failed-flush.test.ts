// A flush that fails, on an engine whose store stops answering: what waits and what comes is
// refused, and taken again by itself when the store is back.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemoryVolume, memoryDirectory } from '../../test/support/memory-device.ts';
import { StorageError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { systemClock } from '../base/system.ts';
import { refuseWritesBehindFailedFlush } from './failed-flush.ts';

const BLOCK = new Uint8Array(4096).fill(1);
const dark = new StorageError('unavailable', 'the store does not answer');

function setUp() {
  const state = { dark: false, refused: [] as StorageError[], barriers: 0 };
  const barrier = async (): Promise<void> => {
    state.barriers += 1;
    if (state.dark) throw dark;
  };
  const memory = memoryDirectory([createMemoryVolume('pg', 1 << 20)]);
  const devices = {
    list: () => memory.list(),
    open: (name: string) => ({ ...memory.open(name), flush: barrier }),
  };
  const directory = refuseWritesBehindFailedFlush(devices, {
    clock: { ...systemClock, sleep: () => new Promise((resolve) => setImmediate(resolve)) },
    log: silentLog,
    database: { barrier, refuseWaiting: (error) => void state.refused.push(error) },
  });
  return { state, directory };
}

test('behind a failed flush no device takes writes or flushes; reads go on', async () => {
  const { state, directory } = setUp();
  const [one, other] = [directory.open('pg'), directory.open('pg')];
  await one.write(0, BLOCK);
  await one.flush();
  state.dark = true;
  await other.write(4096, BLOCK);
  await assert.rejects(async () => one.flush(), dark);
  const refused = { kind: 'unavailable', message: /until the store answers again.*not answer/ };
  for (const device of [one, other, directory.open('pg')]) {
    assert.throws(() => void device.write(8192, BLOCK), refused);
    assert.throws(() => void device.trim(0, 4096), refused);
    assert.throws(() => void device.writeZeroes(0, 4096, true), refused);
    assert.throws(() => void device.flush(), refused);
  }
  assert.equal(state.refused.length, 1, 'what waited, once');
  const read = new Uint8Array(4096);
  await one.read(4096, read);
  assert.deepEqual(read, BLOCK, 'what was answered is kept');
  state.dark = false;
});

test('a flush that succeeds opens the devices again, asked for by nobody', async () => {
  const { state, directory } = setUp();
  const device = directory.open('pg');
  state.dark = true;
  await assert.rejects(async () => device.flush(), dark);
  const { barriers } = state;
  while (state.barriers < barriers + 3) await new Promise((resolve) => setImmediate(resolve));
  assert.throws(() => void device.write(0, BLOCK), { kind: 'unavailable' });
  state.dark = false;
  const settled = state.barriers + 1;
  while (state.barriers < settled) await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  await device.write(0, BLOCK);
  await device.flush();
});
