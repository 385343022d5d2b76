import { test } from 'node:test';
import { deepEqual, throws } from 'node:assert/strict';
import fc from 'fast-check';
import { ByteReader, ByteWriter, compareBytes } from '../../base/bytes.ts';
import { isStorageError } from '../../base/errors.ts';
import { decodeDescriptor, encodeDescriptor } from './descriptor.ts';
import type { TableDescriptor } from './descriptor.ts';

const whole = fc.nat({ max: 2 ** 31 - 1 });
const descriptor = fc
  .record({
    id: fc.maxSafeNat(),
    tailBytes: whole,
    more: whole,
    entries: whole,
    keys: fc.tuple(fc.uint8Array({ maxLength: 30 }), fc.uint8Array({ maxLength: 30 })),
  })
  .map(({ id, tailBytes, more, entries, keys }): TableDescriptor => {
    const [firstKey, lastKey] = keys.toSorted(compareBytes) as [Uint8Array, Uint8Array];
    const bytes = tailBytes + more + 1;
    return { id, bytes, tailBytes, entries: entries + 1, firstKey, lastKey };
  });

function encode(table: TableDescriptor): Uint8Array {
  const out = new ByteWriter();
  encodeDescriptor(out, table);
  return out.finish();
}

test('a descriptor comes back as it was written', () => {
  fc.assert(
    fc.property(descriptor, (table) => {
      const reader = new ByteReader(encode(table), 'test');
      deepEqual(decodeDescriptor(reader), table);
      reader.expectEnd();
    }),
  );
});

test('a decoded descriptor does not hold on to the bytes that it came from', () => {
  const bytes = encode({
    id: 1,
    bytes: 100,
    tailBytes: 80,
    entries: 1,
    firstKey: Uint8Array.of(1),
    lastKey: Uint8Array.of(2),
  });
  const table = decodeDescriptor(new ByteReader(Buffer.from(bytes.buffer), 'test'));
  bytes.fill(0);
  deepEqual([table.firstKey[0], table.lastKey[0]], [1, 2]);
});

test('truncated and random bytes are corrupt', () => {
  fc.assert(
    fc.property(descriptor, fc.nat(), (table, cut) => {
      const bytes = encode(table);
      const part = bytes.subarray(0, cut % bytes.length);
      throws(() => decodeDescriptor(new ByteReader(part, 'test')), { kind: 'corrupt' });
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      try {
        decodeDescriptor(new ByteReader(bytes, 'test'));
      } catch (error) {
        if (!isStorageError(error, 'corrupt')) throw error;
      }
    }),
  );
});
