import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '../base/clock.ts';
import { createProgress } from './progress.ts';

/** A clock that moves when told, and then runs what is due. */
function handClock(): { readonly clock: Clock; advance(ms: number): void; timers(): number } {
  let now = 0;
  let timers: { at: number; run: () => void }[] = [];
  const clock: Clock = {
    monotonicMs: () => now,
    unixMs: () => now,
    sleep: () => Promise.resolve(),
    yieldTurn: () => Promise.resolve(),
    after(ms, run) {
      const timer = { at: now + ms, run };
      timers.push(timer);
      return () => {
        timers = timers.filter((one) => one !== timer);
      };
    },
  };
  return {
    clock,
    timers: () => timers.length,
    advance(ms) {
      const end = now + ms;
      for (;;) {
        const next = timers.filter((one) => one.at <= end).sort((a, b) => a.at - b.at)[0];
        if (next === undefined) break;
        timers = timers.filter((one) => one !== next);
        now = next.at;
        next.run();
      }
      now = end;
    },
  };
}

test('work of less than a second says nothing', () => {
  const { clock, advance, timers } = handClock();
  const written: string[] = [];
  const progress = createProgress(clock, { write: (text) => written.push(text) });
  progress.begin('opening');
  advance(900);
  progress.begin('replaying');
  progress.update(5, 10);
  advance(900);
  progress.end();
  advance(10_000);
  assert.deepEqual(written, []);
  assert.equal(timers(), 0);
});

test('longer work prints a line about every second, with counts', () => {
  const { clock, advance } = handClock();
  const written: string[] = [];
  const progress = createProgress(clock, { write: (text) => written.push(text) });
  progress.begin('replaying the log');
  advance(1000);
  progress.update(3, 9);
  advance(1000);
  progress.update(4, undefined, 'tables');
  advance(1000);
  progress.end();
  assert.deepEqual(written, [
    'varve: replaying the log, 1 s\n',
    'varve: replaying the log: 3 of 9 objects, 2 s\n',
    'varve: replaying the log: 4 tables, 3 s\n',
  ]);
});

test('a terminal has one line, wiped at the end', () => {
  const { clock, advance } = handClock();
  const written: string[] = [];
  const progress = createProgress(clock, { isTTY: true, write: (text) => written.push(text) });
  progress.begin('opening');
  advance(1200);
  progress.end();
  assert.ok(written.length > 1);
  assert.ok(written.every((text) => text.startsWith('\r\u001b[2K') && !text.includes('\n')));
  assert.equal(written.at(-1), '\r\u001b[2K');
});
