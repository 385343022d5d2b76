import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { isStorageError } from '../base/errors.ts';
import { systemClock, systemRng } from '../base/system.ts';
import { describeStore } from './conformance.ts';
import { bytesOf, listAll, rejectsWith } from './testing-store.ts';
import { fileError } from './directory-errors.ts';
import { DirectorySync } from './directory-sync.ts';
import { createDirectoryStore, TEMPORARY_AGE_MAX_MS } from './directory.ts';
import type { ObjectStore } from './object-store.ts';

const options = { cause: 'admin' } as const;

async function open(root: string, pageKeys = 1000): Promise<ObjectStore> {
  return await createDirectoryStore({ root, rng: systemRng, clock: systemClock, pageKeys });
}

async function withDirectory(body: (root: string) => Promise<void>): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'varve-directory-'));
  try {
    await body(root);
  } finally {
    await rm(root, { recursive: true });
  }
}

describeStore('the directory store', async ({ pageKeys }) => {
  const root = await mkdtemp(join(tmpdir(), 'varve-directory-'));
  return { store: await open(root, pageKeys), cleanUp: () => rm(root, { recursive: true }) };
});

describe('the directory store', () => {
  it('makes its root, and keeps objects over a reopen', async () => {
    await withDirectory(async (parent) => {
      const root = join(parent, 'store');
      const first = await open(root);
      await first.putIfAbsent('a/b/c', [bytesOf('kept')], options);
      await first.close();
      const second = await open(root);
      const { bytes } = await second.get('a/b/c', undefined, options);
      assert.equal(Buffer.from(bytes).toString(), 'kept');
      await rejectsWith(second.putIfAbsent('a/b/c', [bytesOf('kept')], options), 'exists');
    });
  });

  it('leaves no temporary file behind, whether the put wins or loses', async () => {
    await withDirectory(async (root) => {
      const store = await open(root);
      await store.putIfAbsent('k', [bytesOf('x')], options);
      await rejectsWith(store.putIfAbsent('k', [bytesOf('y')], options), 'exists');
      assert.deepEqual(await readdir(join(root, '.tmp')), []);
    });
  });

  it('removes old temporary files at open, and neither lists nor removes young ones', async () => {
    await withDirectory(async (root) => {
      await open(root);
      const old = (Date.now() - TEMPORARY_AGE_MAX_MS - 60_000) / 1000;
      await writeFile(join(root, '.tmp', 'old'), 'x');
      await utimes(join(root, '.tmp', 'old'), old, old);
      await writeFile(join(root, '.tmp', 'young'), 'x');
      const store = await open(root);
      assert.deepEqual(await readdir(join(root, '.tmp')), ['young']);
      assert.deepEqual(await listAll(store, ''), [[]]);
      await rejectsWith(store.get('.tmp/young', undefined, options), 'invalid');
      await rejectsWith(store.delete('.tmp/young', options), 'invalid');
    });
  });

  it('makes a folder again that somebody removed', async () => {
    await withDirectory(async (root) => {
      const store = await open(root);
      await store.putIfAbsent('a/b/1', [bytesOf('x')], options);
      await rm(join(root, 'a'), { recursive: true });
      await rejectsWith(store.putIfAbsent('a/b/2', [bytesOf('y')], options), 'unavailable');
      await store.putIfAbsent('a/b/2', [bytesOf('y')], options);
      assert.deepEqual((await listAll(store, ''))[0], [{ key: 'a/b/2', bytes: 1 }]);
    });
  });

  it('refuses a key that continues another, or that others continue', async () => {
    await withDirectory(async (root) => {
      const store = await open(root);
      await store.putIfAbsent('a/b', [bytesOf('x')], options);
      await rejectsWith(store.putIfAbsent('a/b/c', [bytesOf('x')], options), 'invalid');
      await rejectsWith(store.putIfAbsent('a', [bytesOf('x')], options), 'invalid');
    });
  });

  it('two stores on one root race like two processes', async () => {
    await withDirectory(async (root) => {
      const stores = [await open(root), await open(root), await open(root)];
      for (let round = 0; round < 20; round++) {
        const key = `d${round}/k`;
        const outcomes = await Promise.allSettled(
          stores.map((store, i) => store.putIfAbsent(key, [bytesOf(String(i))], options)),
        );
        assert.equal(outcomes.filter((outcome) => outcome.status === 'fulfilled').length, 1);
      }
    });
  });

  it('sees a file that was cut short as a smaller object, never as zeroes', async () => {
    await withDirectory(async (root) => {
      const store = await open(root);
      await store.putIfAbsent('k', [bytesOf('0123456789')], options);
      await truncate(join(root, 'k'), 4);
      const { bytes, objectBytes } = await store.get('k', { start: 2, end: 8 }, options);
      assert.deepEqual([Buffer.from(bytes).toString(), objectBytes], ['23', 4]);
    });
  });

  it('gives objects to their owner only', async () => {
    await withDirectory(async (root) => {
      const store = await open(root);
      await store.putIfAbsent('k', [bytesOf('x')], options);
      assert.equal((await stat(join(root, 'k'))).mode & 0o777, 0o600);
    });
  });
});

describe('directory syncs', () => {
  it('share one fsync among all that come while another runs', async () => {
    await withDirectory(async (root) => {
      const syncs = new DirectorySync();
      await Promise.all(Array.from({ length: 50 }, () => syncs.sync(root)));
      // The first one, and one for the 49 that came after it had begun.
      assert.equal(syncs.count, 2);
      await syncs.sync(root);
      assert.equal(syncs.count, 3);
    });
  });

  it('fail for all who share them, and work again afterwards', async () => {
    await withDirectory(async (root) => {
      const syncs = new DirectorySync();
      const missing = join(root, 'missing');
      const outcomes = await Promise.allSettled([syncs.sync(missing), syncs.sync(missing)]);
      assert.deepEqual(
        outcomes.map((outcome) => outcome.status),
        ['rejected', 'rejected'],
      );
      await syncs.sync(root);
    });
  });
});

describe('file system errors', () => {
  function meaningOf(code: string): readonly [string, boolean] {
    const error = fileError(Object.assign(new Error(code), { code }), 'put of k');
    assert.ok(isStorageError(error));
    return [error.kind, error.retryable];
  }

  it('map to kinds', () => {
    assert.deepEqual(meaningOf('ENOSPC'), ['noSpace', true]);
    assert.deepEqual(meaningOf('EDQUOT'), ['noSpace', true]);
    assert.deepEqual(meaningOf('EACCES'), ['denied', false]);
    assert.deepEqual(meaningOf('EROFS'), ['denied', false]);
    assert.deepEqual(meaningOf('ENOENT'), ['notFound', false]);
    assert.deepEqual(meaningOf('EIO'), ['unavailable', true]);
    assert.deepEqual(meaningOf('EMFILE'), ['unavailable', true]);
  });

  it('leave other errors alone', () => {
    const error = new TypeError('a bug');
    assert.equal(fileError(error, 'put of k'), error);
  });
});
