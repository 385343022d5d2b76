// Objects in a Map: for tests, the simulator and `memory:` stores. Copies on the way in and out, so
// that nobody can change a stored object by its buffer. Nothing survives the process.

import { StorageError } from '../base/errors.ts';
import {
  bodyBytes,
  checkKey,
  checkListPrefix,
  LIST_PAGE_KEYS,
  resolveRange,
  throwIfAborted,
} from './keys.ts';
import type {
  ByteRange,
  GetResult,
  ListOptions,
  ObjectInfo,
  ObjectStore,
  RequestOptions,
} from './object-store.ts';

export interface MemoryStore extends ObjectStore {
  /**
   * The objects themselves: tests flip bytes here, and put or remove objects behind the store's
   * back.
   */
  readonly objects: Map<string, Uint8Array>;
}

export interface MemoryStoreSettings {
  /** Keys per page of a listing. */
  readonly pageKeys?: number;
}

export function createMemoryStore(settings: MemoryStoreSettings = {}): MemoryStore {
  const objects = new Map<string, Uint8Array>();
  const pageKeys = settings.pageKeys ?? LIST_PAGE_KEYS;

  async function putIfAbsent(
    key: string,
    body: readonly Uint8Array[],
    options: RequestOptions,
  ): Promise<void> {
    checkKey(key);
    throwIfAborted(options.signal, `put of ${key}`);
    if (objects.has(key)) throw new StorageError('exists', `object ${key} exists`);
    objects.set(key, joinParts(body));
  }

  async function get(
    key: string,
    range: ByteRange | undefined,
    options: RequestOptions,
  ): Promise<GetResult> {
    checkKey(key);
    throwIfAborted(options.signal, `get of ${key}`);
    const object = objects.get(key);
    if (object === undefined) throw new StorageError('notFound', `no object ${key}`);
    const { start, end } = resolveRange(key, range, object.length);
    return { bytes: object.slice(start, end), objectBytes: object.length };
  }

  async function head(key: string, options: RequestOptions): Promise<ObjectInfo | undefined> {
    checkKey(key);
    throwIfAborted(options.signal, `head of ${key}`);
    const object = objects.get(key);
    return object === undefined ? undefined : { key, bytes: object.length };
  }

  async function* list(
    prefix: string,
    options: ListOptions,
  ): AsyncGenerator<readonly ObjectInfo[]> {
    checkListPrefix(prefix);
    let after = options.startAfter ?? '';
    for (;;) {
      throwIfAborted(options.signal, `list of ${prefix}`);
      // Each page is taken from what is there now, as S3 does: a long listing is no snapshot.
      const keys = [...objects.keys()].filter((key) => key > after && key.startsWith(prefix));
      keys.sort(compareKeys);
      const page = keys.slice(0, pageKeys);
      yield page.map((key) => ({ key, bytes: objects.get(key)!.length }));
      if (keys.length <= pageKeys) return;
      after = page.at(-1)!;
    }
  }

  return {
    objects,
    putIfAbsent,
    get,
    head,
    list,
    async delete(key, options) {
      checkKey(key);
      throwIfAborted(options.signal, `delete of ${key}`);
      objects.delete(key);
    },
    async close() {},
  };
}

function joinParts(body: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(bodyBytes(body));
  let at = 0;
  for (const part of body) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function compareKeys(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
