import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError } from '../base/assert.ts';
import { isStorageError, StorageError } from '../base/errors.ts';
import { orAbort, SingleFlight } from './single-flight.ts';

test('callers who miss together get the bytes of one fetch', async () => {
  const flights = new SingleFlight<string>();
  const fetch = Promise.withResolvers<string>();
  let fetches = 0;
  const read = (): Promise<string> => {
    const shared = flights.join(2 ** 40, 3);
    if (shared !== undefined) return shared;
    fetches += 1;
    return flights.start(2 ** 40, 3, fetch.promise);
  };
  const readers = [read(), read(), read()];
  assert.equal(flights.size, 1);
  assert.equal(flights.join(2 ** 40, 4), undefined);
  assert.equal(flights.join(0, 3), undefined);
  fetch.resolve('bytes');
  assert.deepEqual(await Promise.all(readers), ['bytes', 'bytes', 'bytes']);
  assert.equal(fetches, 1);
  assert.equal(flights.size, 0);
});

test('whoever learns of a failure finds it forgotten and starts anew', async () => {
  const flights = new SingleFlight<string>();
  const first = Promise.withResolvers<string>();
  const attempt = async (): Promise<string> => {
    try {
      return await (flights.join(1, 1) ?? flights.start(1, 1, first.promise));
    } catch {
      return flights.join(1, 1) ?? flights.start(1, 1, Promise.resolve('second'));
    }
  };
  const readers = [attempt(), attempt()];
  first.reject(new StorageError('unavailable', 'the store is away'));
  assert.deepEqual(await Promise.all(readers), ['second', 'second']);
  assert.equal(flights.size, 0);
});

test('a failure that nobody waits for does not end the process', async () => {
  const flights = new SingleFlight<string>();
  const failed = Promise.reject(new StorageError('unavailable', 'the store is away'));
  assert.equal(flights.start(1, 1, failed), failed);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(flights.join(1, 1), undefined);
});

test('two fetches under one key are a bug; places of settled ones are used again', async () => {
  const flights = new SingleFlight<number>();
  for (let round = 0; round < 3; round++) {
    const fetches = Array.from({ length: 5 }, () => Promise.withResolvers<number>());
    const shared = fetches.map((fetch, key) => flights.start(round, key, fetch.promise));
    assert.throws(() => flights.start(round, 2, Promise.resolve(0)), AssertionError);
    for (const [key, fetch] of fetches.entries()) {
      assert.equal(flights.join(round, key), shared[key]);
      fetch.resolve(round * 10 + key);
    }
    assert.deepEqual(
      await Promise.all(shared),
      [0, 1, 2, 3, 4].map((key) => round * 10 + key),
    );
    assert.equal(flights.size, 0);
  }
});

test('a caller who gives up leaves the others waiting for the same fetch', async () => {
  const fetch = Promise.withResolvers<string>();
  const impatient = new AbortController();
  const patient = new AbortController();
  const gaveUp = orAbort(fetch.promise, impatient.signal);
  const waits = [orAbort(fetch.promise, patient.signal), orAbort(fetch.promise, undefined)];
  impatient.abort();
  await assert.rejects(gaveUp, (error) => isStorageError(error, 'aborted'));
  fetch.resolve('bytes');
  assert.deepEqual(await Promise.all(waits), ['bytes', 'bytes']);
  // A signal that fires late changes nothing, one that has fired already refuses at once.
  patient.abort();
  await assert.rejects(orAbort(fetch.promise, patient.signal), (error) =>
    isStorageError(error, 'aborted'),
  );
});

test('a failure of the fetch reaches every caller as it is', async () => {
  const failure = new StorageError('corrupt', 'a frame does not authenticate');
  const fetch = Promise.withResolvers<string>();
  const waits = [
    orAbort(fetch.promise, new AbortController().signal),
    orAbort(fetch.promise, undefined),
  ];
  fetch.reject(failure);
  for (const result of await Promise.allSettled(waits)) {
    assert.deepEqual(result, { status: 'rejected', reason: failure });
  }
});
