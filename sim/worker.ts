// Runs seeds that it is sent, one at a time, in a process of its own.

import { createNewStores } from './new-stores.ts';
import { runSeed, type RunResult } from './scenario.ts';

export interface SeedDone {
  readonly seed: number;
  readonly result?: RunResult;
  readonly failure?: string;
}

const stores = createNewStores();

process.on('message', (seed: number) => {
  runSeed(seed, stores).then(
    (result) => process.send?.({ seed, result } satisfies SeedDone),
    (error: unknown) => {
      const failure = error instanceof Error ? error.message : String(error);
      process.send?.({ seed, failure } satisfies SeedDone);
    },
  );
});
