import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { isStorageError } from '../base/errors.ts';
import { createSeededRng } from '../base/rng.ts';
import { createKeySlot, openAnyKeySlot, openKeySlot, readKeySlot } from './key-slot.ts';
import { KEY_SLOT_COST_MAX } from './key-slot.ts';
import type { KeySlotRequest } from './key-slot.ts';

const rng = createSeededRng(4);
const dataKey = createSeededRng(5).bytes(32);
// The least that Argon2 takes: these tests are about the slot, not about the cost.
const cheap = { memoryKiB: 8, passes: 1, parallelism: 1 };
const request: KeySlotRequest = {
  dataKey,
  passphrase: 'correct horse',
  storeId: 'store',
  label: 'created by a test',
  createdUnixMs: 1_700_000_000_123,
  cost: cheap,
};

async function slotOf(change: Partial<KeySlotRequest> = {}): Promise<Uint8Array> {
  return (await createKeySlot(rng, { ...request, ...change })).bytes;
}

/** The slot as an attacker changes it: with a digest that matches again. */
function forged(slot: Uint8Array, change: (bytes: Uint8Array, view: DataView) => void): Uint8Array {
  const bytes = Uint8Array.from(slot);
  change(bytes, new DataView(bytes.buffer));
  const digest = createHash('sha256').update(bytes.subarray(0, -32)).digest();
  bytes.set(digest, bytes.length - 32);
  return bytes;
}

const isCorrupt = (error: unknown): boolean => isStorageError(error, 'corrupt');
const isWrongKey = (error: unknown): boolean => isStorageError(error, 'wrongKey');
const isInvalid = (error: unknown): boolean => isStorageError(error, 'invalid');

test('a slot gives the data key back to its passphrase, and says in clear what it is', async () => {
  const { id, bytes } = await createKeySlot(rng, request);
  assert.deepEqual(await openKeySlot(bytes, 'correct horse', 'store'), dataKey);
  assert.deepEqual(readKeySlot(bytes), {
    id,
    label: 'created by a test',
    createdUnixMs: 1_700_000_000_123,
    cost: cheap,
  });
  assert.match(id, /^[0-9a-f]{24}$/);
  assert.equal(bytes.length, 154 + 'created by a test'.length);
  assert.equal(Buffer.from(bytes).indexOf(dataKey), -1);
});

test('a wrong passphrase, or the slot of another store, is wrongKey', async () => {
  const slot = await slotOf();
  await assert.rejects(openKeySlot(slot, 'correct horsf', 'store'), isWrongKey);
  await assert.rejects(openKeySlot(slot, 'correct horse', 'elsewhere'), isWrongKey);
});

test('the same words in another Unicode form open the slot', async () => {
  const slot = await slotOf({ passphrase: 'caf\u00e9 \ufb01n' });
  assert.deepEqual(await openKeySlot(slot, 'cafe\u0301 fin', 'store'), dataKey);
});

test('an empty or malformed passphrase is refused', async () => {
  const slot = await slotOf();
  for (const passphrase of ['', '\ud800']) {
    await assert.rejects(slotOf({ passphrase }), isInvalid);
    await assert.rejects(openKeySlot(slot, passphrase, 'store'), isInvalid);
  }
});

test('every flipped bit and every truncation of a slot is damage, not wrongKey', async () => {
  const slot = await slotOf();
  for (let bit = 0; bit < slot.length * 8; bit++) {
    slot[bit >> 3]! ^= 1 << (bit & 7);
    assert.throws(() => readKeySlot(slot), isCorrupt);
    slot[bit >> 3]! ^= 1 << (bit & 7);
  }
  for (let length = 0; length < slot.length; length++) {
    assert.throws(() => readKeySlot(slot.subarray(0, length)), isCorrupt);
  }
  await assert.rejects(openKeySlot(slot.subarray(1), 'correct horse', 'store'), isCorrupt);
});

test('a forged slot never opens, whichever byte was changed', async () => {
  const slot = await slotOf();
  const positions = Array.from({ length: slot.length - 32 }, (_, i) => i);
  // Memory, passes and lanes have a test of their own: some changes there are costly but allowed.
  for (const at of positions.filter((position) => position < 12 || position >= 24)) {
    const bytes = forged(slot, (copy) => (copy[at]! ^= 1));
    await assert.rejects(
      openKeySlot(bytes, 'correct horse', 'store'),
      (error) => isCorrupt(error) || isWrongKey(error),
    );
  }
  const weaker = forged(slot, (_, view) => view.setUint32(16, 2, true));
  await assert.rejects(openKeySlot(weaker, 'correct horse', 'store'), isWrongKey);
});

test('a slot that asks for too much or too little work is refused before any is done', async () => {
  const slot = await slotOf();
  const asks = (at: number, value: number): Uint8Array =>
    forged(slot, (_, view) => view.setUint32(at, value, true));
  const refused = [
    asks(12, 0xffff_ffff),
    asks(12, KEY_SLOT_COST_MAX.memoryKiB + 1),
    asks(12, 7),
    asks(16, 0),
    asks(16, KEY_SLOT_COST_MAX.passes + 1),
    asks(20, 0),
    asks(20, 2),
    asks(20, KEY_SLOT_COST_MAX.parallelism + 1),
  ];
  for (const bytes of refused) {
    await assert.rejects(openKeySlot(bytes, 'correct horse', 'store'), isCorrupt);
  }
});

test('any one of several slots opens the store; damaged ones are passed over', async () => {
  const first = await slotOf({ passphrase: 'first' });
  const second = await slotOf({ passphrase: 'second' });
  const damaged = Uint8Array.from(first).fill(0, 100, 110);
  const slots = [damaged, first, second];
  assert.deepEqual(await openAnyKeySlot(slots, 'second', 'store'), dataKey);
  assert.deepEqual(await openAnyKeySlot(slots, 'first', 'store'), dataKey);
  await assert.rejects(openAnyKeySlot(slots, 'third', 'store'), isWrongKey);
  await assert.rejects(openAnyKeySlot([damaged], 'first', 'store'), isCorrupt);
  await assert.rejects(openAnyKeySlot([], 'first', 'store'), isCorrupt);
  await assert.rejects(openAnyKeySlot(slots, '', 'store'), isInvalid);
});

test('random bytes are never more than corrupt', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, withMagic) => {
      if (withMagic) bytes.set(new TextEncoder().encode('varvekey').subarray(0, bytes.length));
      assert.throws(() => readKeySlot(bytes), isCorrupt);
    }),
  );
});
