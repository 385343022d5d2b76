// `varve gc`: what was deleted leaves the store, what a snapshot keeps does not.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { collectReport } from '../../src/server/http/report.ts';
import { nbdsh } from '../support/command.ts';
import { type CommandBox, createCommandBox } from './command-box.ts';

const MIB = 1024 * 1024;

let at: CommandBox;
beforeEach(async () => {
  at = await createCommandBox();
});
afterEach(() => at.box.remove());

/** Bytes of all files of the store. */
async function storedBytes(): Promise<number> {
  const dir = join(at.box.dir, 'store');
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries.filter((one) => one.isFile());
  const sizes = await Promise.all(files.map((one) => stat(join(one.parentPath, one.name))));
  return sizes.reduce((sum, { size }) => sum + size, 0);
}

/** A volume of noise, which no compression makes smaller. */
async function fill(volume: string, bytes: number): Promise<void> {
  await at.client.createVolume(volume, bytes);
  await nbdsh(at.uri(volume), [
    'import os',
    `for at in range(0, ${bytes}, 1 << 20): h.pwrite(os.urandom(1 << 20), at)`,
    'h.flush()',
  ]);
}

test('a deleted volume leaves the store, and gc says how much that was', async () => {
  await fill('big', 24 * MIB);
  await at.write('small');
  const before = await storedBytes();
  assert.ok(before > 24 * MIB);
  await at.client.removeVolume('big');
  const printed = await at.must('gc');
  assert.match(printed, /^freed +\d+ objects of [\d.]+ [KM]iB\nmoved +.*\nstored +/);
  assert.match(printed, /\nlive +.*\nkept by snapshots +0 B\n$/);
  const after = await storedBytes();
  assert.ok(after * 20 < before, `${before} bytes before, ${after} after`);
  await at.expect('small');

  const status = await at.client.status();
  assert.ok(status.collection.deletedBytes > 24 * MIB);
  assert.ok(status.collection.storedBytes! < before / 20);
  const text = await at.must('status');
  assert.match(text, /\nspace +[\d.]+ \w+ stored, .* live, 0 B kept by snapshots\n/);
  assert.match(text, /\ncollection +\d+ objects of 2\d(\.\d)? MiB freed, .* moved, /);
});

test('what a snapshot reaches stays until it is deleted', async () => {
  await fill('big', 16 * MIB);
  await at.client.createSnapshot('keep');
  await at.client.removeVolume('big');
  const kept = collectReport.parse(JSON.parse(await at.must('gc', '--json')));
  assert.ok(kept.storedBytes > 16 * MIB);
  assert.ok((await storedBytes()) > 16 * MIB);
  const [snapshot] = await at.client.listSnapshots();
  assert.ok(snapshot!.ownBytes > 16 * MIB, 'the list says what deleting it frees');
  await at.client.deleteSnapshot('keep');
  const freed = await at.client.collect(() => {});
  assert.ok(freed.storedBytes < MIB);
  assert.ok((await storedBytes()) < MIB);
});

test('a gc that is interrupted, and several at once, leave the server well', async () => {
  await fill('big', 8 * MIB);
  const path = join(at.box.dir, 'varve-state/admin.sock');
  const sent = request({ socketPath: path, method: 'POST', path: '/collection', agent: false });
  sent.on('error', () => {});
  sent.end();
  await once(sent, 'response');
  sent.destroy();
  const collect = () => at.client.collect(() => {});
  await Promise.all([at.must('gc'), collect(), collect()]);
  await at.write('fine');
  await at.expect('fine');
});

test('a server that is stopped during a gc stops as ever, and keeps everything', async () => {
  await fill('big', 8 * MIB);
  await at.write('kept');
  const collecting = at.box.run(['gc']);
  const stopped = await at.server.stop();
  assert.equal(stopped.code, 0, stopped.stderr);
  const { code } = await collecting;
  assert.ok(code === 0 || code === 1);
  await at.serveBeside('again');
  await at.expect('kept', 'disk', 'again.sock');
});
