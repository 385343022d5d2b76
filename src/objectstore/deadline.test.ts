import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, it } from 'node:test';
import { isStorageError, StorageError } from '../base/errors.ts';
import { Deadline } from './deadline.ts';
import { createManualClock } from './manual-clock.ts';

const aborted = new StorageError('aborted', 'gave up');

describe('a deadline', () => {
  it('fires when its time is over, and explains that as unavailable', () => {
    const clock = createManualClock();
    const deadline = new Deadline(clock, undefined);
    deadline.arm(100);
    clock.advance(99);
    assert.equal(deadline.signal.aborted, false);
    assert.equal(deadline.explain(aborted, 'get'), aborted);
    clock.advance(1);
    assert.equal(deadline.signal.aborted, true);
    assert.ok(isStorageError(deadline.explain(aborted, 'get'), 'unavailable'));
    const other = new StorageError('corrupt', 'bad');
    assert.equal(deadline.explain(other, 'get'), other);
  });

  it('fires with the caller, and leaves that as aborted', () => {
    const clock = createManualClock();
    const controller = new AbortController();
    const deadline = new Deadline(clock, controller.signal);
    deadline.arm(100);
    controller.abort();
    clock.advance(100);
    assert.equal(deadline.signal.aborted, true);
    assert.equal(deadline.explain(aborted, 'get'), aborted);
    assert.equal(new Deadline(clock, controller.signal).signal.aborted, true);
  });

  it('counts anew when armed again, and not while disarmed', () => {
    const clock = createManualClock();
    const deadline = new Deadline(clock, undefined);
    deadline.arm(100);
    clock.advance(60);
    deadline.arm(100);
    clock.advance(60);
    deadline.disarm();
    clock.advance(1000);
    assert.equal(deadline.signal.aborted, false);
  });

  it('leaves neither timer nor listener behind', () => {
    const clock = createManualClock();
    const controller = new AbortController();
    const deadline = new Deadline(clock, controller.signal);
    deadline.arm(100);
    deadline.dispose();
    assert.equal(clock.pending(), 0);
    assert.deepEqual(getEventListeners(controller.signal, 'abort'), []);
  });
});
