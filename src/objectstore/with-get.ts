// A store whose `get` is another's, and everything else its own: for layers that only judge what is
// read.

import type { ObjectStore } from './object-store.ts';

export function withGet(store: ObjectStore, get: ObjectStore['get']): ObjectStore {
  return {
    putIfAbsent: (key, body, options) => store.putIfAbsent(key, body, options),
    get,
    head: (key, options) => store.head(key, options),
    list: (prefix, options) => store.list(prefix, options),
    delete: (key, options) => store.delete(key, options),
    close: () => store.close(),
  };
}
