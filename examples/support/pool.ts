// What `zpool status` tells of a pool, and what is waited for with it.

import { until } from '../../test/support/command.ts';
import type { ZfsHost } from './zfs-host.ts';

/** A scrub or a resilver of a test's pool; each reads all that is stored. */
const SCAN_MS_MAX = 600_000;
const ASK_EVERY_MS = 250;
/** ZFS keeps what it frees for two transaction groups more, for an import that goes back. */
const SETTLED_GROUPS = 3;

export interface PoolStatus {
  /** `ONLINE`, `DEGRADED`, `FAULTED`, `UNAVAIL`. */
  readonly state: string;
  /** By the path of a device, or the name of a mirror. */
  readonly devices: ReadonlyMap<string, DeviceStatus>;
  /** The line on the last scrub or resilver, and the one on it under way. */
  readonly scan: string;
  /** Of data that no redundancy could mend. */
  readonly errors: string;
}

export interface DeviceStatus {
  readonly state: string;
  readonly errors: readonly [read: string, write: string, checksum: string];
  /** What a resilver has written to it, to three digits. */
  readonly resilveredBytes: number | undefined;
}

export async function poolStatus(host: ZfsHost, pool: string): Promise<PoolStatus> {
  return parseStatus(await host.zpool('status', '-v', pool));
}

export function parseStatus(text: string): PoolStatus {
  const field = (name: string): string => {
    const match = new RegExp(`^ *${name}: ([^]*?)(?=\\n *[a-z]+:|\\n*$)`, 'm').exec(text);
    return match?.[1]?.replaceAll(/\s+/g, ' ').trim() ?? '';
  };
  const rows = text.matchAll(/^\t *(\S+) +([A-Z]+) +(\d\S*) +(\d\S*) +(\d\S*)(.*)$/gm);
  const devices = [...rows].map(([, name, state, read, write, sum, note]) => {
    const resilveredBytes = bytesOf(/([\d.]+)([KMGT]?) resilvered/.exec(note!));
    return [name!, { state: state!, errors: [read!, write!, sum!], resilveredBytes }] as const;
  });
  const scan = field('scan') === '' ? field('scrub') : field('scan');
  return { state: field('state'), devices: new Map(devices), scan, errors: field('errors') };
}

function bytesOf(match: RegExpExecArray | null): number | undefined {
  if (match === null) return undefined;
  const [, digits, unit] = match;
  return Math.round(Number(digits) * 1024 ** (unit === '' ? 0 : 'KMGT'.indexOf(unit!) + 1));
}

/**
 * Does what makes ZFS scan the pool, which begins a little later. Resolves with the status when
 * that scan is over.
 */
export async function scanned(
  host: ZfsHost,
  pool: string,
  begin: () => Promise<unknown>,
): Promise<PoolStatus> {
  let status = await poolStatus(host, pool);
  const before = status.scan;
  await begin();
  await until(
    `${pool} is scanned`,
    async () => {
      status = await poolStatus(host, pool);
      return status.scan !== before && !status.scan.includes('in progress');
    },
    { timeoutMs: SCAN_MS_MAX, everyMs: ASK_EVERY_MS },
  );
  return status;
}

/**
 * Resolves when what was written before is in the pool, and not only in its intent log, and what
 * was freed before may be written again.
 */
export async function settle(host: ZfsHost, pool: string): Promise<void> {
  for (let group = 0; group < SETTLED_GROUPS; group++) {
    // Setting a property ends with the transaction group that it is in.
    await host.zfs('set', `varve:group=${group}`, pool);
  }
}

/**
 * Nothing of the pool may be in use. zfs-fuse lets go of a file system a moment after it was
 * unmounted, and calls the pool busy until then.
 */
export async function exportPool(host: Pick<ZfsHost, 'zpool'>, pool: string): Promise<void> {
  await until(`${pool} is exported`, async () => {
    try {
      await host.zpool('export', pool);
      return true;
    } catch (error) {
      if (error instanceof Error && error.message.includes('pool is busy')) return false;
      throw error;
    }
  });
}

/** Reads everything and compares its sums. Throws when a byte of it is wrong on any side. */
export async function scrub(host: ZfsHost, pool: string): Promise<PoolStatus> {
  await host.zpool('clear', pool);
  const status = await scanned(host, pool, () => host.zpool('scrub', pool));
  const clean = [...status.devices.values()].every(({ errors }) => errors.every((n) => n === '0'));
  if (clean && status.state === 'ONLINE' && /with 0 errors/.test(status.scan)) return status;
  throw new Error(`the scrub found errors: ${JSON.stringify([status, ...status.devices])}`);
}
