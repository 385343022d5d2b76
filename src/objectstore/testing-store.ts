// What tests of object stores share: bytes, whole listings, failures by their kind.

import assert from 'node:assert/strict';
import { isStorageError, type StorageErrorKind } from '../base/errors.ts';
import type { ObjectInfo, ObjectStore, RequestOptions } from './object-store.ts';

export const options: RequestOptions = { cause: 'admin' };

/** Keys per page of the stores under test: few, so that there are several pages. */
export const PAGE_KEYS = 3;

/** Runs a test on an empty store of its own. */
export type UseStore = (body: (store: ObjectStore) => Promise<void>) => Promise<void>;

/** Asserts that `promise` fails with a StorageError of `kind`. */
export async function rejectsWith(
  promise: Promise<unknown>,
  kind: StorageErrorKind,
): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(isStorageError(error), `not a StorageError: ${String(error)}`);
    assert.equal(error.kind, kind, error.message);
    return true;
  });
}

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Reads a whole listing; checks that each page but the only one holds something. */
export async function listAll(
  store: ObjectStore,
  prefix: string,
  startAfter?: string,
): Promise<readonly (readonly ObjectInfo[])[]> {
  const pages: (readonly ObjectInfo[])[] = [];
  const resume = startAfter === undefined ? {} : { startAfter };
  for await (const page of store.list(prefix, { ...options, ...resume })) pages.push(page);
  assert.ok(pages.length > 0, 'a listing has at least one page');
  return pages;
}

/** The keys of a whole listing. */
export async function keysOf(
  store: ObjectStore,
  prefix: string,
  startAfter?: string,
): Promise<string[]> {
  return (await listAll(store, prefix, startAfter)).flat().map((info) => info.key);
}
