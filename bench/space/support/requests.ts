// What a step cost at the store: the difference of two status reports.

import type { StatusReport, StoreCounts } from '../../../src/server/http/report.ts';

type Store = StatusReport['store'];

/** Between two reports of one process. Causes without requests are left out. */
export function requestsBetween(before: Store, after: Store): Store {
  const byCause: Record<string, StoreCounts> = {};
  for (const [cause, counts] of Object.entries(after.byCause)) {
    const own = difference(before.byCause[cause], counts);
    if (total(own) > 0) byCause[cause] = own;
  }
  return { ...difference(before, after), byCause };
}

export function total({ put, get, list, head, delete: deleted }: StoreCounts): number {
  return put + get + list + head + deleted;
}

/** `barrier 1 put, manifest 1 put 1 get`. */
export function describeCauses(store: Store): string {
  const kinds = ['put', 'get', 'list', 'head', 'delete'] as const;
  const parts = Object.entries(store.byCause).map(([cause, counts]) => {
    const used = kinds.filter((kind) => counts[kind] > 0);
    return `${cause} ${used.map((kind) => `${counts[kind]} ${kind}`).join(' ')}`;
  });
  return parts.length === 0 ? 'none' : parts.join(', ');
}

function difference(before: StoreCounts | undefined, after: StoreCounts): StoreCounts {
  return {
    put: after.put - (before?.put ?? 0),
    get: after.get - (before?.get ?? 0),
    list: after.list - (before?.list ?? 0),
    head: after.head - (before?.head ?? 0),
    delete: after.delete - (before?.delete ?? 0),
    bytesUp: after.bytesUp - (before?.bytesUp ?? 0),
    bytesDown: after.bytesDown - (before?.bytesDown ?? 0),
  };
}
