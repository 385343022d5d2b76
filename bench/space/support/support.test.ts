// The parts that the benches stand on, against a device in memory and a folder of files.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { serveVolumes } from '../../../test/nbd/harness.ts';
import { Bucket } from './bucket.ts';
import { Content } from './content.ts';
import { fill, verifyAll, verifySome } from './fill.ts';
import { Latencies } from './latencies.ts';
import { atDepth, watching } from './load.ts';
import { NbdClient } from './nbd-client.ts';
import { plot } from './output.ts';
import { type Sample, verdict } from './overwrite-report.ts';

const MIB = 1024 * 1024;

test('what was written reads back, and another block or an older write is noticed', async (t) => {
  const served = await serveVolumes(t);
  const client = await NbdClient.connect(served.unix.path, 'disk');
  t.after(() => client.close());
  const content = new Content(8 * MIB, 4096, 7);
  await fill(client, content, 1000);
  await verifyAll(client, content, content.blocks);
  let rest = 500;
  await atDepth(16, () => {
    rest -= 1;
    return rest < 0 ? undefined : content.write(client, content.pick(1000));
  });
  await client.flush();
  await verifySome(client, content, 1000, 1000);
  const older = await client.read(4096, 4096);
  await content.write(client, 1);
  await client.write(4096, [older]);
  await assert.rejects(content.verify(client, 1), /block 1 .* something else/);
  await client.write(4096, [await client.read(8192, 4096)]);
  await assert.rejects(content.verify(client, 1), /block 1 .* something else/);
  await client.trim(0, 8 * MIB);
  content.forget();
  await verifyAll(client, content, content.blocks);
});

test('noise is remembered as of an instant', async (t) => {
  const served = await serveVolumes(t);
  const client = await NbdClient.connect(served.unix.path, 'disk');
  t.after(() => client.close());
  const content = new Content(MIB, 4096, 1);
  await content.write(client, 3);
  const recall = content.remember();
  const then = await client.read(3 * 4096, 4096);
  await content.write(client, 3);
  recall();
  await assert.rejects(content.verify(client, 3));
  await client.write(3 * 4096, [then]);
  await content.verify(client, 3);
});

test('the client reports errors, unknown exports and a server that goes', async (t) => {
  const served = await serveVolumes(t);
  await assert.rejects(NbdClient.connect(served.unix.path, 'nothing'), /no export "nothing"/);
  const client = await NbdClient.connect(served.unix.path, 'disk');
  await assert.rejects(client.read(1024 * MIB, 4096), /errno 22/);
  await client.write(0, [Buffer.alloc(4096, 1)]);
  client.close();
  await assert.rejects(client.read(0, 4096), /closed the connection/);
});

test('a bucket is what its folders hold, deleted objects and temporary files left out', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'space-bucket-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const folder of ['.tmp', 'b/log', 'b/tables']) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  writeFileSync(join(root, '.tmp/x'), Buffer.alloc(1000));
  writeFileSync(join(root, 'b/log/1'), Buffer.alloc(10));
  writeFileSync(join(root, 'b/log/2'), Buffer.alloc(20));
  writeFileSync(join(root, 'b/tables/1'), Buffer.alloc(5));
  const bucket = new Bucket(root);
  assert.deepEqual(bucket.measure(), {
    bytes: 35,
    objects: 3,
    byFolder: new Map([
      ['tables', { bytes: 5, objects: 1 }],
      ['log', { bytes: 30, objects: 2 }],
    ]),
  });
  rmSync(join(root, 'b/log/2'));
  writeFileSync(join(root, 'b/log/3'), Buffer.alloc(7));
  const { bytes, objects } = bucket.measure();
  assert.deepEqual({ bytes, objects }, { bytes: 22, objects: 3 });
});

test('percentiles are right to 5 %', () => {
  const latencies = new Latencies();
  assert.equal(latencies.percentile(0.99), 0);
  for (let i = 1; i <= 1000; i++) latencies.add(i / 10);
  for (const share of [0.01, 0.5, 0.99, 1]) {
    const value = latencies.percentile(share);
    assert.ok(value >= share * 100 && value <= share * 105.1, `${share}: ${value}`);
  }
});

test('a failure ends the loops, and the looking on', async () => {
  let started = 0;
  const step = (): Promise<void> | undefined => {
    started += 1;
    return started > 100 ? undefined : one();
  };
  const one = async (): Promise<void> => {
    if (started === 5) throw new Error('fifth');
  };
  await assert.rejects(
    watching(60, assert.fail, () => atDepth(3, step)),
    /fifth/,
  );
  assert.ok(started < 20);
});

test('the verdict tells the last half from the whole, and the phases apart', () => {
  const sample = (
    userBytes: number,
    putBytes: number,
    phase: Sample['phase'],
    factor: number,
  ): Sample => ({
    seconds: 0,
    phase,
    userBytes,
    putBytes,
    bucketBytes: factor,
    objects: 0,
    liveBytes: 1,
    factor,
    windowAmplification: 0,
    amplification: 0,
    p50Ms: 0,
    p99Ms: 3,
    residentBytes: MIB,
  });
  const samples = [
    sample(0, 0, 'free', 1),
    sample(30, 25, 'free', 1.1),
    sample(50, 50, 'free', 1.5),
    { ...sample(100, 150, 'idle', 1.25), amplification: 1.5 },
  ];
  assert.deepEqual(verdict(samples), [
    'write amplification: 2.00 in the last half, 1.50 overall',
    'bucket ÷ live, free: at most 1.50, in the end 1.50',
    'bucket ÷ live, idle: at most 1.25, in the end 1.25',
    'slowest p99 of a window: 3.0 ms; largest resident size: 1 MiB',
  ]);
});

test('a plot has a line per sample, and groups when there are many', () => {
  const points = Array.from({ length: 120 }, (_, i) => ({ label: `${i}`, value: i }));
  assert.equal(plot('title', points.slice(0, 3), String).trim().split('\n').length, 4);
  const grouped = plot('title', points, String).trim().split('\n');
  assert.equal(grouped.length, 61);
  assert.match(grouped.at(-1)!, /119  119  █{56}$/);
});
