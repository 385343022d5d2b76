import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStorageError, StorageError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import { createMemoryStore } from '../../objectstore/memory.ts';
import { withMeter } from '../../objectstore/metered.ts';
import { type CollectReport, type OnProgress, statusReport } from './report.ts';
import { createAdminService, type VolumeSource } from './service.ts';
import { COLLECTED } from './testing.ts';

type Collect = (onProgress: OnProgress) => Promise<CollectReport>;

const NO_VOLUMES = { list: () => [], usage: () => assert.fail('there is none') };

function parts(volumes: Pick<VolumeSource, 'list' | 'usage'>, collect?: Collect) {
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
      collection: { movedBytes: 1, deletedObjects: 2, deletedBytes: 3, waits: 4 },
      cache: { memory: { bytes: 3 } },
    }),
    get roots(): never {
      throw new StorageError('readOnly', 'served read-only');
    },
    collect: collect ?? none,
  };
  const warned: string[] = [];
  const service = createAdminService({
    version: '9',
    database,
    meter: store.meter,
    faces: [],
    snapshot: undefined,
    log: { ...silentLog, warn: (event) => void warned.push(event) },
    volumes: { ...volumes, create: none, resize: none, remove: none, restore: none },
  });
  return { store, service, warned };
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

test('what a read-only server cannot do is an error, never a throw in the caller', async () => {
  const { service } = parts(NO_VOLUMES);
  await assert.rejects(service.createSnapshot('x'), /read-only/);
  await assert.rejects(service.listSnapshots(), /read-only/);
  await assert.rejects(service.createBranch('x', undefined), /read-only/);
  await assert.rejects(service.listBranches(), /read-only/);
  await assert.rejects(service.deleteSnapshot('x'), /read-only/);
  await assert.rejects(service.deleteBranch('x'), /read-only/);
});

/** Collections that end when the test says so. */
function passes() {
  const begun: PromiseWithResolvers<CollectReport>[] = [];
  const collect: Collect = () => {
    begun.push(Promise.withResolvers());
    return begun.at(-1)!.promise;
  };
  return { begun, collect };
}

/** Everything that is ready has run. */
function settle(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

test('collections take turns, and one that waits says so', async () => {
  const { begun, collect } = passes();
  const { service } = parts(NO_VOLUMES, collect);
  const { signal } = new AbortController();
  const told: string[] = [];
  const first = service.collect((what) => told.push(what), signal);
  const second = service.collect((what) => told.push(what), signal);
  await settle();
  assert.equal(begun.length, 1);
  assert.deepEqual(told, ['waiting for the collection under way']);
  begun[0]!.resolve(COLLECTED);
  assert.equal(await first, COLLECTED);
  await settle();
  assert.equal(begun.length, 2, 'the second is a pass of its own');
  begun[1]!.reject(new StorageError('unavailable', 'no store'));
  await assert.rejects(second, /no store/);
});

test('who gives up is let go at once; the pass goes on, and its failure is logged', async () => {
  const { begun, collect } = passes();
  const { service, warned } = parts(NO_VOLUMES, collect);
  const controllers = [1, 2, 3].map(() => new AbortController());
  const calls = controllers.map(({ signal }) => service.collect(() => {}, signal));
  await settle();
  controllers[0]!.abort(new StorageError('aborted', 'gone'));
  controllers[1]!.abort(new StorageError('aborted', 'gone'));
  await assert.rejects(calls[0]!, /gone/);
  await assert.rejects(calls[1]!, (error) => isStorageError(error, 'aborted'));
  await settle();
  assert.equal(begun.length, 1, 'the third still waits for the first pass');
  begun[0]!.reject(new StorageError('unavailable', 'no store'));
  await settle();
  assert.deepEqual(warned, ['collection.failed']);
  assert.equal(begun.length, 2, 'the one that gave up while it waited has no pass');
  begun[1]!.resolve(COLLECTED);
  assert.equal(await calls[2]!, COLLECTED);
});
