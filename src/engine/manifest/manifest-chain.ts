// Loading and extending a branch's chain of manifests. PUT-if-absent of the next number is the only
// compare-and-swap in the system: who loses it learns that someone else has moved on.

import { isStorageError, StorageError } from '../../base/errors.ts';
import type { Rng } from '../../base/rng.ts';
import { envelopeVersion, openEnvelope, sealEnvelope } from '../../codec/envelope.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { ObjectStore, RequestCause } from '../../objectstore/object-store.ts';
import { manifestName, manifestPrefix, numberOf } from '../format/names.ts';
import {
  decodeManifest,
  encodeManifest,
  MANIFEST_MAGIC,
  MANIFEST_VERSION,
  MANIFEST_VERSIONS,
  type Manifest,
} from './manifest.ts';

export interface ManifestAt {
  readonly number: number;
  readonly manifest: Manifest;
}

export interface ManifestChain {
  /** The highest manifest; `corrupt` when the branch has none, `notFound` for a deleted branch. */
  load(): Promise<ManifestAt>;
  /** One that is kept. `notFound`. */
  loadNumber(number: number, cause: RequestCause): Promise<Manifest>;
  /** The highest number that is taken, 0 for none; only those above `after` are looked at. */
  highest(cause: RequestCause, after?: number): Promise<number>;
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
  async function highest(cause: RequestCause, after = 0): Promise<number> {
    let number = 0;
    const from = after === 0 ? {} : { startAfter: manifestName(branch, after) };
    for await (const page of store.list(manifestPrefix(branch), { cause, ...from })) {
      for (const object of page) number = Math.max(number, numberOf(object.key) ?? 0);
    }
    return number;
  }
  async function loadNumber(number: number, cause: RequestCause): Promise<Manifest> {
    const name = manifestName(branch, number);
    const { bytes } = await store.get(name, undefined, { cause });
    const expected = { magic: MANIFEST_MAGIC, versions: MANIFEST_VERSIONS, name };
    const plain = openEnvelope(keyring, expected, bytes);
    return decodeManifest(plain, envelopeVersion(MANIFEST_MAGIC, name, bytes), name);
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
    highest,
    loadNumber,
    async load() {
      for (let attempt = 1; ; attempt++) {
        const number = await highest('open');
        if (number === 0) {
          throw new StorageError(
            'corrupt',
            `branch ${branch} has no manifest; restore its objects`,
          );
        }
        try {
          const manifest = await loadNumber(number, 'open');
          if (!manifest.deleted) return { number, manifest };
        } catch (error) {
          if (!isStorageError(error, 'notFound') || attempt === LOAD_ATTEMPTS) throw error;
          continue;
        }
        throw new StorageError('notFound', `branch ${branch} was deleted`);
      }
    },
    publish: (number, manifest, cause) => prepare(number, manifest)(cause),
  };
}
