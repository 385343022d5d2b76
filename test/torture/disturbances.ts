// What is done to the system while it works.
//
//   survives   shorter than every time limit: nobody above varve may notice, and work goes on
//   crash      varve dies, everything above it with it; it must come back with all acknowledged
//   may crash  either; when the database is gone afterwards, it is treated as a crash

import { setTimeout as sleep } from 'node:timers/promises';
import type { Rng } from '../../src/base/rng.ts';
import type { Darkness } from '../support/fault-proxy.ts';
import type { ProxySettingsInput } from '../support/fault-proxy-plan.ts';
import type { Options } from './options.ts';
import { emptyState, fillState } from './small-state.ts';
import { type Network, REQUEST_SECONDS_MAX, type World } from './world.ts';

export interface Disturbance {
  readonly name: string;
  readonly outcome: 'survives' | 'crash' | 'may crash';
  readonly needs?: 'network' | 'journal';
  /** Takes minutes: only when it is asked for. */
  readonly slow?: true;
  /**
   * Resolves with details for people when its fault is over; after a crash only the store runs, and
   * may still be disturbed.
   */
  run(context: Context): Promise<string>;
}

export interface Context {
  readonly world: World;
  readonly rng: Rng;
}

/** Far below what a request waits. */
const OUTAGE_SECONDS_MAX = 12;

/** What a bad network does; black holes cost a whole attempt (30 s), so they are rare. */
const NOISE: ProxySettingsInput = {
  faults: {
    slowDown: 0.05,
    internalError: 0.03,
    cutBefore: 0.03,
    cutDuring: 0.04,
    cutAfter: 0.03,
    cutResponse: 0.05,
    duplicate: 0.05,
    late: 0.03,
    loseReply: 0.08,
    blackHole: 0.0002,
  },
  latencyMs: 2,
  jitterMs: 20,
  lateMs: 1500,
};

const STORM: ProxySettingsInput = {
  faults: { slowDown: 0.5, tooMany: 0.25, internalError: 0.1 },
};

