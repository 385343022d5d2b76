// A store seen from one folder of another: keys gain `<prefix>/` on the way down and lose it on the
// way up.

import { checkKey } from './keys.ts';
import type { ObjectInfo, ObjectStore } from './object-store.ts';

/**
 * `prefix` has no leading or trailing slash; the empty one gives `store` itself. Closing closes
 * `store`.
 */
export function withPrefix(store: ObjectStore, prefix: string): ObjectStore {
  if (prefix === '') return store;
  checkKey(prefix);
  const folder = `${prefix}/`;
  const strip = (info: ObjectInfo): ObjectInfo => ({
    key: info.key.slice(folder.length),
    bytes: info.bytes,
  });
  return {
    putIfAbsent: (key, body, options) => store.putIfAbsent(folder + key, body, options),
    get: (key, range, options) => store.get(folder + key, range, options),
    async head(key, options) {
      const info = await store.head(folder + key, options);
      return info === undefined ? undefined : strip(info);
    },
    async *list(keyPrefix, options) {
      const { startAfter } = options;
      const inner = startAfter === undefined ? {} : { startAfter: folder + startAfter };
      for await (const page of store.list(folder + keyPrefix, { ...options, ...inner })) {
        yield page.map(strip);
      }
    },
    delete: (key, options) => store.delete(folder + key, options),
    close: () => store.close(),
  };
}
