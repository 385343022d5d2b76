// Every setting, once: its key in varve.toml, its flag, its default, its check.
// docs/configuration.md is this table for people, and a test compares the two.
//
//   flags ──┐
//           ├─ each checked on its own, so that a complaint names the flag or the file's line
//   file ───┘  merged (a flag wins; volumes are merged by name), defaults filled in → Settings

import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { messageOf, StorageError } from '../base/errors.ts';
import type { ConfigFile, ConfigPath } from './config-file.ts';
import { parseNbdAddress } from '../server/nbd/address.ts';
import { checkSecurity, exportTree, httpSchema, SECURE_PATHS } from './secure-settings.ts';
import { type SecureSettings, tlsSchema, toHttp, toTls } from './secure-settings.ts';
import { journalSchema, ON_FAILURE, type JournalSettings, toJournal } from './journal-settings.ts';
import { parseSize } from './size.ts';
import { timeoutSchema, type TimeoutSettings, toTimeouts } from './timeout-settings.ts';

export const DURABILITIES = ['store', 'journal'] as const;
export const CIPHERS = ['chacha20-poly1305', 'aes-256-gcm'] as const;
export const COMPRESSIONS = ['lz4', 'zstd', 'none'] as const;
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export const LOG_FORMATS = ['pretty', 'json'] as const;

/** Runs one of our parsers inside the schema: its message becomes the schema's complaint. */
function parsedBy<In, Out>(parse: (value: In) => Out): (value: In, ctx: z.RefinementCtx) => Out {
  return (value, ctx) => {
    try {
      return parse(value);
    } catch (error) {
      ctx.addIssue({ code: 'custom', message: messageOf(error) });
      return z.NEVER;
    }
  };
}

const size = z.union([z.string(), z.number()], 'expected a size like "10G"');
const text = z.string().min(1, 'must not be empty');
const bytes = size.transform(parsedBy(parseSize));
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

/**
 * Which commands take a setting as a flag: `client` is every command that talks to a running
 * server, `offline` every one that works on the store itself.
 */
export type SettingUser = 'serve' | 'init' | 'client' | 'offline' | 'journal';

export interface SettingSpec {
  readonly key: string;
  readonly flag: string;
  readonly meaning: string;
  readonly users: readonly SettingUser[];
  readonly repeatable?: boolean;
}

const ALL: readonly SettingUser[] = ['serve', 'init', 'client', 'offline', 'journal'];
const OPENERS: readonly SettingUser[] = ['serve', 'init', 'offline', 'journal'];

