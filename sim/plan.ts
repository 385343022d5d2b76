// What one seed runs with: settings that bring every mechanism up after a few kilobytes, faults,
// and how much is done.

import type { CipherName, CompressionName } from '../src/codec/types.ts';
import type { DatabaseSettings } from '../src/engine/db.ts';
import { RETRY_BUDGET } from '../src/objectstore/retry-budget.ts';
import type { RetrySettings } from '../src/objectstore/retry.ts';
import type { Dice } from './dice.ts';
import type { FaultProfile } from './network.ts';

const KIB = 1024;
/** Of all runs. */
const JOURNAL_RATE = 0.7;

/** Of the disk of a machine. */
export interface DiskProfile {
  readonly latencyMsMax: number;
  readonly stallMsMax: number;
  /** Times of trouble begin about so often; 0 for never. */
  readonly troubleEveryMs: number;
  readonly troubleMsMax: number;
}

/** Of a run with the journal tier: what each process draws its own from. */
export interface JournalPlan {
  readonly disk: DiskProfile;
  readonly bytesMax: readonly number[];
  readonly secondsMax: readonly number[];
  readonly onFailure: readonly ('store' | 'fail')[];
  /** A record of a journal must fit a segment of whoever takes it up. */
  readonly segmentBytes: number;
  readonly frameBytes: number;
}

export interface Plan {
  readonly cipher: CipherName;
  readonly compression: CompressionName;
  readonly faults: FaultProfile;
  readonly retry: Omit<RetrySettings, 'clock' | 'rng' | 'log'>;
  readonly operations: number;
  readonly clientsMax: number;
  /** Longest pause of a client between two operations. */
  readonly thinkMsMax: number;
  /** Longest time between two events of the scenario: kill, takeover, close. */
  readonly calmMsMax: number;
  /** Longest pause between two acts of who administers a process. */
  readonly adminMsMax: number;
  readonly volumeBytesMax: number;
  readonly readAheadBytes: number;
  /** Of aligned writes among all. */
  readonly alignedRate: number;
  /** Undefined: every process is of the store tier. */
  readonly journal: JournalPlan | undefined;
}

export function drawPlan(dice: Dice): Plan {
  const faults = drawFaults(dice);
  // Some attempts time out although nothing is wrong, but not so many that nothing gets done.
  const attemptTimeoutMs = faults.latencyMsMax * dice.pick([2, 4, 30]);
  return {
    cipher: dice.pick(['chacha20-poly1305', 'aes-256-gcm']),
    compression: dice.pick([
      'lz4',
      'lz4',
      'lz4',
      'lz4',
      'none',
      'none',
      'none',
      'none',
      'none',
      'zstd',
    ]),
    faults,
    retry: drawRetry(dice, attemptTimeoutMs),
    operations: dice.int(150, 350),
    clientsMax: dice.int(1, 5),
    thinkMsMax: dice.pick([0, 5, 50, 0, 5, 50, 3000]),
    calmMsMax: faults.latencyMsMax * dice.pick([20, 100, 300]),
    adminMsMax: faults.latencyMsMax * dice.pick([10, 50, 200]),
    volumeBytesMax: dice.pick([192, 320, 320, 512, 1024]) * KIB,
    readAheadBytes: dice.pick([0, 256 * KIB]),
    alignedRate: dice.pick([0.2, 0.6, 0.9]),
    journal: dice.chance(JOURNAL_RATE) ? drawJournal(dice) : undefined,
  };
}

function drawJournal(dice: Dice): JournalPlan {
  const frameBytes = dice.pick([4 * KIB, 8 * KIB, 16 * KIB]);
  const trouble = dice.pick([
    { troubleEveryMs: 0, troubleMsMax: 0 },
    { troubleEveryMs: 0, troubleMsMax: 0 },
    { troubleEveryMs: 2000, troubleMsMax: 2000 },
    { troubleEveryMs: 20_000, troubleMsMax: 30_000 },
  ]);
  return {
    disk: {
      latencyMsMax: dice.pick([0, 1, 5, 30]),
      stallMsMax: dice.pick([50, 5000]),
      ...trouble,
    },
    bytesMax: dice.pick([[128 * KIB], [256 * KIB, 512 * KIB], [1024 * KIB, 16 * 1024 * KIB]]),
    secondsMax: dice.pick([[0.2], [2, 10], [60, 300], [300]]),
    onFailure: dice.pick<readonly ('store' | 'fail')[]>([['store'], ['store'], ['fail', 'store']]),
    segmentBytes: frameBytes * dice.pick([2, 3, 6, 12, 24]),
    frameBytes,
  };
}

