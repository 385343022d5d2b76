// The few objects at the root of a store that say what it is and who may read it.
//
//   format.json              version, store id, cipher and compression, creation time, digest
//   keys/<slot id>           the data key, wrapped by a passphrase (codec/key-slot.ts)
//   branches/index/<n>       names → branch ids, sealed; numbered like manifests
//   branches/<id>/manifest/1 the empty first manifest of `main`
//
// They are created in this order, each by PUT-if-absent, and creation that was cut short is taken
// up again: a store is complete when `main` has a manifest.

import { createHash } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { isStorageError, StorageError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import {
  createKeySlot,
  DEFAULT_KEY_SLOT_COST,
  type KeySlotCost,
  openAnyKeySlot,
} from '../codec/key-slot.ts';
import { createKeyring, type Keyring } from '../codec/keyring.ts';
import {
  CIPHER_IDS,
  COMPRESSION_IDS,
  KEY_BYTES,
  type CipherName,
  type CompressionName,
} from '../codec/types.ts';
import type { ObjectStore, RequestCause } from '../objectstore/object-store.ts';
import { FORMAT_NAME, KEYS_PREFIX, manifestPrefix } from './format/names.ts';
import { newBranchId, putBranchIndex, readBranchIndex } from './branch-index.ts';
import { createManifestChain } from './manifest/manifest-chain.ts';
import { FIRST_MANIFEST } from './manifest/manifest.ts';

export const MAIN_BRANCH = 'main';

const FORMAT_VERSION = 1;

export interface StoreFormat {
  readonly version: number;
  readonly storeId: string;
  readonly cipher: CipherName;
  readonly compression: CompressionName;
  readonly createdUnixMs: number;
}

export interface RootComponents {
  readonly store: ObjectStore;
  readonly rng: Rng;
  readonly clock: Clock;
}

export interface InitOptions {
  readonly passphrase: string;
  readonly cipher: CipherName;
  readonly compression: CompressionName;
  /** What trying a passphrase costs; tests choose a cheap one. */
  readonly keySlotCost?: KeySlotCost;
}

export interface StoreRoot {
  readonly format: StoreFormat;
  readonly keyring: Keyring;
}

/**
 * Creates the store. `exists` when there is a complete one; one whose creation was cut short is
 * completed.
 */
export async function initStore(components: RootComponents, options: InitOptions): Promise<void> {
  const { store, rng, clock } = components;
  await proveConditionalPut(store, clock);
  const created = await putFormat(components, options);
  const format = created ?? (await readFormat(store, 'admin'));
  let keyring: Keyring;
  if ((await listAll(store, KEYS_PREFIX, 'admin')).length === 0) {
    const dataKey = rng.bytes(KEY_BYTES);
    const slot = await createKeySlot(rng, {
      dataKey,
      passphrase: options.passphrase,
      storeId: format.storeId,
      label: 'initial',
      createdUnixMs: clock.unixMs(),
      cost: options.keySlotCost ?? DEFAULT_KEY_SLOT_COST,
    });
    await store.putIfAbsent(KEYS_PREFIX + slot.id, [slot.bytes], { cause: 'admin' });
    keyring = createKeyring({ dataKey, storeId: format.storeId, cipher: format.cipher });
  } else {
    ({ keyring } = await openRoot(store, options.passphrase, 'admin'));
  }
  const index = await readBranchIndex(store, keyring, 'admin');
  let id = index.branches.get(MAIN_BRANCH);
  if (id === undefined) {
    id = newBranchId(rng);
    await putBranchIndex(store, keyring, rng, {
      number: 1,
      branches: new Map([[MAIN_BRANCH, id]]),
    });
  }
  if ((await listAll(store, manifestPrefix(id), 'admin')).length > 0) {
    throw new StorageError('exists', 'there is a store already; serve it, or choose another place');
  }
  await createManifestChain(store, keyring, rng, id).publish(1, FIRST_MANIFEST, 'admin');
}

/**
 * A server that ignores `If-None-Match` would let two writers overwrite each other without a word.
 * Throws `invalid` for one.
 */
async function proveConditionalPut(store: ObjectStore, clock: Clock): Promise<void> {
  const name = `probe/${clock.unixMs()}`;
  const options = { cause: 'admin' } as const;
  try {
    await store.putIfAbsent(name, [Buffer.from('first')], options);
    await store.putIfAbsent(name, [Buffer.from('second')], options);
  } catch (error) {
    if (!isStorageError(error, 'exists')) throw error;
    return;
  } finally {
    await store.delete(name, options);
  }
  throw new StorageError(
    'invalid',
    'this object store ignores "If-None-Match: *": two servers could not be told apart; use one ' +
      'that honours conditional PUT',
  );
}

/** The root of an existing store: `notFound` without one, `wrongKey`, `corrupt`. */
export async function openRoot(
  store: ObjectStore,
  passphrase: string,
  cause: RequestCause,
): Promise<StoreRoot> {
  const format = await readFormat(store, cause);
  const names = await listAll(store, KEYS_PREFIX, cause);
  if (names.length === 0) {
    throw new StorageError(
      'corrupt',
      'the store has no key slot: if its creation was cut short, run "varve init" again',
    );
  }
  const slots: Uint8Array[] = [];
  for (const name of names) slots.push((await store.get(name, undefined, { cause })).bytes);
  const dataKey = await openAnyKeySlot(slots, passphrase, format.storeId);
  const { storeId, cipher } = format;
  return { format, keyring: createKeyring({ dataKey, storeId, cipher }) };
}

/** The id of a branch by its name. */
export async function findBranch(
  store: ObjectStore,
  keyring: Keyring,
  name: string,
): Promise<string> {
  const { branches } = await readBranchIndex(store, keyring, 'open');
  const id = branches.get(name);
  if (id !== undefined) return id;
  const known = [...branches.keys()].join(', ');
  throw new StorageError('notFound', `there is no branch "${name}"; there is: ${known || 'none'}`);
}

async function putFormat(
  { store, rng, clock }: RootComponents,
  { cipher, compression }: InitOptions,
): Promise<StoreFormat | undefined> {
  const format: StoreFormat = {
    version: FORMAT_VERSION,
    storeId: Buffer.from(rng.bytes(16)).toString('hex'),
    cipher,
    compression,
    createdUnixMs: clock.unixMs(),
  };
  const text = JSON.stringify({ ...format, digest: digestOf(format) }, undefined, 2);
  try {
    await store.putIfAbsent(FORMAT_NAME, [Buffer.from(text)], { cause: 'admin' });
    return format;
  } catch (error) {
    if (isStorageError(error, 'exists')) return undefined;
    throw error;
  }
}

/** Over the fields in one fixed order: damage to the file is told apart from a wrong passphrase. */
function digestOf(format: StoreFormat): string {
  const { version, storeId, cipher, compression, createdUnixMs } = format;
  const text = JSON.stringify([version, storeId, cipher, compression, createdUnixMs]);
  return createHash('sha256').update(text).digest('hex');
}

async function readFormat(store: ObjectStore, cause: RequestCause): Promise<StoreFormat> {
  let bytes: Uint8Array;
  try {
    ({ bytes } = await store.get(FORMAT_NAME, undefined, { cause }));
  } catch (error) {
    if (!isStorageError(error, 'notFound')) throw error;
    throw new StorageError('notFound', 'there is no varve store here; create it with "varve init"');
  }
  return decodeFormat(bytes);
}

/** The file is in clear, and its digest no secret: what it says is checked like a stranger's. */
function decodeFormat(bytes: Uint8Array): StoreFormat {
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (cause) {
    throw new StorageError('corrupt', `${FORMAT_NAME} is not JSON`, { cause });
  }
  if (!hasFormatFields(parsed) || parsed.digest !== digestOf(parsed)) {
    throw new StorageError('corrupt', `${FORMAT_NAME} is damaged: its digest does not match`);
  }
  if (parsed.version !== FORMAT_VERSION) {
    throw new StorageError(
      'invalid',
      `the store has format version ${parsed.version}, this varve knows ${FORMAT_VERSION}`,
    );
  }
  const { storeId, cipher, compression } = parsed;
  const known = Object.hasOwn(CIPHER_IDS, cipher) && Object.hasOwn(COMPRESSION_IDS, compression);
  if (!known || !/^[0-9a-f]{32}$/.test(storeId)) {
    throw new StorageError('corrupt', `${FORMAT_NAME} names what no varve knows`);
  }
  return parsed;
}

/** Whether the fields that the digest covers are there: as types, not yet as values. */
function hasFormatFields(parsed: unknown): parsed is StoreFormat & { readonly digest: unknown } {
  if (typeof parsed !== 'object' || parsed === null) return false;
  const fields = parsed as Readonly<Record<string, unknown>>;
  return (
    ['storeId', 'cipher', 'compression'].every((name) => typeof fields[name] === 'string') &&
    ['version', 'createdUnixMs'].every((name) => typeof fields[name] === 'number')
  );
}

async function listAll(store: ObjectStore, prefix: string, cause: RequestCause): Promise<string[]> {
  const names: string[] = [];
  for await (const page of store.list(prefix, { cause })) {
    for (const object of page) names.push(object.key);
  }
  return names;
}
