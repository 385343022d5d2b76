// Exact counts of what a store was asked for, by kind of request and by cause: what the bill is
// made of.
//
// It sits below the retries, so that each attempt counts as the request that it is. A listing
// counts one request per page. Bytes up are those of put attempts, whatever became of them; bytes
// down are those that gets returned.

import { bodyBytes } from './keys.ts';
import type { ObjectStore, RequestCause } from './object-store.ts';

export type RequestKind = 'put' | 'get' | 'head' | 'list' | 'delete';

export interface RequestCount {
  readonly requests: number;
  /** Requests that failed, in whatever way: `exists` and `notFound` are answers, and count too. */
  readonly errors: number;
  /** Up for put, down for get, nothing for the others. */
  readonly bytes: number;
}

/** Plain JSON. */
export interface MeterSnapshot {
  readonly total: Readonly<Record<RequestKind, RequestCount>>;
  readonly byCause: Readonly<Record<RequestCause, Readonly<Record<RequestKind, RequestCount>>>>;
  readonly bytesUp: number;
  readonly bytesDown: number;
}

export interface Meter {
  /** A copy of the counts as they are now. */
  snapshot(): MeterSnapshot;
}

export interface MeteredStore extends ObjectStore {
  readonly meter: Meter;
}

type MutableCount = { -readonly [field in keyof RequestCount]: RequestCount[field] };
type KindCounts = Record<RequestKind, MutableCount>;

/** Wraps `store`; both are one store with one life. */
export function withMeter(store: ObjectStore): MeteredStore {
  const counts: Record<RequestCause, KindCounts> = {
    open: noCounts(),
    barrier: noCounts(),
    flush: noCounts(),
    compaction: noCounts(),
    collection: noCounts(),
    read: noCounts(),
    lookup: noCounts(),
    admin: noCounts(),
  };

  async function counted<T>(count: MutableCount, request: () => Promise<T>): Promise<T> {
    count.requests += 1;
    try {
      return await request();
    } catch (error) {
      count.errors += 1;
      throw error;
    }
  }

  return {
    meter: { snapshot: () => takeSnapshot(counts) },
    async putIfAbsent(key, body, options) {
      const count = counts[options.cause].put;
      count.bytes += bodyBytes(body);
      await counted(count, () => store.putIfAbsent(key, body, options));
    },
    async get(key, range, options) {
      const count = counts[options.cause].get;
      const result = await counted(count, () => store.get(key, range, options));
      count.bytes += result.bytes.length;
      return result;
    },
    head: (key, options) => counted(counts[options.cause].head, () => store.head(key, options)),
    async *list(prefix, options) {
      const count = counts[options.cause].list;
      try {
        for await (const page of store.list(prefix, options)) {
          count.requests += 1;
          yield page;
        }
      } catch (error) {
        // A page that failed was a request too.
        count.requests += 1;
        count.errors += 1;
        throw error;
      }
    },
    delete: (key, options) =>
      counted(counts[options.cause].delete, () => store.delete(key, options)),
    close: () => store.close(),
  };
}

function noCounts(): KindCounts {
  const none = (): MutableCount => ({ requests: 0, errors: 0, bytes: 0 });
  return { put: none(), get: none(), head: none(), list: none(), delete: none() };
}

function takeSnapshot(counts: Record<RequestCause, KindCounts>): MeterSnapshot {
  const total = noCounts();
  for (const kinds of Object.values(counts)) {
    for (const kind of ['put', 'get', 'head', 'list', 'delete'] as const) {
      total[kind].requests += kinds[kind].requests;
      total[kind].errors += kinds[kind].errors;
      total[kind].bytes += kinds[kind].bytes;
    }
  }
  const byCause = structuredClone(counts);
  return { total, byCause, bytesUp: total.put.bytes, bytesDown: total.get.bytes };
}
