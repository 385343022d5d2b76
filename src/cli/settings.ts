// Every setting, once: its key in varve.toml, its default, its check. Flags: setting-flags.ts.
// docs/configuration.md is this table for people, and a test compares the two.
//
//   flags ──┐
//           ├─ each checked on its own, so that a complaint names the flag or the file's line
//   file ───┘  merged (a flag wins; volumes are merged by name), defaults filled in → Settings

import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { StorageError } from '../base/errors.ts';
import type { ConfigFile, ConfigPath } from './config-file.ts';
import { parseNbdAddress } from '../server/nbd/address.ts';
import { checkSecurity, httpSchema, SECURE_PATHS } from './secure-settings.ts';
import { type SecureSettings, tlsSchema, toHttp, toTls } from './secure-settings.ts';
import { journalSchema, type JournalSettings, toJournal } from './journal-settings.ts';
import { flagOf, flagTree, type FlagValues, type Tree } from './setting-flags.ts';
import {
  CIPHERS,
  COMPRESSIONS,
  DURABILITIES,
  LOG_FORMATS,
  LOG_LEVELS,
  parsedBy,
  sizeLike,
  text,
} from './setting-values.ts';
import { timeoutSchema, type TimeoutSettings, toTimeouts } from './timeout-settings.ts';

const bytes = sizeLike('10G');
const address = text.transform(parsedBy(parseNbdAddress));

const schema = z.strictObject({
  store: text.optional(),
  branch: text.default('main'),
  state: text.default('./varve-state'),
  durability: z.enum(DURABILITIES).default('store'),
  journal: journalSchema,
  'abandon-journal': z.boolean().default(false),
  'accept-rollback': z.boolean().default(false),
  'passphrase-file': text.optional(),
  'read-only': z.boolean().default(false),
  snapshot: text.optional(),
  nbd: z.array(address).default([]),
  timeout: timeoutSchema,
  insecure: z.boolean().default(false),
  tls: tlsSchema,
  http: httpSchema,
  volumes: z.record(text, bytes).default({}),
  init: z
    .strictObject({
      cipher: z.enum(CIPHERS).default('chacha20-poly1305'),
      compression: z.enum(COMPRESSIONS).default('lz4'),
    })
    .prefault({}),
  cache: z.strictObject({ memory: bytes.prefault('256M'), disk: bytes.prefault(0) }).prefault({}),
  s3: z
    .strictObject({ endpoint: z.url({ protocol: /^https?$/ }).optional(), region: text.optional() })
    .prefault({}),
  log: z
    .strictObject({
      level: z.enum(LOG_LEVELS).default('info'),
      format: z.enum(LOG_FORMATS).default('pretty'),
    })
    .prefault({}),
});

export interface VolumeSetting {
  readonly name: string;
  readonly sizeBytes: number;
}

/** What the composition root builds from: plain data, checked. */
export interface Settings extends SecureSettings {
  /** Undefined when neither flag nor file names one; the commands that need it say so. */
  readonly storeUrl: string | undefined;
  readonly branch: string;
  readonly stateDir: string;
  readonly durability: (typeof DURABILITIES)[number];
  readonly journal: JournalSettings;
  readonly timeout: TimeoutSettings;
  /** Goes on without the journal that the branch names, whatever it holds. */
  readonly abandonJournal: boolean;
  /** Opens a branch of which the store shows less than this machine has seen. */
  readonly acceptRollback: boolean;
  readonly passphraseFile: string | undefined;
  /** Serves what the branch holds now; fences nobody, makes no volumes. */
  readonly readOnly: boolean;
  /** What is served instead of the branch's head; only with `readOnly`. */
  readonly snapshot: string | undefined;
  readonly volumes: readonly VolumeSetting[];
  readonly cipher: (typeof CIPHERS)[number];
  readonly compression: (typeof COMPRESSIONS)[number];
  readonly cacheMemoryBytes: number;
  /** 0: no disk cache. */
  readonly cacheDiskBytes: number;
  readonly s3: { readonly endpoint: string | undefined; readonly region: string | undefined };
  readonly logLevel: (typeof LOG_LEVELS)[number];
  readonly logFormat: (typeof LOG_FORMATS)[number];
}

