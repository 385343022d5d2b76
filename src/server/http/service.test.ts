import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StorageError } from '../../base/errors.ts';
import { createMemoryStore } from '../../objectstore/memory.ts';
import { withMeter } from '../../objectstore/metered.ts';
import { statusReport } from './report.ts';
import { createAdminService, type VolumeSource } from './service.ts';

function parts(volumes: Pick<VolumeSource, 'list' | 'usage'>) {
  const store = withMeter(createMemoryStore());
  const none = (): never => assert.fail('not asked for');
  let barriers = 0;
  const database = {
    barrier: () => void (barriers += 1),
    status: () => ({
      branch: 'main',
      epoch: 2,
      durability: 'store',
      acknowledged: 5,
      durable: 4,
      lagBytes: 10,
      lagSeconds: 1,
      barriers,
      cache: { memory: { bytes: 3 } },
    }),
  };
  const service = createAdminService({
    version: '9',
    database,
    meter: store.meter,
    faces: [],
    volumes: { ...volumes, create: none, resize: none, remove: none },
  });
  return { store, service };
}

test('the status adds up the engine, the meter and the volumes', async () => {
  const { store, service } = parts({
    list: () => [{ name: 'disk' }],
    usage: async (name) => ({ name, sizeBytes: 8, usedBytes: 4, description: '' }),
  });
  await store.putIfAbsent('a', [new Uint8Array(10)], { cause: 'barrier' });
  await store.get('a', undefined, { cause: 'read' });
  await service.flush();
  const report = await service.status();
  assert.deepEqual(statusReport.parse(report), report, 'it fits what the client checks');
  assert.deepEqual(report.volumes, [{ name: 'disk', size: 8, used: 4 }]);
  assert.equal(report.barriers, 1);
  const { byCause, ...total } = report.store;
  assert.deepEqual(total, {
    put: 1,
    get: 1,
    list: 0,
    head: 0,
    delete: 0,
    bytesUp: 10,
    bytesDown: 10,
  });
  assert.deepEqual(
    Object.keys(byCause),
    ['barrier', 'read'],
    'causes without requests are left out',
  );
  assert.equal(byCause['barrier']?.bytesUp, 10);
});

test('a volume deleted while they are listed is left out, a failure is not hidden', async () => {
  const failing = (kind: 'notFound' | 'corrupt') =>
    parts({
      list: () => [{ name: 'gone' }],
      usage: async () => {
        throw new StorageError(kind, 'x');
      },
    });
  assert.deepEqual(await failing('notFound').service.listVolumes(), []);
  await assert.rejects(() => failing('corrupt').service.status(), /x/);
});
