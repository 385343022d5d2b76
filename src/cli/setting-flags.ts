// The flag of every setting, and the way from flags to a tree as varve.toml has it.

import { StorageError } from '../base/errors.ts';
import type { ConfigPath } from './config-file.ts';
import { ON_FAILURE } from './journal-settings.ts';
import { exportTree } from './secure-settings.ts';
import { CIPHERS, COMPRESSIONS, LOG_LEVELS } from './setting-values.ts';

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

/** Values by table and key, as a settings file has them. */
export type Tree = Record<string, unknown>;

/** The flag of a key, for a complaint. */
export function flagOf(path: ConfigPath): string {
  const names = path.map(String);
  const found = SETTING_SPECS.find((one) =>
    one.key.split('.').every((part, i) => names[i] === part),
  );
  return found === undefined ? names.join('.') : found.flag.split(' ')[0]!;
}

export function flagTree(flags: FlagValues): Tree {
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
