import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StorageError } from '../base/errors.ts';
import type { LogFields } from '../base/log.ts';
import { HealthTracker, type StoreHealthStatus } from './health.ts';
import { createManualClock, type ManualClock } from './manual-clock.ts';

const error = new StorageError('unavailable', 'connection refused');

interface Bench {
  readonly clock: ManualClock;
  readonly health: HealthTracker;
  readonly events: readonly { readonly event: string; readonly fields: LogFields }[];
  readonly heard: readonly StoreHealthStatus[];
}

function bench(): Bench {
  const clock = createManualClock();
  const events: { event: string; fields: LogFields }[] = [];
  const note = (event: string, fields: LogFields = {}): void => void events.push({ event, fields });
  const log = { debug: note, info: note, warn: note, error: note };
  const health = new HealthTracker({ clock, log });
  const heard: StoreHealthStatus[] = [];
  health.onChange((status) => heard.push(status));
  return { clock, health, events, heard };
}

/** Attempts that take no time and fail, every `everyMs`. */
function failing({ clock, health }: Bench, count: number, everyMs: number): void {
  for (let i = 0; i < count; i++) {
    clock.advance(everyMs);
    health.failed(error, clock.monotonicMs());
  }
}

describe('the health of a store', () => {
  it('tells once that an outage began, and once that it ended', () => {
    const b = bench();
    b.clock.advance(10_000);
    b.health.answered();
    failing(b, 10, 1000);
    assert.deepEqual(b.health.status(), {
      failing: true,
      sinceMs: 11_000,
      consecutiveFailures: 10,
      lastError: error,
    });
    b.health.answered();
    b.health.answered();
    assert.deepEqual(b.health.status(), {
      failing: false,
      sinceMs: undefined,
      consecutiveFailures: 0,
      lastError: undefined,
    });
    assert.deepEqual(b.events, [
      {
        event: 'store.outage.began',
        fields: { forMs: 2000, failures: 3, kind: 'unavailable', reason: 'connection refused' },
      },
      { event: 'store.outage.ended', fields: { durationMs: 9000, failures: 10 } },
    ]);
    assert.deepEqual(
      b.heard.map((status) => status.failing),
      [true, false],
    );
  });

  it('is no outage when many requests fail at one moment', () => {
    const b = bench();
    failing(b, 64, 0);
    assert.equal(b.health.status().failing, false);
    assert.equal(b.health.status().consecutiveFailures, 64);
    b.health.answered();
    assert.deepEqual(b.events, []);
  });

  it('is no outage while anything is answered', () => {
    const b = bench();
    for (let i = 0; i < 50; i++) {
      failing(b, 3, 600);
      b.health.answered();
    }
    assert.deepEqual(b.heard, []);
  });

  it('counts from the beginning of an attempt that hung, but not from before an answer', () => {
    const one = bench();
    one.clock.advance(30_000);
    one.health.failed(error, 0);
    assert.equal(one.health.status().failing, false, 'a single request that hangs');
    one.health.failed(error, 0);
    assert.deepEqual([one.health.status().failing, one.health.status().sinceMs], [true, 0]);

    const other = bench();
    other.clock.advance(29_000);
    other.health.answered();
    other.clock.advance(1000);
    for (let i = 0; i < 5; i++) other.health.failed(error, 0);
    assert.equal(other.health.status().failing, false);
    assert.equal(other.health.status().sinceMs, 29_000);
  });

  it('tells nobody who no longer listens', () => {
    const b = bench();
    let told = 0;
    const leave = b.health.onChange(() => (told += 1));
    leave();
    failing(b, 5, 1000);
    assert.equal(told, 0);
    assert.equal(b.heard.length, 1);
  });
});
