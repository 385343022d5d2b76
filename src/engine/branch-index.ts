// The branch index: names of branches and their ids. Sealed, numbered and immutable as manifests
// are; the highest number is the truth. Changed by PUT-if-absent of the next number, by any writer.

import { isStorageError, StorageError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import { openEnvelope, sealEnvelope } from '../codec/envelope.ts';
import type { Keyring } from '../codec/keyring.ts';
import type { ObjectStore, RequestCause } from '../objectstore/object-store.ts';
import { BRANCH_INDEX_PREFIX, branchIndexName, numberOf } from './format/names.ts';

const INDEX_MAGIC = 'VARVEBRX';
const INDEX_VERSION = 1;

export interface BranchIndex {
  /** 0: there is none yet. */
  readonly number: number;
  /** Name → branch id. */
  readonly branches: ReadonlyMap<string, string>;
}

export function newBranchId(rng: Rng): string {
  return Buffer.from(rng.bytes(6)).toString('hex');
}

export async function readBranchIndex(
  store: ObjectStore,
  keyring: Keyring,
  cause: RequestCause,
): Promise<BranchIndex> {
  let number = 0;
  for await (const page of store.list(BRANCH_INDEX_PREFIX, { cause })) {
    for (const { key } of page) number = Math.max(number, numberOf(key) ?? 0);
  }
  if (number === 0) return { number, branches: new Map() };
  return { number, branches: await readBranchIndexAt(store, keyring, number, cause) };
}

/** The names and ids of one index. `notFound`, `corrupt`. */
export async function readBranchIndexAt(
  store: ObjectStore,
  keyring: Keyring,
  number: number,
  cause: RequestCause,
): Promise<ReadonlyMap<string, string>> {
  const name = branchIndexName(number);
  const { bytes } = await store.get(name, undefined, { cause });
  const identity = { magic: INDEX_MAGIC, versions: [INDEX_VERSION], name };
  const plain = openEnvelope(keyring, identity, bytes);
  return decodeBranches(plain, name);
}

/** A JSON list of [name, id]. */
export function encodeBranches(branches: ReadonlyMap<string, string>): Uint8Array {
  return Buffer.from(JSON.stringify([...branches]));
}

/** `corrupt` for what `encodeBranches` does not make. */
export function decodeBranches(plain: Uint8Array, what: string): ReadonlyMap<string, string> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(plain).toString('utf8'));
  } catch (cause) {
    throw new StorageError('corrupt', `${what} is not JSON`, { cause });
  }
  if (!Array.isArray(parsed) || !parsed.every(isBranch)) {
    throw new StorageError('corrupt', `${what} is no list of branches`);
  }
  return new Map(parsed);
}

function isBranch(entry: unknown): entry is [name: string, id: string] {
  return (
    Array.isArray(entry) && entry.length === 2 && entry.every((part) => typeof part === 'string')
  );
}

/** `exists` when the number is taken. */
export async function putBranchIndex(
  store: ObjectStore,
  keyring: Keyring,
  rng: Rng,
  { number, branches }: BranchIndex,
): Promise<void> {
  const name = branchIndexName(number);
  const plain = encodeBranches(branches);
  const identity = { magic: INDEX_MAGIC, version: INDEX_VERSION, name };
  const sealed = sealEnvelope(keyring, rng, identity, plain, 'none');
  await store.putIfAbsent(name, [sealed], { cause: 'admin' });
}

/**
 * Publishes what `change` makes of the newest index; undefined leaves it as it is. `change` is
 * asked again when another writer was faster. Old indexes stay: they are small and few.
 */
export async function changeBranchIndex(
  store: ObjectStore,
  keyring: Keyring,
  rng: Rng,
  change: (branches: ReadonlyMap<string, string>) => Map<string, string> | undefined,
): Promise<void> {
  for (;;) {
    const { number, branches } = await readBranchIndex(store, keyring, 'admin');
    const changed = change(branches);
    if (changed === undefined) return;
    try {
      await putBranchIndex(store, keyring, rng, { number: number + 1, branches: changed });
      return;
    } catch (error) {
      if (!isStorageError(error, 'exists')) throw error;
    }
  }
}
