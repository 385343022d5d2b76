import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeRequest, statusPayload } from '../../../test/nbd/client-codec.ts';
import {
  copyRequest,
  createRequest,
  decodeBlockStatusPayload,
  decodeRequest,
  requestBytes,
} from './request.ts';

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

test('every header that a client can encode is decoded, at any place in a buffer', () => {
  const fields = fc.record({
    flags: fc.nat(0xffff),
    type: fc.nat(0xffff),
    cookie: u64,
    offset: u64,
    length: u64,
  });
  fc.assert(
    fc.property(fields, fc.boolean(), fc.nat(40), (sent, extended, at) => {
      const length = extended ? sent.length : sent.length & 0xffffffffn;
      const header = encodeRequest({ ...sent, length }, extended);
      assert.equal(header.length, requestBytes(extended));
      const bytes = Buffer.concat([Buffer.alloc(at, 0xff), header]);
      const got = createRequest();
      assert.ok(decodeRequest(new DataView(bytes.buffer, bytes.byteOffset), at, extended, got));
      assert.equal(got.flags, sent.flags);
      assert.equal(got.type, sent.type);
      assert.equal((BigInt(got.cookieHigh) << 32n) | BigInt(got.cookieLow), sent.cookie);
      assert.equal((BigInt(got.offsetHigh) << 32n) | BigInt(got.offsetLow), sent.offset);
      assert.equal(got.offset, Number(sent.offset));
      assert.equal(got.length, Number(length));
      assert.deepEqual(copyRequest(got), got);
    }),
  );
});

test('a magic of the other kind, or none, is told', () => {
  const got = createRequest();
  for (const extended of [false, true]) {
    const bytes = Buffer.concat([encodeRequest({ type: 0 }, !extended), Buffer.alloc(8)]);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    assert.equal(decodeRequest(view, 0, extended, got), false);
  }
});

test('status payloads: whole ones are read, odd lengths and repeated ids are not', () => {
  const ids = fc.uniqueArray(fc.nat(0xffffffff), { maxLength: 20 });
  fc.assert(
    fc.property(fc.nat(), ids, (length, contexts) => {
      const payload = statusPayload(length, contexts);
      assert.deepEqual(decodeBlockStatusPayload(payload), { length, contexts });
      if (contexts.length === 0) return;
      assert.equal(decodeBlockStatusPayload(payload.subarray(0, payload.length - 1)), undefined);
      const twice = statusPayload(length, [...contexts, contexts[0]!]);
      assert.equal(decodeBlockStatusPayload(twice), undefined);
    }),
  );
  assert.equal(decodeBlockStatusPayload(Buffer.alloc(4)), undefined);
});