/** Merges, checks, fills in. Throws `invalid`, naming the flag or the file's line. */
export function resolveSettings(flags: FlagValues, file: ConfigFile | undefined): Settings {
  const fromFlags = flagTree(flags);
  check(fromFlags, (path) => `${flagOf(path)}: `);
  if (file !== undefined) check(file.data, (path) => `${file.where(path)}: ${keyOf(path)}: `);
  return toSettings(schema.parse(mergeTrees(file?.data ?? {}, fromFlags)));
}

/**
 * What must fit together where a branch is served. Clients may read the same file: they need not
 * repeat the flags that go with it.
 */
export function checkServeSettings(settings: Settings): void {
  checkSecurity(settings);
  const { snapshot, readOnly } = settings;
  if (snapshot === undefined || readOnly) return;
  const why = `a snapshot cannot be written: say --read-only to serve "${snapshot}"`;
  throw new StorageError('invalid', `${why}, or make a branch from it`);
}

/**
 * Paths in the file are relative to the file, so that it means the same wherever a command runs.
 */
export function anchorPaths(file: ConfigFile, fileName: string): ConfigFile {
  const at = (path: string): string => resolve(dirname(fileName), path);
  const prefixed = (prefix: string, value: unknown): unknown =>
    typeof value === 'string' && value.startsWith(prefix) && value.length > prefix.length
      ? prefix + at(value.slice(prefix.length))
      : value;
  const data: Tree = { ...file.data };
  for (const key of ['state', 'passphrase-file']) {
    if (typeof data[key] === 'string' && data[key] !== '') data[key] = at(data[key]);
  }
  for (const [table, keys] of Object.entries(SECURE_PATHS)) {
    const values = data[table];
    if (!isTree(values)) continue;
    const anchored: Tree = { ...values };
    for (const key of keys) {
      if (typeof anchored[key] === 'string' && anchored[key] !== '') {
        anchored[key] = at(anchored[key]);
      }
    }
    data[table] = anchored;
  }
  data['store'] = prefixed('file:', data['store']);
  if (Array.isArray(data['nbd'])) data['nbd'] = data['nbd'].map((item) => prefixed('unix:', item));
  // An absent key must stay absent: the schema would take `undefined` for a value in the merge.
  if (data['store'] === undefined) delete data['store'];
  return { data, where: (path) => file.where(path) };
}

/** `lead` names the place for a complaint. */
function check(data: unknown, lead: (path: ConfigPath) => string): void {
  const result = schema.safeParse(data);
  if (result.success) return;
  const issue = result.error.issues[0]!;
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const path = unknown === undefined ? issue.path : [...issue.path, unknown];
  const why = unknown === undefined ? issue.message : 'there is no such key';
  throw new StorageError('invalid', `${lead(path)}${why} (see docs/configuration.md)`);
}

function keyOf(path: ConfigPath): string {
  return path.map(String).join('.');
}

function mergeTrees(under: Readonly<Tree>, over: Readonly<Tree>): Tree {
  const merged: Tree = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key];
    merged[key] = isTree(below) && isTree(value) ? mergeTrees(below, value) : value;
  }
  return merged;
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function toSettings(data: z.output<typeof schema>): Settings {
  return {
    storeUrl: data.store,
    branch: data.branch,
    stateDir: resolve(data.state),
    durability: data.durability,
    journal: toJournal(data.journal),
    timeout: toTimeouts(data.timeout),
    abandonJournal: data['abandon-journal'],
    acceptRollback: data['accept-rollback'],
    passphraseFile: data['passphrase-file'],
    readOnly: data['read-only'],
    snapshot: data.snapshot,
    nbd: data.nbd,
    insecure: data.insecure,
    tls: toTls(data.tls),
    http: toHttp(data.http),
    volumes: Object.entries(data.volumes).map(([name, sizeBytes]) => ({ name, sizeBytes })),
    cipher: data.init.cipher,
    compression: data.init.compression,
    cacheMemoryBytes: data.cache.memory,
    cacheDiskBytes: data.cache.disk,
    s3: { endpoint: data.s3.endpoint, region: data.s3.region },
    logLevel: data.log.level,
    logFormat: data.log.format,
  };
}
