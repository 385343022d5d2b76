// A store that is `ms` further away: each request, and each page of a listing, takes that much
// longer. For tests and benchmarks that ask what a real network's round trip does.

import type { Clock } from '../base/clock.ts';
import type { ObjectStore } from './object-store.ts';

export function withLatency(store: ObjectStore, clock: Clock, ms: number): ObjectStore {
  return {
    async putIfAbsent(key, body, options) {
      await clock.sleep(ms, options.signal);
      await store.putIfAbsent(key, body, options);
    },
    async get(key, range, options) {
      await clock.sleep(ms, options.signal);
      return await store.get(key, range, options);
    },
    async head(key, options) {
      await clock.sleep(ms, options.signal);
      return await store.head(key, options);
    },
    async *list(prefix, options) {
      for await (const page of store.list(prefix, options)) {
        await clock.sleep(ms, options.signal);
        yield page;
      }
    },
    async delete(key, options) {
      await clock.sleep(ms, options.signal);
      await store.delete(key, options);
    },
    close: () => store.close(),
  };
}