export const DISTURBANCES: readonly Disturbance[] = [
  {
    name: 'kill',
    outcome: 'crash',
    async run({ world }) {
      await world.crash();
      return 'kill -9 of varve';
    },
  },
  {
    name: 'kill-recovery',
    outcome: 'crash',
    async run({ world, rng }) {
      await world.crash();
      const recovered = world.machine.recover().catch(() => {});
      const seconds = await pause(world, rng, 0.5, 5);
      // Recovery fails with its device, wherever it was; or it was quicker, and this is one crash
      // more.
      await world.server.kill9();
      await recovered;
      await world.crash();
      return `kill -9 of varve, and again ${seconds} into recovery`;
    },
  },
  {
    name: 'kill-postgres',
    outcome: 'crash',
    async run({ world, rng }) {
      await world.machine.postgres.stop('immediate');
      const seconds = await pause(world, rng, 0, 0.5);
      await world.crash();
      return `PostgreSQL stopped at once, kill -9 of varve ${seconds} later`;
    },
  },
  {
    name: 'kill-noise',
    outcome: 'crash',
    needs: 'network',
    async run({ world, rng }) {
      networkOf(world).proxy.set(NOISE);
      const seconds = await pause(world, rng, 0.5, 3);
      await world.crash();
      return `kill -9 of varve ${seconds} into a bad network, recovery in it`;
    },
  },
  {
    name: 'kill-dark',
    outcome: 'crash',
    needs: 'network',
    async run({ world, rng }) {
      const { proxy } = networkOf(world);
      const how = anyDarkness(rng);
      await proxy.dark(how);
      const seconds = await pause(world, rng, 0, 3);
      await world.crash();
      await proxy.light();
      return `kill -9 of varve ${seconds} into an outage (${how})`;
    },
  },
  {
    name: 'kill-both',
    outcome: 'crash',
    needs: 'network',
    async run({ world }) {
      const { gateway } = networkOf(world);
      await Promise.all([gateway.kill(), world.crash()]);
      await gateway.start();
      return 'kill -9 of the S3 server and of varve';
    },
  },
  {
    name: 'store-killed',
    outcome: 'survives',
    needs: 'network',
    async run({ world, rng }) {
      const { gateway } = networkOf(world);
      await gateway.kill();
      const seconds = await pause(world, rng, 0.5, 5);
      await gateway.start();
      return `kill -9 of the S3 server, back after ${seconds}`;
    },
  },
  {
    name: 'dark',
    outcome: 'survives',
    needs: 'network',
    async run({ world, rng }) {
      const { proxy } = networkOf(world);
      const how = anyDarkness(rng);
      await proxy.dark(how);
      const seconds = await pause(world, rng, 1, OUTAGE_SECONDS_MAX);
      await proxy.light();
      return `outage (${how}) of ${seconds}`;
    },
  },
  {
    name: 'cuts',
    outcome: 'survives',
    needs: 'network',
    async run({ world, rng }) {
      let connections = 0;
      const times = 10 + Math.floor(rng.float() * 20);
      for (let i = 0; i < times; i++) {
        connections += networkOf(world).proxy.cut();
        await pause(world, rng, 0.01, 0.3);
      }
      return `${times} times all connections cut, ${connections} in all`;
    },
  },
  withSettings('storm', STORM),
  withSettings('noise', NOISE),
  withSettings('slow', { latencyMs: 100, jitterMs: 400, bytesPerSecond: 2_000_000 }),
  {
    name: 'long-dark',
    outcome: 'may crash',
    needs: 'network',
    slow: true,
    async run({ world, rng }) {
      const { proxy } = networkOf(world);
      await proxy.dark('refuse');
      const seconds = await pause(world, rng, REQUEST_SECONDS_MAX + 5, REQUEST_SECONDS_MAX + 20);
      await proxy.light();
      return `outage of ${seconds}, longer than any request is tried`;
    },
  },
  {
    name: 'journal-full',
    outcome: 'may crash',
    needs: 'journal',
    async run({ world, rng }) {
      const leaveBytes = Math.floor(rng.float() * 256) * 1024;
      await fillState(world.server, leaveBytes);
      const seconds = await pause(world, rng, 1, 6);
      await emptyState(world.server);
      return `${leaveBytes / 1024} KiB left for the journal during ${seconds}`;
    },
  },
];

function withSettings(name: string, settings: ProxySettingsInput): Disturbance {
  return {
    name,
    outcome: 'survives',
    needs: 'network',
    async run({ world, rng }) {
      const { proxy } = networkOf(world);
      proxy.set(settings);
      const seconds = await pause(world, rng, 3, 8);
      proxy.set({});
      return `${name} of ${seconds}`;
    },
  };
}

/** Those that make sense with these options, by name when names were given. */
export function disturbancesFor(options: Options): readonly Disturbance[] {
  const fit = DISTURBANCES.filter(
    ({ needs }) =>
      needs === undefined ||
      (needs === 'network' ? options.store === 's3' : options.tier === 'journal'),
  );
  const names = new Set(options.kinds);
  const chosen = fit.filter(({ name, slow }) => (names.size === 0 ? !slow : names.has(name)));
  const known = new Set(chosen.map(({ name }) => name));
  for (const name of names) {
    if (known.has(name)) continue;
    throw new Error(`no disturbance ${name} here: ${fit.map((one) => one.name).join(', ')}`);
  }
  return chosen;
}

function networkOf({ ground }: World): Network {
  if (ground.network === undefined) throw new Error('there is no network to a directory');
  return ground.network;
}

function anyDarkness(rng: Rng): Darkness {
  return (['refuse', 'reset', 'blackHole'] as const)[Math.floor(rng.float() * 3)]!;
}

/** Resolves with how long it was, for people. */
export async function pause(world: World, rng: Rng, min: number, max: number): Promise<string> {
  const seconds = min + rng.float() * (max - min);
  await sleep(seconds * 1000, undefined, { signal: world.ground.signal });
  return `${seconds.toFixed(1)} s`;
}
