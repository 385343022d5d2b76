// Loading and extending a branch's chain of manifests. PUT-if-absent of the next number is the only
// compare-and-swap in the system: who loses it learns that someone else has moved on.

import { isStorageError, StorageError } from '../../base/errors.ts';
import type { Rng } from '../../base/rng.ts';
import { openEnvelope, sealEnvelope } from '../../codec/envelope.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { ObjectStore, RequestCause } from '../../objectstore/object-store.ts';
import { manifestName, manifestPrefix, numberOf } from '../format/names.ts';
import {
  decodeManifest,
  encodeManifest,
  MANIFEST_MAGIC,
  MANIFEST_VERSION,
  type Manifest,
} from './manifest.ts';

export interface ManifestAt {
  readonly number: number;
  readonly manifest: Manifest;
}

export interface ManifestChain {
  /** The highest manifest; `corrupt` when the branch has none. */
  load(): Promise<ManifestAt>;
  /**
   * Publishes `manifest` under `number`; `exists` when that number is taken by another writer's.
   */
  publish(number: number, manifest: Manifest, cause: RequestCause): Promise<void>;
  /**
   * As `publish`, in two steps: what this returns may be called again after a failure, and then
   * offers the very same bytes, so that an earlier attempt that landed after all counts as ours.
   */
  prepare(number: number, manifest: Manifest): (cause: RequestCause) => Promise<void>;
}

/**
 * How many times a reader starts again because the manifest that it listed was deleted meanwhile.
 */
const LOAD_ATTEMPTS = 5;

export function createManifestChain(
  store: ObjectStore,
  keyring: Keyring,
  rng: Rng,
  branch: string,
): ManifestChain {
  async function highest(): Promise<number> {
    let number = 0;
    for await (const page of store.list(manifestPrefix(branch), { cause: 'open' })) {
      for (const object of page) number = Math.max(number, numberOf(object.key) ?? 0);
    }
    if (number === 0) {
      throw new StorageError('corrupt', `branch ${branch} has no manifest; restore its objects`);
    }
    return number;
  }
  function prepare(number: number, manifest: Manifest): (cause: RequestCause) => Promise<void> {
    const name = manifestName(branch, number);
    const sealed = sealEnvelope(
      keyring,
      rng,
      { magic: MANIFEST_MAGIC, version: MANIFEST_VERSION, name },
      encodeManifest(manifest),
      'lz4',
    );
    return (cause) => store.putIfAbsent(name, [sealed], { cause });
  }
  return {
    prepare,
    async load() {
      for (let attempt = 1; ; attempt++) {
        const number = await highest();
        const name = manifestName(branch, number);
        try {
          const { bytes } = await store.get(name, undefined, { cause: 'open' });
          const plain = openEnvelope(
            keyring,
            { magic: MANIFEST_MAGIC, versions: [MANIFEST_VERSION], name },
            bytes,
          );
          return { number, manifest: decodeManifest(plain, name) };
        } catch (error) {
          if (!isStorageError(error, 'notFound') || attempt === LOAD_ATTEMPTS) throw error;
        }
      }
    },
    publish: (number, manifest, cause) => prepare(number, manifest)(cause),
  };
}
