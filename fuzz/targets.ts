// Every target by its name. A new one is a file in targets/ and a line here.

import { StorageError } from '../src/base/errors.ts';
import type { Target } from './target.ts';

type Load = () => Promise<readonly Target[]>;

const records: Load = async () => (await import('./targets/records.ts')).targets;
const manifest: Load = async () => (await import('./targets/manifest.ts')).targets;
const table: Load = async () => (await import('./targets/table.ts')).targets;
const sealed: Load = async () => (await import('./targets/sealed.ts')).targets;
const forged: Load = async () => (await import('./targets/forged.ts')).targets;
const journal: Load = async () => (await import('./targets/journal.ts')).targets;
const root: Load = async () => (await import('./targets/root.ts')).targets;
const codec: Load = async () => (await import('./targets/codec.ts')).targets;
const diskCache: Load = async () => (await import('./targets/disk-cache.ts')).targets;
const s3: Load = async () => (await import('./targets/s3.ts')).targets;
const s3Answer: Load = async () => (await import('./targets/s3-answer.ts')).targets;
const settings: Load = async () => (await import('./targets/settings.ts')).targets;
const admin: Load = async () => (await import('./targets/admin.ts')).targets;
const adminAnswer: Load = async () => (await import('./targets/admin-answer.ts')).targets;
const adminHttp: Load = async () => (await import('./targets/admin-http.ts')).targets;
const http: Load = async () => (await import('./targets/http.ts')).targets;
const nbd: Load = async () => (await import('./targets/nbd.ts')).targets;

const LOADERS: Readonly<Record<string, Load>> = {
  record: records,
  'block-map': records,
  'segment-entry': records,
  'volume-record': records,
  lease: records,
  'branch-index': records,
  manifest,
  'table-block': table,
  'table-index': table,
  'table-filter': table,
  'sealed-envelope': sealed,
  'sealed-frame': sealed,
  'sealed-log': sealed,
  'sealed-table': sealed,
  'sealed-key-slot': sealed,
  'forged-log': forged,
  'forged-table': forged,
  'journal-change': journal,
  'journal-position': journal,
  'sealed-journal': journal,
  format: root,
  'key-slot': root,
  compression: codec,
  'disk-cache': diskCache,
  'disk-cache-summed': diskCache,
  's3-list': s3,
  's3-error': s3,
  's3-answer': s3Answer,
  config: settings,
  flags: settings,
  'admin-route': admin,
  'admin-answer': adminAnswer,
  'admin-client': http,
  'admin-http': adminHttp,
  's3-http': http,
  'nbd-codec': nbd,
  'nbd-connection': nbd,
  'nbd-stream': nbd,
};

export const TARGET_NAMES: readonly string[] = Object.keys(LOADERS);

/** Throws `invalid` for a name that is none. */
export async function loadTarget(name: string): Promise<Target> {
  const load = Object.hasOwn(LOADERS, name) ? LOADERS[name] : undefined;
  const found = (await load?.())?.find((target) => target.name === name);
  if (found !== undefined) return found;
  throw new StorageError('invalid', `no target "${name}"; there is ${TARGET_NAMES.join(', ')}`);
}
