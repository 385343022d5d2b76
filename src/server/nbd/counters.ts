// What the server has done, for status and metrics: plain numbers that only grow.

export interface NbdCounters {
  connections: number;
  reads: number;
  writes: number;
  flushes: number;
  trims: number;
  zeroes: number;
  statuses: number;
  caches: number;
  /** Replies that carried an error. */
  errors: number;
  bytesRead: number;
  bytesWritten: number;
}

export function createCounters(): NbdCounters {
  return {
    connections: 0,
    reads: 0,
    writes: 0,
    flushes: 0,
    trims: 0,
    zeroes: 0,
    statuses: 0,
    caches: 0,
    errors: 0,
    bytesRead: 0,
    bytesWritten: 0,
  };
}