function drawRetry(dice: Dice, attemptTimeoutMs: number): Plan['retry'] {
  const reading = {
    attemptTimeoutMs: attemptTimeoutMs * dice.pick([0.5, 1]),
    totalDeadlineMs: attemptTimeoutMs * dice.pick([2, 10]),
  };
  // An opening makes many requests, each of which must succeed.
  const opening = { totalDeadlineMs: attemptTimeoutMs * 100 };
  return {
    attemptTimeoutMs,
    totalDeadlineMs: attemptTimeoutMs * dice.pick([3, 10, 50]),
    byCause: { open: opening, ...(dice.chance(0.5) ? {} : { read: reading, lookup: reading }) },
    baseDelayMs: 20,
    maxDelayMs: 500,
    budget: dice.pick([
      RETRY_BUDGET,
      { ...RETRY_BUDGET, tokensMax: 4, retriesPerSecond: 5 },
      { ...RETRY_BUDGET, retriesPerSecond: 100, probesPerSecond: 10 },
    ]),
  };
}

function drawFaults(dice: Dice): FaultProfile {
  const calm = dice.chance(0.25);
  const rate = (max: number): number => (calm ? 0 : dice.rng.float() ** 2 * max);
  const outage = dice.pick([
    { everyMs: 0, msMax: 0 },
    { everyMs: 0, msMax: 0 },
    { everyMs: 3000, msMax: 5000 },
    { everyMs: 20_000, msMax: 60_000 },
    { everyMs: 60_000, msMax: 300_000 },
  ]);
  return {
    latencyMsMax: dice.pick([5, 40, 200]),
    stallMsMax: dice.pick([500, 5000, 60_000]),
    retryAfterMsMax: dice.pick([10, 1000, 60_000]),
    rates: {
      refused: rate(0.1),
      stalled: rate(0.1),
      throttled: rate(0.05),
      hung: rate(0.03),
      slow: rate(0.05),
      lost: rate(0.15),
      late: rate(0.1),
      twice: rate(0.05),
      truncated: rate(0.05),
    },
    outageEveryMs: calm ? 0 : outage.everyMs,
    outageMsMax: outage.msMax,
    // The engine counts on listings that see every change (object-store.ts).
    staleListMsMax: 0,
  };
}

/** Of one process: the next one may have others, as after a change of the configuration. */
export function drawSettings(
  dice: Dice,
  { journal }: Plan,
): Partial<DatabaseSettings> & Pick<DatabaseSettings, 'segmentBytes'> {
  const frameBytes = journal?.frameBytes ?? dice.pick([4 * KIB, 8 * KIB, 16 * KIB]);
  return {
    cacheMemoryBytes: dice.pick([0, 16 * KIB, 64 * KIB, 512 * KIB]),
    segmentBytes: journal?.segmentBytes ?? frameBytes * dice.int(2, 6),
    frameBytes,
    arenas: dice.pick([2, 3, 4, 8, 64]),
    idleCloseMs: dice.pick(journal === undefined ? [5, 100, 1000] : [5, 100, 1000, 20_000]),
    touchedChunksMax: dice.pick([3, 16_384, 16_384]),
    memtableBytes: dice.pick([64 * KIB, 300 * KIB, 600 * KIB]),
    logObjectsMax: dice.pick([4, 12, 30, 200]),
    logBytesMin: dice.pick([8 * KIB, 64 * KIB, 1024 * KIB]),
    idleFlushMs: dice.pick([100, 2000, 60_000]),
    garbageSoft: dice.chance(0.5) ? 0.05 : 0.3,
    garbageHard: 0.4,
    smallSegmentsMax: dice.int(2, 40),
    mapCacheBytes: 16 * KIB,
    frameTableCacheBytes: dice.pick([0, 1024 * KIB]),
    tableCacheBytes: dice.pick([0, 16 * KIB, 256 * KIB]),
  };
}
