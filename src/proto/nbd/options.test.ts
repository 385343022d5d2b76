import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { contextData, infoData } from '../../../test/nbd/client-codec.ts';
import { isStorageError } from '../../base/errors.ts';
import { STRING_BYTES_MAX } from './constants.ts';
import {
  decodeInfoOption,
  decodeMetaContextOption,
  decodeText,
  encodeServerEntry,
  encodeTextInfo,
} from './options.ts';

const name = fc.string({ unit: 'grapheme', maxLength: 60 }).filter((text) => !text.includes('\0'));
const isInvalid = (error: unknown): boolean => isStorageError(error, 'invalid');

test('INFO data: what is encoded is decoded, every truncation is invalid', () => {
  fc.assert(
    fc.property(name, fc.uniqueArray(fc.nat(0xffff), { maxLength: 9 }), (text, infos) => {
      const data = infoData(text, infos);
      assert.deepEqual(decodeInfoOption(data), { name: text, infos: new Set(infos) });
      for (let cut = 0; cut < data.length; cut++) {
        assert.throws(() => decodeInfoOption(data.subarray(0, cut)), isInvalid);
      }
      assert.throws(() => decodeInfoOption(Buffer.concat([data, Buffer.alloc(1)])), isInvalid);
    }),
  );
});

test('context data: what is encoded is decoded, every truncation is invalid', () => {
  const query = name.map((text) => `ns:${text}`);
  fc.assert(
    fc.property(name, fc.array(query, { maxLength: 5 }), (text, queries) => {
      const data = contextData(text, queries);
      assert.deepEqual(decodeMetaContextOption(data), { name: text, queries });
      for (let cut = 0; cut < data.length; cut += 3) {
        assert.throws(() => decodeMetaContextOption(data.subarray(0, cut)), isInvalid);
      }
    }),
  );
});

test('random bytes are decoded or refused as invalid, never anything else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const decode of [decodeInfoOption, decodeMetaContextOption, decodeText]) {
        try {
          decode(bytes);
        } catch (error) {
          assert.ok(isInvalid(error), String(error));
        }
      }
    }),
    { numRuns: 2000 },
  );
});

test('strings are cut to the limit of the protocol at a whole character', () => {
  const long = '€'.repeat(STRING_BYTES_MAX);
  const data = encodeTextInfo(1, long);
  assert.ok(data.length - 2 <= STRING_BYTES_MAX);
  assert.ok(long.startsWith(decodeText(data.subarray(2))));
  const entry = Buffer.from(encodeServerEntry('a', 'words'));
  assert.equal(entry.toString('latin1'), '\0\0\0\x01awords');
});
