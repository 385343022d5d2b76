import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { isStorageError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import type { Log } from '../base/log.ts';
import { FrameKind } from './frame.ts';
import { createKeyring } from './keyring.ts';
import { createSealerPool } from './sealer-pool.ts';
import { sealedBytesMax } from './sealer.ts';
import type { SealJob } from './sealer.ts';
import { allocateShared } from './shared.ts';

const keyring = createKeyring({
  dataKey: new Uint8Array(32).fill(5),
  storeId: 'store',
  cipher: 'chacha20-poly1305',
});

function jobOf(frames: number, name = 'log/1'): SealJob {
  const plainLengths = new Uint32Array(frames).fill(65_536);
  return {
    seal: keyring.sealFor(name, new Uint8Array(16)),
    kind: FrameKind.data,
    firstIndex: 0,
    compression: 'lz4',
    source: allocateShared(frames * 65_536).fill(frames),
    plainLengths,
    target: allocateShared(sealedBytesMax(plainLengths)),
  };
}

const realThread = (): Worker => new Worker(new URL('./sealer-worker.ts', import.meta.url));

/** A thread that runs `body`, which stands for a thread that fails. */
function threadOf(body: string): Worker {
  const source = `import { parentPort } from 'node:worker_threads'; ${body}`;
  return new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
}

const failures: Readonly<Record<string, string>> = {
  'exits at its first job': `parentPort.on('message', () => process.exit(3));`,
  'throws at its first job': `parentPort.on('message', () => { throw new Error('boom'); });`,
  'dies while it starts': `throw new Error('cannot load');`,
};

for (const [what, body] of Object.entries(failures)) {
  test(`a thread that ${what} fails its job with unavailable, and is replaced`, async () => {
    const events: string[] = [];
    const log: Log = { ...silentLog, error: (event) => events.push(event) };
    let spawned = 0;
    const spawn = (): Worker => (spawned++ === 0 ? threadOf(body) : realThread());
    const pool = createSealerPool({ threads: 1, inlineBytesMax: 0, log, spawn });
    const jobs = [1, 2, 3].map((frames) => pool.seal(jobOf(frames, `log/${frames}`)));
    await assert.rejects(
      jobs[0]!,
      (error) =>
        isStorageError(error, 'unavailable') && error.retryable && /log\/1/.test(error.message),
    );
    assert.equal((await jobs[1]!).length, 2);
    assert.equal((await jobs[2]!).length, 3);
    assert.equal((await pool.seal(jobOf(1))).length, 1);
    assert.deepEqual(events, ['sealer.thread.died']);
    assert.equal(spawned, 2);
    await pool.close();
  });
}

test('a job of many shares that loses a thread fails, and leaves the others whole', async () => {
  let spawned = 0;
  const dying = failures['exits at its first job']!;
  const spawn = (): Worker => (spawned++ === 0 ? threadOf(dying) : realThread());
  const pool = createSealerPool({ threads: 2, inlineBytesMax: 0, log: silentLog, spawn });
  const big = pool.seal(jobOf(128, 'log/1'));
  const next = pool.seal(jobOf(16, 'log/2'));
  await assert.rejects(big, (error) => isStorageError(error, 'unavailable'));
  assert.equal((await next).length, 16);
  await pool.close();
});

test('closing waits for every accepted job, also those that wait for the limit', async () => {
  const pool = createSealerPool({ threads: 2, inlineBytesMax: 0, log: silentLog });
  let done = 0;
  // 96 MiB of work: more than a lane admits at once.
  const job = jobOf(128);
  const jobs = Array.from({ length: 12 }, async () => {
    const target = allocateShared(job.target.length);
    await pool.seal({ ...job, compression: 'none', target });
    done += 1;
  });
  await pool.close();
  assert.equal(done, 12);
  await Promise.all(jobs);
});

test('a read does not wait for all the segments that were queued before it', async () => {
  const pool = createSealerPool({ threads: 1, inlineBytesMax: 0, log: silentLog });
  const small = jobOf(4);
  const sealedLengths = await pool.seal(small);
  const sealed = small.target.subarray(
    0,
    sealedLengths.reduce((sum, length) => sum + length, 0),
  );
  const order: string[] = [];
  const segments = [1, 2, 3].map(async () => {
    await pool.seal(jobOf(64));
    order.push('segment');
  });
  const { seal, kind, firstIndex } = small;
  const target = allocateShared(small.source.length);
  await pool.unseal({ seal, kind, firstIndex, sealed, sealedLengths, target });
  order.push('read');
  await Promise.all(segments);
  assert.equal(order.indexOf('read'), 0);
  await pool.close();
});

test('a small job is done without a thread', async () => {
  const spawn = (): Worker => threadOf(`setInterval(() => {}, 1000);`);
  const pool = createSealerPool({ threads: 1, inlineBytesMax: 65_556, log: silentLog, spawn });
  assert.equal((await pool.seal(jobOf(1))).length, 1);
  await pool.close();
});

test('idle threads do not hold the process, a job under way does', async () => {
  const url = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href);
  const script = `
    const { createSealerPool } = await import(${url('./sealer-pool.ts')});
    const { silentLog } = await import(${url('../base/log.ts')});
    const pool = createSealerPool({ threads: 2, inlineBytesMax: 0, log: silentLog });
    const seal = { cipher: 'aes-256-gcm', key: new Uint8Array(32), objectName: 'x',
      associated: new Uint8Array(1) };
    const plainLengths = Uint32Array.of(1000);
    const lengths = await pool.seal({ seal, kind: 1, firstIndex: 0, compression: 'none',
      source: new Uint8Array(1000), plainLengths, target: new Uint8Array(1020) });
    process.stdout.write(String(lengths[0]));`;
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--input-type=module',
    '-e',
    script,
  ]);
  assert.equal(stdout, '1020');
});
