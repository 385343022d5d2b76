// How a thread that fuzzes is watched: before each input it leaves the input in shared memory, and
// counts. A count that stands still while an input runs is a hang, and the input is there to see.
//
//   i32 running │ i32 length │ i32 count │ 0 │ bytes of the input

import type { Watch } from './loop.ts';

const [RUNNING, LENGTH, COUNT] = [0, 1, 2];
const HEADER_BYTES = 16;
/** What is longer is cut: no target makes longer inputs. */
const INPUT_BYTES_MAX = 1024 * 1024;

export function createWatchMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(HEADER_BYTES + INPUT_BYTES_MAX);
}

/** The watched side. */
export function createWatch(memory: SharedArrayBuffer): Watch {
  const words = new Int32Array(memory, 0, HEADER_BYTES / 4);
  const bytes = new Uint8Array(memory, HEADER_BYTES);
  return {
    begin(input) {
      const length = Math.min(input.length, INPUT_BYTES_MAX);
      bytes.set(input.length > length ? input.subarray(0, length) : input);
      words[LENGTH] = length;
      words[COUNT]! += 1;
      Atomics.store(words, RUNNING, 1);
    },
    end() {
      Atomics.store(words, RUNNING, 0);
    },
  };
}

/** The watching side: the input that runs since the last look, if there is one. */
export function createWatcher(memory: SharedArrayBuffer): {
  stuck(): boolean;
  input(): Uint8Array;
} {
  const words = new Int32Array(memory, 0, HEADER_BYTES / 4);
  const bytes = new Uint8Array(memory, HEADER_BYTES);
  let last = -1;
  return {
    stuck() {
      const running = Atomics.load(words, RUNNING) === 1;
      const count = Atomics.load(words, COUNT);
      const same = running && count === last;
      last = running ? count : -1;
      return same;
    },
    input: () => bytes.slice(0, words[LENGTH]),
  };
}
