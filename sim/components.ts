// What one simulated process gives the engine: a retried, metered view of the faulty store, its own
// clock and choices, a log that goes into the trace.

import type { Clock } from '../src/base/clock.ts';
import type { Log } from '../src/base/log.ts';
import { createInlineSealer } from '../src/codec/sealer.ts';
import type { DatabaseComponents } from '../src/engine/db.ts';
import { withMeter } from '../src/objectstore/metered.ts';
import { withRetry } from '../src/objectstore/retry.ts';
import type { Dice } from './dice.ts';
import type { StoreClient } from './faulty-store.ts';
import type { Seat } from './seat.ts';
import type { Simulation } from './simulation.ts';

export interface Actor extends StoreClient {
  readonly simulation: Simulation;
  readonly clock: Clock;
  readonly dice: Dice;
  trace(what: string): void;
  readonly seat?: Seat | undefined;
}

export function createComponents(actor: Actor): DatabaseComponents {
  const { simulation, clock, dice } = actor;
  const { store, plan, inspector } = simulation;
  const { root } = inspector;
  const note = (event: string, fields: Readonly<Record<string, unknown>> = {}): void => {
    actor.trace(`${event} ${JSON.stringify(fields)}`);
    simulation.note(event, fields);
  };
  const log: Log = { debug: () => {}, info: note, warn: note, error: note };
  const { rng } = dice.fork();
  const retrying = { clock, log, rng: dice.fork().rng, ...plan.retry };
  const retried = withRetry(withMeter(store.view(actor)), retrying);
  const journalDisk = actor.seat?.machine.disk;
  return { store: retried, sealer: createInlineSealer(), clock, rng, log, root, journalDisk };
}
