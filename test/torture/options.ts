// What `npm run torture` understands.

import { parseArgs } from 'node:util';

export const USAGE = `usage: npm run torture -- [--rounds N] [--tier store|journal]
  [--store s3|file] [--scale N] [--seed N] [--kinds NAME,NAME...]
`;

export interface Options {
  readonly rounds: number;
  readonly tier: 'store' | 'journal';
  readonly store: 's3' | 'file';
  /** pgbench's: 100,000 accounts each. */
  readonly scale: number;
  /** Of what is done, and of the load; what the machine makes of it is not replayed. */
  readonly seed: number;
  /** Only these disturbances; empty: all that fit. */
  readonly kinds: readonly string[];
}

export function readOptions(args: readonly string[], anySeed: number): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '20' },
      tier: { type: 'string', default: 'store' },
      store: { type: 'string', default: 's3' },
      scale: { type: 'string', default: '5' },
      seed: { type: 'string', default: String(anySeed) },
      kinds: { type: 'string', default: '' },
    },
  });
  const { tier, store } = values;
  if (tier !== 'store' && tier !== 'journal') throw new Error('--tier is store or journal');
  if (store !== 's3' && store !== 'file') throw new Error('--store is s3 or file');
  const count = (name: 'rounds' | 'scale' | 'seed'): number => {
    const value = Number(values[name]);
    if (Number.isSafeInteger(value) && value > 0) return value;
    throw new Error(`--${name} must be a whole number above 0`);
  };
  return {
    rounds: count('rounds'),
    tier,
    store,
    scale: count('scale'),
    seed: count('seed'),
    kinds: values.kinds.split(',').filter(Boolean),
  };
}
