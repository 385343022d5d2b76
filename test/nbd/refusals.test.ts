// What the transmission phase refuses, in every reply mode, byte by byte: the exact error, and the
// stream that goes on behind it; or the end, where there is no going on.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StorageError } from '../../src/base/errors.ts';
import { COMMAND, COMMAND_FLAG } from '../../src/proto/nbd/constants.ts';
import { createMemoryVolume, dataBlockCount } from '../support/memory-device.ts';
import { serveVolumes } from './harness.ts';
import { type Mode, writeFlags } from './raw-client.ts';

const MIB = 1024 * 1024;
const MODES: readonly Mode[] = ['simple', 'structured', 'extended'];
const [EPERM, EIO, EINVAL, ENOSPC, EOVERFLOW, ESHUTDOWN] = [1, 5, 22, 28, 75, 108];

for (const mode of MODES) {
  test(`${mode}: refusals are exact and refused payloads are drained`, async (t) => {
    const { negotiated, volume } = await serveVolumes(t, [createMemoryVolume('disk', MIB)]);
    const client = await negotiated({ mode, aligned: true });
    const { read, write, trim, flush, cache, writeZeroes } = COMMAND;
    const flags = writeFlags(mode);
    const cases: [type: number, flags: number, offset: number, length: number, errno: number][] = [
      [read, 0, MIB, 512, EINVAL],
      [read, 0, 1, 512, EINVAL],
      [read, 0, 0, 513, EINVAL],
      [read, 0, 0, 33 * MIB, mode === 'simple' ? EINVAL : EOVERFLOW],
      [read, 0, 2 ** 53 - 512, 512, EINVAL],
      [read, COMMAND_FLAG.noHole, 0, 512, EINVAL],
      [write, flags, MIB, 512, ENOSPC],
      [write, flags, 3, 512, EINVAL],
      [write, flags, 0, 100, EINVAL],
      [write, flags | COMMAND_FLAG.dontFragment, 0, 512, EINVAL],
      [trim, 0, MIB - 512, 1024, EINVAL],
      [trim, 0, 0, 1, EINVAL],
      [writeZeroes, 0, MIB - 512, 1024, ENOSPC],
      [writeZeroes, COMMAND_FLAG.reqOne, 0, 512, EINVAL],
      [cache, 0, MIB, 512, EINVAL],
      [flush, 0, 0, 512, EINVAL],
      [flush, 1 << 9, 0, 0, EINVAL],
      [COMMAND.blockStatus, 0, 0, 512, EINVAL],
      [8, 0, 0, 0, EINVAL],
      [0xffff, 0, 0, 0, EINVAL],
    ];
    for (const [type, flagBits, offset, length, errno] of cases) {
      const payload = type === write ? Buffer.alloc(length, 7) : undefined;
      const got = await client.status({ type, flags: flagBits, offset, length }, payload);
      assert.equal(got, errno, `type ${type} flags ${flagBits} at ${offset} + ${length}`);
    }
    assert.equal(dataBlockCount(volume), 0, 'nothing was written');
    assert.equal(await client.status({ type: flush }), 0);
    assert.equal(client.pending, 0);
  });

  test(`${mode}: a read-only export refuses every change with EPERM`, async (t) => {
    const volumes = [createMemoryVolume('disk', MIB, { readOnly: true })];
    const { negotiated } = await serveVolumes(t, volumes);
    const client = await negotiated({ mode });
    const flags = writeFlags(mode);
    const payload = Buffer.alloc(4096);
    const { write, trim, writeZeroes, flush } = COMMAND;
    assert.equal(await client.status({ type: write, flags, length: 4096 }, payload), EPERM);
    assert.equal(await client.status({ type: trim, length: 4096 }), EPERM);
    assert.equal(await client.status({ type: writeZeroes, length: 4096 }), EPERM);
    assert.equal(await client.status({ type: flush }), 0);
  });

  test(`${mode}: a device's errors reach the client, for that request alone`, async (t) => {
    const { negotiated, volume } = await serveVolumes(t);
    const client = await negotiated({ mode });
    const kinds = [
      ['unavailable', EIO],
      ['corrupt', EIO],
      ['noSpace', ENOSPC],
      ['readOnly', EPERM],
      ['fenced', ESHUTDOWN],
    ] as const;
    for (const [kind, errno] of kinds) {
      for (const late of [false, true]) {
        volume.gate = () => {
          const error = new StorageError(kind, 'planted');
          if (!late) throw error;
          return Promise.reject(error);
        };
        assert.equal(await client.status({ type: COMMAND.read, length: 4096 }), errno);
        assert.equal(await client.status({ type: COMMAND.read, length: MIB }), errno);
        assert.equal(await client.status({ type: COMMAND.flush }), errno);
        const write = { type: COMMAND.write, flags: writeFlags(mode), length: 4096 };
        assert.equal(await client.status(write, Buffer.alloc(4096)), errno);
      }
    }
    volume.gate = undefined;
    assert.equal(await client.status({ type: COMMAND.flush }), 0);
  });
}

test('a payload past the limit but not absurd is drained; an absurd one closes', async (t) => {
  const { negotiated } = await serveVolumes(t);
  const client = await negotiated();
  const long = 40 * MIB;
  const got = await client.status({ type: COMMAND.write, length: long }, Buffer.alloc(long));
  assert.equal(got, EINVAL);
  assert.equal(await client.status({ type: COMMAND.flush }), 0);
  client.request({ type: COMMAND.write, length: 65 * MIB });
  await client.closed;
});

test('bad magic closes that connection; another one never notices', async (t) => {
  const { negotiated, volume } = await serveVolumes(t);
  const [good, bad] = [await negotiated(), await negotiated({ mode: 'structured' })];
  bad.request({ type: COMMAND.flush, magic: 0x12560953 });
  await bad.closed;
  const extended = await negotiated({ mode: 'extended' });
  extended.request({ type: COMMAND.flush, magic: 0x25609513 });
  await extended.closed;
  assert.equal(await good.status({ type: COMMAND.flush }), 0);
  assert.equal(volume.openHandles, 1);
});
