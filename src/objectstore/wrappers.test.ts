import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isStorageError } from '../base/errors.ts';
import { describeStore } from './conformance.ts';
import { bytesOf, listAll, rejectsWith } from './testing-store.ts';
import { withLatency } from './latency.ts';
import { createManualClock } from './manual-clock.ts';
import { createMemoryStore } from './memory.ts';
import { withMeter } from './metered.ts';
import { parseStoreUrl } from './url.ts';

describeStore('a metered store', async ({ pageKeys }) => ({
  store: withMeter(createMemoryStore({ pageKeys })),
}));

describeStore('a distant store', async ({ pageKeys }) => ({
  store: withLatency(createMemoryStore({ pageKeys }), createManualClock(), 20),
}));

describe('the meter', () => {
  it('counts requests, errors and bytes by kind and cause, exactly', async () => {
    const store = withMeter(createMemoryStore({ pageKeys: 2 }));
    const body = [bytesOf('12345'), bytesOf('678')];
    await store.putIfAbsent('a', body, { cause: 'barrier' });
    await rejectsWith(store.putIfAbsent('a', body, { cause: 'barrier' }), 'exists');
    await store.putIfAbsent('b', [], { cause: 'flush' });
    await store.putIfAbsent('c', [], { cause: 'flush' });
    await store.get('a', { start: 1, end: 4 }, { cause: 'read' });
    await store.get('a', undefined, { cause: 'lookup' });
    await rejectsWith(store.get('z', undefined, { cause: 'read' }), 'notFound');
    await store.head('a', { cause: 'open' });
    await listAll(store, '');
    await listAll(store, 'none');
    await store.delete('a', { cause: 'compaction' });
    const { total, byCause, bytesUp, bytesDown } = store.meter.snapshot();
    assert.deepEqual(total, {
      put: { requests: 4, errors: 1, bytes: 16 },
      get: { requests: 3, errors: 1, bytes: 11 },
      head: { requests: 1, errors: 0, bytes: 0 },
      list: { requests: 3, errors: 0, bytes: 0 },
      delete: { requests: 1, errors: 0, bytes: 0 },
    });
    assert.deepEqual(byCause.barrier.put, { requests: 2, errors: 1, bytes: 16 });
    assert.deepEqual(byCause.flush.put, { requests: 2, errors: 0, bytes: 0 });
    assert.deepEqual(byCause.read.get, { requests: 2, errors: 1, bytes: 3 });
    assert.deepEqual(byCause.lookup.get, { requests: 1, errors: 0, bytes: 8 });
    assert.deepEqual([bytesUp, bytesDown], [16, 11]);
  });

  it('gives copies, which later requests do not change', async () => {
    const store = withMeter(createMemoryStore());
    const before = store.meter.snapshot();
    await store.head('a', { cause: 'open' });
    assert.equal(before.total.head.requests, 0);
    assert.equal(before.byCause.open.head.requests, 0);
    assert.equal(store.meter.snapshot().byCause.open.head.requests, 1);
    assert.deepEqual(structuredClone(before), JSON.parse(JSON.stringify(before)));
  });

  it('counts a listing that fails, and stops counting where the consumer stops', async () => {
    const store = withMeter(createMemoryStore({ pageKeys: 1 }));
    for (const key of ['a', 'b', 'c']) await store.putIfAbsent(key, [], { cause: 'admin' });
    for await (const page of store.list('', { cause: 'open' })) {
      assert.equal(page[0]?.key, 'a');
      break;
    }
    await rejectsWith(
      (async () => {
        const signal = AbortSignal.abort();
        for await (const _page of store.list('', { cause: 'open', signal }));
      })(),
      'aborted',
    );
    assert.deepEqual(store.meter.snapshot().byCause.open.list, {
      requests: 2,
      errors: 1,
      bytes: 0,
    });
  });
});

describe('latency', () => {
  it('is added to each request and each page', async () => {
    const clock = createManualClock();
    const store = withLatency(createMemoryStore({ pageKeys: 1 }), clock, 20);
    await store.putIfAbsent('a', [], { cause: 'admin' });
    await store.putIfAbsent('b', [], { cause: 'admin' });
    await store.get('a', undefined, { cause: 'admin' });
    await store.head('a', { cause: 'admin' });
    await listAll(store, '');
    await store.delete('a', { cause: 'admin' });
    assert.deepEqual(clock.sleeps, [20, 20, 20, 20, 20, 20, 20]);
  });
});

describe('store URLs', () => {
  it('name a directory, a bucket or nothing', () => {
    assert.deepEqual(parseStoreUrl('memory:'), { kind: 'memory' });
    assert.deepEqual(parseStoreUrl('file:data'), { kind: 'file', directory: 'data' });
    assert.deepEqual(parseStoreUrl('file:/srv/a b'), { kind: 'file', directory: '/srv/a b' });
    assert.deepEqual(parseStoreUrl('file:///srv'), { kind: 'file', directory: '/srv' });
    assert.deepEqual(parseStoreUrl('s3://bucket'), { kind: 's3', bucket: 'bucket', prefix: '' });
    assert.deepEqual(parseStoreUrl('s3://my.bucket-1/a/b/'), {
      kind: 's3',
      bucket: 'my.bucket-1',
      prefix: 'a/b',
    });
  });

  it('say what is wrong', () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ['', /expected file:DIR/],
      ['/srv/data', /expected file:DIR/],
      ['http://x', /expected file:DIR/],
      ['memory:x', /nothing may follow/],
      ['file:', /directory is missing/],
      ['file://host/x', /names no host/],
      ['s3:bucket', /s3:\/\/bucket\/prefix/],
      ['s3://', /bucket is missing/],
      ['s3:///x', /bucket is missing/],
      ['s3://AB/x', /no bucket name/],
      ['s3://ab', /no bucket name/],
      ['s3://bucket/a//b', /not a valid object key/],
      ['s3://bucket/../b', /not a valid object key/],
      ['s3://bucket/x?y', /queries/],
    ];
    for (const [url, message] of cases) {
      assert.throws(
        () => parseStoreUrl(url),
        (error) => isStorageError(error, 'invalid') && message.test(error.message),
        url,
      );
    }
  });

  it('never repeat credentials', () => {
    assert.throws(
      () => parseStoreUrl('s3://KEY:hunter2@bucket'),
      (error) => error instanceof Error && !error.message.includes('hunter2'),
    );
  });

  it('are parsed or refused, whatever they hold', () => {
    const anyUrl = fc.tuple(fc.constantFrom('', 's3://', 'file:', 's3://b/'), fc.string());
    fc.assert(
      fc.property(anyUrl, ([scheme, rest]) => {
        try {
          parseStoreUrl(scheme + rest);
        } catch (error) {
          assert.ok(isStorageError(error, 'invalid'));
        }
      }),
    );
  });
});
