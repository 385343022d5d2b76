// Tells a waiting person what is going on: nothing in the first second, then a line on stderr,
// rewritten in place on a terminal and repeated about every second elsewhere.

import type { Clock } from '../base/clock.ts';

/** Short work needs no words; this is about when a person starts to wonder. */
const QUIET_MS = 1000;
const REPEAT_MS = 1000;
const REWRITE_MS = 200;

export interface Progress {
  /** A new piece of work begins, and ends the one before it: "replaying the log". */
  begin(what: string): void;
  /** How far it is. Cheap: called per object, printed now and then. */
  update(done: number, total?: number, unit?: string): void;
  /** The work is over. */
  end(): void;
}

export interface ProgressOutput {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

export const silentProgress: Progress = { begin: () => {}, update: () => {}, end: () => {} };

export function createProgress(clock: Clock, output: ProgressOutput): Progress {
  const rewrites = output.isTTY === true;
  let what = '';
  let count = '';
  let startedMs = 0;
  let shown = false;
  let cancel: () => void = () => {};

  function show(): void {
    const seconds = Math.round((clock.monotonicMs() - startedMs) / 1000);
    const line = `varve: ${what}${count}, ${seconds} s`;
    output.write(rewrites ? `\r\u001b[2K${line}` : `${line}\n`);
    shown = true;
    cancel = clock.after(rewrites ? REWRITE_MS : REPEAT_MS, show);
  }

  function end(): void {
    cancel();
    cancel = () => {};
    // A terminal's line is wiped: what comes next starts on a clean one.
    if (shown && rewrites) output.write('\r\u001b[2K');
    shown = false;
    count = '';
  }

  return {
    begin(next) {
      end();
      what = next;
      startedMs = clock.monotonicMs();
      cancel = clock.after(QUIET_MS, show);
    },
    update(done, total, unit = 'objects') {
      count = total === undefined ? `: ${done} ${unit}` : `: ${done} of ${total} ${unit}`;
    },
    end,
  };
}
