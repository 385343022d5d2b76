import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isStorageError } from '../base/errors.ts';
import { parseConfig } from './config-file.ts';

const TEXT = `# a comment with a key = inside
store = "file:data"

nbd = [
  "127.0.0.1:10809",
  "unix:x.sock",
]
[cache]
  memory = "1G"
[ "log" ]
level = 'debug'
s3.endpoint = "http://localhost"
[volumes]
"my disk" = "10G"
`;

test('every key is found at the line where it was written', () => {
  const config = parseConfig('varve.toml', TEXT, {});
  const { data } = config;
  assert.equal((data['cache'] as { memory: string }).memory, '1G');
  assert.equal(config.where(['store']), 'varve.toml:2');
  assert.equal(config.where(['nbd']), 'varve.toml:4');
  assert.equal(config.where(['nbd', 1]), 'varve.toml:4');
  assert.equal(config.where(['cache']), 'varve.toml:8');
  assert.equal(config.where(['cache', 'memory']), 'varve.toml:9');
  assert.equal(config.where(['log', 'level']), 'varve.toml:11');
  assert.equal(config.where(['log', 's3', 'endpoint']), 'varve.toml:12');
  assert.equal(config.where(['volumes', 'my disk']), 'varve.toml:14');
});

test('variables are replaced inside strings only, and never twice', () => {
  const text = 'a = "x${ONE}y${TWO}"\nb = ["${ONE}"]\nc = "$${ONE}"\n[d]\ne = "${ONE}"\nn = 5\n';
  const { data } = parseConfig('f', text, { ONE: '1"\nz = 1', TWO: '${ONE}' });
  assert.deepEqual(data, {
    a: 'x1"\nz = 1y${ONE}',
    b: ['1"\nz = 1'],
    c: '${ONE}',
    d: { e: '1"\nz = 1', n: 5 },
  });
});

test('a variable that is not set is an error that names file, line, key and variable', () => {
  assert.throws(
    () => parseConfig('varve.toml', 'a = 1\n[s3]\nendpoint = "${NOPE}"\n', {}),
    /^StorageError: varve\.toml:3: s3\.endpoint uses \$\{NOPE\}, which is not set/,
  );
});

test('bad TOML is an error of one line with file, line and column', () => {
  assert.throws(
    () => parseConfig('varve.toml', 'a = 1\nb = = 2\n', {}),
    (error) =>
      isStorageError(error, 'invalid') &&
      /^varve\.toml:2:\d+: not valid TOML: [^\n]+$/.test(error.message),
  );
});

test('any text is data or invalid', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.constant(TEXT).map((text) => text.slice(3, -9)),
      ),
      (text) => {
        try {
          parseConfig('f', text, {}).where(['store']);
        } catch (error) {
          assert.ok(isStorageError(error, 'invalid'), String(error));
        }
      },
    ),
  );
});

test('keys that go deep, and the one that is no key to a schema, are errors', () => {
  assert.throws(
    () => parseConfig('f', `\nx${'.x'.repeat(5000)} = 1`, {}),
    (error) => isStorageError(error, 'invalid') && /^f:2: .* too deep$/.test(error.message),
  );
  assert.throws(
    () => parseConfig('f', '[volumes]\n__proto__ = "1G"', {}),
    (error) => isStorageError(error, 'invalid') && error.message.startsWith('f:2: __proto__'),
  );
});
