// Two servers on one store: the second takes over, the first acknowledges nothing more and says so.
//
// No clock is compared. The writer puts a counter into one block and flushes, over and over, and
// notes the highest that was acknowledged. What the second server reads there once it is ready
// can only have come before it took over: had the first acknowledged one more, the note would be
// higher.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { nbdsh } from '../support/command.ts';
import { type Gateway, openGateway } from '../support/gateway.ts';
import { type ServerOptions, startServer, type TestServer } from '../support/server.ts';

let gateway: Gateway | undefined;
before(async () => {
  gateway = await openGateway();
});
after(() => gateway?.stop());

/** Prints the highest acknowledged counter when the server refuses to go on. */
const COUNT_UNTIL_REFUSED = [
  'n = 0',
  'try:',
  '    while True:',
  '        h.pwrite((n + 1).to_bytes(8, "big") * 512, 0)',
  '        h.flush()',
  '        n += 1',
  'except nbd.Error: print(n)',
];

async function counterOf({ uri }: TestServer): Promise<number> {
  return Number(await nbdsh(uri, ['print(int.from_bytes(h.pread(512, 0)[:8], "big"))']));
}

async function takeOver(options: ServerOptions): Promise<void> {
  const first = await startServer(options);
  let second: TestServer | undefined;
  try {
    const store = options.store ?? `file:${first.storeDir}`;
    const counting = nbdsh(first.uri, COUNT_UNTIL_REFUSED);
    // A failure must not be unhandled while the second server starts.
    counting.catch(() => {});
    const { acknowledged } = await first.status();
    while ((await first.status()).acknowledged < acknowledged + 20);
    second = await startServer({ ...options, store, init: false });
    const seen = await counterOf(second);
    const noted = Number(await counting);
    assert.ok(noted >= 20, `the first server had acknowledged something: ${noted}`);
    assert.ok(noted <= seen, `acknowledged ${noted}, but the second server read ${seen}`);
    const ended = await first.ended;
    assert.equal(ended.code, 3, ended.stderr);
    assert.match(ended.stderr, /another writer/);
    await nbdsh(second.uri, ['h.pwrite(b"mine" * 1024, 4096, nbd.CMD_FLAG_FUA)']);
    assert.equal(await counterOf(second), seen, 'nothing of the first came later');
    await second.kill9();
    await second.restart();
    await nbdsh(second.uri, ['assert h.pread(4096, 4096) == b"mine" * 1024']);
    assert.equal(await counterOf(second), seen);
    assert.equal((await second.stop()).code, 0);
  } finally {
    await second?.remove();
    await first.remove();
  }
}

test('directory store: the first writer is fenced and exits with 3', () => takeOver({}));

test('Ceph RGW: the first writer is fenced and exits with 3', () =>
  takeOver(gateway!.serverOptions('two-writers')));

test('an idle first writer is told at its next flush, and ends', async () => {
  const first = await startServer();
  const store = `file:${first.storeDir}`;
  await nbdsh(first.uri, ['h.pwrite(b"1" * 4096, 0, nbd.CMD_FLAG_FUA)']);
  const second = await startServer({ store, init: false });
  try {
    await nbdsh(first.uri, [
      'try:',
      '    h.pwrite(b"2" * 4096, 0)',
      '    h.flush()',
      'except nbd.Error: pass',
      'else: raise AssertionError("a deposed writer acknowledged a flush")',
    ]);
    assert.equal((await first.ended).code, 3);
    await nbdsh(second.uri, ['assert h.pread(4096, 0) == b"1" * 4096']);
  } finally {
    await second.remove();
    await first.remove();
  }
});
