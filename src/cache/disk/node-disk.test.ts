import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { silentLog } from '../../base/log.ts';
import { systemClock, systemRng } from '../../base/system.ts';
import { isStorageError } from '../../base/errors.ts';
import { type DiskCache, openDiskCache } from './disk-cache.ts';
import { nodeDisk, withoutFirst } from './node-disk.ts';
import { check, insert } from './testing.ts';

const root = mkdtempSync(join(tmpdir(), 'varve-disk-cache-'));
after(() => rmSync(root, { recursive: true, force: true }));

function open(directory: string): Promise<DiskCache> {
  const components = { disk: nodeDisk, clock: systemClock, rng: systemRng, log: silentLog };
  return openDiskCache(components, { directory, budgetBytes: 4 * 2 ** 20 });
}

test('what is written at a place is read there, parts joined, short at the end', async () => {
  const file = await nodeDisk.open(root, 'plain');
  const parts = Array.from({ length: 3000 }, (_, at) => Uint8Array.of(at, at >> 8));
  await file.write(parts, 5);
  assert.equal(await file.size(), 6005);
  const target = Buffer.alloc(7000);
  assert.equal(await file.read(target, 5), 6000);
  assert.deepEqual(target.subarray(0, 6000), Buffer.concat(parts));
  await file.truncate(3);
  assert.equal(await file.read(target, 3), 0);
  await file.close();
  await nodeDisk.remove(root, 'plain');
  await nodeDisk.remove(root, 'plain');
});

test('what is left of a write that was cut short anywhere is the rest of its bytes', () => {
  const parts = [3, 0, 5, 1].map((length, at) => new Uint8Array(length).fill(at));
  const whole = Buffer.concat(parts);
  for (let count = 0; count <= whole.length; count++) {
    const rest = withoutFirst(parts, count);
    assert.deepEqual(Buffer.concat(rest), whole.subarray(count));
  }
  assert.equal(withoutFirst(parts, whole.length).length, 0);
});

/** Takes the kernel much longer to read than to close. */
const SIZE = 32 * 2 ** 20;

test('a close waits for what is under way', async () => {
  const file = await nodeDisk.open(root, 'busy');
  await file.write([new Uint8Array(SIZE).fill(7)], 0);
  const target = new Uint8Array(SIZE);
  const order: string[] = [];
  const read = file.read(target, 0).then(() => order.push('read'));
  const closed = file.close().then(() => order.push('closed'));
  await Promise.all([read, closed]);
  assert.deepEqual(order, ['read', 'closed']);
  assert.equal(target[target.length - 1], 7);
});

test('what the system refuses is a StorageError', async () => {
  writeFileSync(join(root, 'file'), '');
  const refused = (error: unknown): boolean => isStorageError(error);
  await assert.rejects(nodeDisk.list(join(root, 'file', 'below')), refused);
  await assert.rejects(nodeDisk.open(join(root, 'nowhere'), 'x'), refused);
  await assert.rejects(nodeDisk.remove(join(root, 'file'), 'x'), refused);
});

test('files and directory are for their owner only, and a restart is warm', async () => {
  const directory = join(root, 'state', 'cache');
  const cache = await open(directory);
  for (let object = 0; object < 50; object++) insert(cache, object, 0, 4);
  await cache.close();
  assert.equal(statSync(directory).mode & 0o777, 0o700);
  const names = readdirSync(directory);
  assert.ok(names.length > 0);
  for (const name of names) assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600);
  const again = await open(directory);
  for (let object = 0; object < 50; object++) assert.equal(await check(again, object, 0, 4), true);
  await again.close();
});

test('a process that is killed leaves a warm cache', async () => {
  const directory = join(root, 'killed');
  const program = `
    import { openDiskCache } from '${import.meta.dirname}/disk-cache.ts';
    import { nodeDisk, withoutFirst } from '${import.meta.dirname}/node-disk.ts';
    import { insert } from '${import.meta.dirname}/testing.ts';
    import { systemClock, systemRng } from '${import.meta.dirname}/../../base/system.ts';
    import { silentLog } from '${import.meta.dirname}/../../base/log.ts';
    const components = { disk: nodeDisk, clock: systemClock, rng: systemRng, log: silentLog };
    const settings = { directory: ${JSON.stringify(directory)}, budgetBytes: 4 * 2 ** 20 };
    const cache = await openDiskCache(components, settings);
    for (let object = 0; object < 600; object++) {
      insert(cache, object, 0, 4);
      if (object % 10 === 9) await cache.flush();
    }
    process.kill(process.pid, 'SIGKILL');
  `;
  const args = ['--input-type=module', '--eval', program];
  assert.throws(() => execFileSync(process.execPath, args, { stdio: 'pipe' }), {
    signal: 'SIGKILL',
  });
  const cache = await open(directory);
  for (let object = 0; object < 600; object++) assert.equal(await check(cache, object, 0, 4), true);
  assert.equal(cache.stats().failed, false);
  await cache.close();
});
