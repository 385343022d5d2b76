// What people write: varve.toml, and the values of flags.

import { parseConfig } from '../../src/cli/config-file.ts';
import { SETTING_SPECS } from '../../src/cli/setting-flags.ts';
import { anchorPaths, resolveSettings } from '../../src/cli/settings.ts';
import { parseSize } from '../../src/cli/size.ts';
import { isStorageError } from '../../src/base/errors.ts';
import { parseStoreUrl } from '../../src/objectstore/url.ts';
import { bucketAddress } from '../../src/objectstore/s3/address.ts';
import { formatNbdAddress, parseNbdAddress } from '../../src/server/nbd/address.ts';
import { expect, expectEqual, type Target } from '../target.ts';

const FILE = `store = "s3://bucket/prefix"
branch = 'main'
nbd = ["127.0.0.1:10809", "unix:/run/varve.sock"]
read-only = false
volumes.other = "512M"
[volumes]
disk = "10G"
"a b" = 4096
[cache]
memory = "1.5G"
disk = "\${SIZE}"
[s3]
endpoint = "http://localhost:9000"
[log]
level = "info"
format = "json"
[init]
cipher = "aes-256-gcm"
`;
const SMALL = 'store = "file:data"\nvolumes = { disk = "1G" }\nstate = "$${HOME}"\n';

const WORDS = [
  ...SETTING_SPECS.flatMap(({ key }) => key.split('.')),
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  '"',
  '\\',
  '"""',
  "'''",
  '[',
  ']',
  '[[',
  ']]',
  '{',
  '}',
  '= ',
  '.',
  ',',
  '\n',
  '\r\n',
  '#',
  'true',
  'false',
  'inf',
  'nan',
  '1e308',
  '0x7fffffffffffffff',
  '9007199254740993',
  '1979-05-27T07:32:00Z',
  '${SIZE}',
  '${NONE}',
  '$${',
  '\\u0000',
  '\\ud800',
  '1G',
  '10T',
  '8P',
  '-1',
  '0.5K',
  'unix:',
  '[::1]',
  ':65536',
  's3://',
  'file:',
  'memory:',
  'http://',
  '@',
  '%00',
  '\u0000',
  '\ufeff',
  'x.x.x.x.x.x.x.x.',
];

/** Nobody's keys may end up in the prototype of everything. */
const PROTOTYPE_KEYS = Reflect.ownKeys(Object.prototype).length;

function expectNoPollution(): void {
  expect(Reflect.ownKeys(Object.prototype).length === PROTOTYPE_KEYS, 'prototypes stay clean');
  expect(({} as Record<string, unknown>)['disk'] === undefined, 'a new object is empty');
}

function runConfig(input: Uint8Array): void {
  try {
    const text = new TextDecoder().decode(input);
    const file = parseConfig('varve.toml', text, { SIZE: '2G' });
    const given = anchorPaths(file, '/etc/varve/varve.toml');
    const settings = resolveSettings({}, given);
    const { volumes } = given.data;
    const names = typeof volumes === 'object' && volumes !== null ? Object.keys(volumes) : [];
    expectEqual(
      settings.volumes.map(({ name }) => name).toSorted(),
      names.toSorted(),
      'the volumes of a file',
    );
    expect(settings.cacheMemoryBytes >= 0, 'a cache has a size');
  } finally {
    expectNoPollution();
  }
}

/**
 * `key=value` in lines, each a flag and a message; every value also goes to each parser alone. That
 * all together are refused is right, too.
 */
function runFlags(input: Uint8Array): number {
  const flags: Record<string, string | string[]> = {};
  const lines = new TextDecoder().decode(input).split('\n');
  for (const line of lines) {
    const cut = line.indexOf('=');
    const key = line.slice(0, Math.max(0, cut));
    const value = line.slice(cut + 1);
    attempt(() => parseValue(value));
    const spec = SETTING_SPECS.find((one) => one.key === key);
    if (spec === undefined) continue;
    const before = flags[key];
    if (spec.repeatable === true) flags[key] = Array.isArray(before) ? [...before, value] : [value];
    else flags[key] = value;
  }
  try {
    attempt(() => {
      const { volumes } = resolveSettings(flags, undefined);
      const asked = Array.isArray(flags['volumes']) ? flags['volumes'] : [];
      const names = new Set(asked.map((one) => one.slice(0, one.lastIndexOf('='))));
      expectEqual(volumes.length, names.size, 'the count of volumes that flags name');
    });
  } finally {
    expectNoPollution();
  }
  return lines.length;
}

function attempt(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!isStorageError(error, 'invalid')) throw error;
  }
}

function parseValue(value: string): void {
  attempt(() => {
    const bytes = parseSize(value);
    expect(Number.isSafeInteger(bytes) && bytes >= 0, 'a size is a count of bytes');
    expectEqual(parseSize(String(bytes)), bytes, 'a size in bytes');
  });
  attempt(() => {
    const address = parseNbdAddress(value);
    expectEqual(parseNbdAddress(formatNbdAddress(address)), address, 'an address');
  });
  attempt(() => {
    const location = parseStoreUrl(value);
    if (location.kind !== 's3') return;
    const { bucket, prefix } = location;
    const url = `s3://${bucket}${prefix === '' ? '' : '/'}${prefix}`;
    expectEqual(parseStoreUrl(url), location, 'a store URL');
  });
  attempt(() => {
    const settings = { endpoint: value, region: 'here', addressing: 'virtual' } as const;
    expect(URL.canParse(bucketAddress('bucket', settings).origin), 'a bucket has an origin');
  });
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

export const targets: readonly Target[] = [
  {
    name: 'config',
    kinds: ['invalid'],
    seeds: () => [encode(FILE), encode(SMALL)],
    words: WORDS,
    // The schema of a file costs some memory by itself.
    bytesMax: 64 * 1024,
    memoryBytes: 8 * 1024 * 1024,
    run: runConfig,
  },
  {
    name: 'flags',
    kinds: ['invalid'],
    memoryBytes: 32 * 1024 * 1024,
    seeds: () => [
      encode('store=s3://bucket/a/b\nvolumes=disk=10G\nnbd=[::1]:10809\nnbd=unix:/run/x'),
      encode('cache.memory=1.5G\ns3.endpoint=http://localhost:9000\nlog.level=debug\nbranch=x'),
    ],
    words: WORDS,
    run: runFlags,
  },
];
