// The store as clients' reads see it: what they ask for may have been deleted once the lease is
// lost, so they are refused then, before the request and when it found nothing. Opening and
// following are not clients: they read under the lease that they are about to use.

import type { ObjectStore, RequestCause } from '../../objectstore/object-store.ts';
import { withGet } from '../../objectstore/with-get.ts';
import { leaseLostError } from './lease.ts';

const CLIENTS: ReadonlySet<RequestCause> = new Set(['read', 'lookup']);

export function withLease(store: ObjectStore, isLost: () => boolean): ObjectStore {
  return withGet(store, async (key, range, options) => {
    if (!CLIENTS.has(options.cause)) return store.get(key, range, options);
    if (isLost()) throw leaseLostError();
    try {
      return await store.get(key, range, options);
    } catch (error) {
      throw isLost() ? leaseLostError(error) : error;
    }
  });
}