/** The flag of every key; help texts are made from it. */
export const SETTING_SPECS: readonly SettingSpec[] = [
  spec('store', '--store <url>', 'file:DIR, s3://BUCKET/PREFIX or memory:', OPENERS),
  spec('branch', '--branch <name>', 'branch to write (default: main)', ['serve']),
  spec('state', '--state <dir>', 'local state, admin.sock (default: ./varve-state)', [
    'serve',
    'client',
    'journal',
  ]),
  spec('durability', '--durability <tier>', 'when a barrier is acknowledged (default: store)', [
    'serve',
  ]),
  spec('journal.bytes_max', '--journal-bytes-max <size>', 'journal the store may lack', ['serve']),
  spec('journal.seconds_max', '--journal-seconds-max <s>', 'how far the store may trail', [
    'serve',
  ]),
  spec('journal.on_failure', '--journal-on-failure <what>', ON_FAILURE.join(' or '), ['serve']),
  spec('abandon-journal', '--abandon-journal', 'go on without the journal of the branch', [
    'serve',
  ]),
  spec('accept-rollback', '--accept-rollback', 'the bucket is older than it was', ['serve']),
  spec('timeout.read', '--read-timeout <s>', 'how long a read waits for the store', ['serve']),
  spec('timeout.write', '--write-timeout <s>', 'how long a barrier waits for the store', ['serve']),
  spec('passphrase-file', '--passphrase-file <file>', 'instead of VARVE_PASSPHRASE', OPENERS),
  spec('read-only', '--read-only', 'serve what is there, change nothing', ['serve']),
  spec('snapshot', '--snapshot <name>', 'serve this snapshot, with --read-only', ['serve']),
  many('nbd', '--nbd <address>', 'serve NBD on HOST:PORT or unix:PATH; may be repeated'),
  spec('insecure', '--insecure', 'let other machines in without TLS', ['serve']),
  spec('tls.cert', '--tls-cert <file>', 'certificate of this server, PEM', ['serve']),
  spec('tls.key', '--tls-key <file>', 'its key, PEM', ['serve']),
  spec('tls.client-ca', '--tls-client-ca <file>', 'clients need a certificate of this CA', [
    'serve',
  ]),
  spec('tls.psk-file', '--tls-psk-file <file>', 'clients need a key of it: USER:HEX lines', [
    'serve',
  ]),
  many('tls.exports', '--tls-export <user=name>', 'who may open what; may be repeated'),
  spec('http.listen', '--http <address>', 'serve HTTP (control, metrics) on HOST:PORT', ['serve']),
  spec('http.tls', '--http-tls <on|off>', 'default: on when there is a certificate', ['serve']),
  spec('http.token-file', '--http-token-file <file>', 'requests need the token in it', ['serve']),
  many('volumes', '--volume <name=size>', 'make this volume if it is missing; may be repeated'),
  spec('init.cipher', '--cipher <name>', CIPHERS.join(' or '), ['init']),
  spec('init.compression', '--compression <name>', COMPRESSIONS.join(', '), ['init']),
  spec('cache.memory', '--cache-memory <size>', 'plaintext cache (default: 256M)', ['serve']),
  spec('cache.disk', '--cache-disk <size>', 'cache in the state directory (default: 0, none)', [
    'serve',
  ]),
  spec('s3.endpoint', '--s3-endpoint <url>', 'another S3 server, path-style', OPENERS),
  spec('s3.region', '--s3-region <name>', 'instead of AWS_REGION', OPENERS),
  spec('log.level', '--log-level <level>', `${LOG_LEVELS.join(', ')} (default: info)`, ALL),
  spec('log.format', '--log-format <format>', 'pretty or json (default: pretty)', OPENERS),
];

function spec(
  key: string,
  flag: string,
  meaning: string,
  users: readonly SettingUser[],
): SettingSpec {
  return { key, flag, meaning, users };
}

function many(key: string, flag: string, meaning: string): SettingSpec {
  return { key, flag, meaning, users: ['serve'], repeatable: true };
}

/**
 * Flag values by setting key, as the command line gave them: a string, or a list for a repeatable
 * one.
 */
export type FlagValues = Readonly<Record<string, string | boolean | readonly string[]>>;

type Tree = Record<string, unknown>;

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

function flagOf(path: ConfigPath): string {
  const names = path.map(String);
  const found = SETTING_SPECS.find((one) =>
    one.key.split('.').every((part, i) => names[i] === part),
  );
  return found === undefined ? names.join('.') : found.flag.split(' ')[0]!;
}

function flagTree(flags: FlagValues): Tree {
  const tree: Tree = {};
  for (const [key, value] of Object.entries(flags)) {
    const path = key.split('.');
    const last = path.pop()!;
    let at = tree;
    for (const part of path) at = (at[part] ??= {}) as Tree;
    if (key === 'volumes') at[last] = volumeTree(value as readonly string[]);
    else if (key === 'tls.exports') at[last] = exportTree(value as readonly string[]);
    else at[last] = value;
  }
  return tree;
}

function volumeTree(values: readonly string[]): Tree {
  return Object.fromEntries(
    values.map((value) => {
      const cut = value.lastIndexOf('=');
      const name = value.slice(0, Math.max(0, cut));
      // The schema would pass it over without a word: to it that is no key.
      if (name === '__proto__') {
        throw new StorageError('invalid', `--volume: "${name}" is no volume name`);
      }
      if (cut > 0) return [name, value.slice(cut + 1)];
      throw new StorageError('invalid', `--volume: "${value}" must be NAME=SIZE, like disk=10G`);
    }),
  );
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
