// The journal tier with real processes: what a FLUSH waits for, what SIGKILL leaves, who may open.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { nbdsh, until } from '../support/command.ts';
import { debianProgram } from '../support/debian.ts';
import { openProxiedGateway } from '../support/gateway.ts';
import { startServer } from '../support/server.ts';

const JOURNAL = ['--durability', 'journal'];

test('the reply to a FLUSH leaves behind fdatasync, which leaves behind the write', async () => {
  const server = await startServer({ flags: JOURNAL });
  const trace = join(server.dir, 'strace.out');
  const calls = 'trace=fdatasync,pwrite64,write,writev,sendto';
  const tracer = spawn(
    debianProgram('strace'),
    ['-f', '-e', calls, '-s', '64', '-o', trace, '-p', String(server.pid)],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  try {
    await once(tracer.stderr, 'data');
    await nbdsh(server.uri, ['h.pwrite(b"x" * 4096, 8192)', 'h.flush()']);
  } finally {
    tracer.kill('SIGINT');
    await once(tracer, 'exit');
  }
  const lines = (await readFile(trace, 'utf8')).split('\n');
  await server.remove();
  const record = lines.findIndex((line) => /pwrite64\(.*"VJR1/.test(line));
  const synced = lines.findIndex((line, i) => i > record && /fdatasync.*= 0/.test(line));
  // A simple reply: its magic in octal and ASCII. The first is that of the write, the second ours.
  const replies = lines.flatMap((line, i) => (line.includes('"gDf\\230') ? [i] : []));
  assert.ok(record >= 0 && synced > record, `a record, then fdatasync:\n${lines.join('\n')}`);
  assert.equal(replies.length, 2);
  assert.ok(replies[0]! < record, 'the write is answered from memory');
  assert.ok(replies[1]! > synced, 'the flush is answered behind fdatasync');
});

test('single FUA writes survive SIGKILL, and a clean stop leaves no journal', async () => {
  const server = await startServer({ flags: JOURNAL });
  try {
    for (let round = 1; round <= 3; round++) {
      await nbdsh(server.uri, [
        `h.pwrite(b"${round}" * 4096, ${round * 12_288}, nbd.CMD_FLAG_FUA)`,
        `import os, signal; os.kill(${server.pid}, signal.SIGKILL)`,
      ]);
      await server.ended;
      await server.restart();
      for (let i = 1; i <= round; i++) {
        await nbdsh(server.uri, [`assert h.pread(4096, ${i * 12_288}) == b"${i}" * 4096`]);
      }
    }
    assert.equal((await server.stop()).code, 0);
    const [branch] = await readdir(join(server.stateDir, 'journal'));
    assert.deepEqual(await readdir(join(server.stateDir, 'journal', branch!)), []);
  } finally {
    await server.remove();
  }
});

test('a dark store: what was acknowledged is in the journal; nobody opens without', async (t) => {
  const gateway = await openProxiedGateway();
  t.after(() => gateway.stop());
  const { proxy } = gateway;
  const options = gateway.serverOptions('journal');
  const server = await startServer({ ...options, flags: JOURNAL });
  try {
    await proxy.dark('reset');
    await nbdsh(server.uri, [
      'h.pwrite(b"a" * 4096, 0, nbd.CMD_FLAG_FUA)',
      'h.pwrite(b"b" * 4096, 4096)',
      'h.flush()',
    ]);
    await until('the outage is known', async () => (await server.status()).outage !== undefined);
    await server.kill9();
    await proxy.light();
    // Another machine, or the same one without its state directory.
    const away = `${server.stateDir}-away`;
    await rename(server.stateDir, away);
    const refused = await server.serveToEnd([]);
    assert.equal(refused.code, 3, refused.stderr);
    assert.match(refused.stderr, /written with a journal on .*--abandon-journal/s);
    await rm(server.stateDir, { recursive: true });
    await rename(away, server.stateDir);
    await server.restart();
    await nbdsh(server.uri, ['assert h.pread(8192, 0) == b"a" * 4096 + b"b" * 4096']);

    // Abandoned elsewhere, it is refused here, shown, saved and discarded.
    await nbdsh(server.uri, ['h.pwrite(b"c" * 4096, 0, nbd.CMD_FLAG_FUA)']);
    await server.command('flush');
    await proxy.dark('refuse');
    await nbdsh(server.uri, ['h.pwrite(b"d" * 4096, 0, nbd.CMD_FLAG_FUA)']);
    await server.kill9();
    await proxy.light();
    await rename(server.stateDir, away);
    await server.restart(['--abandon-journal']);
    await nbdsh(server.uri, ['assert h.pread(4096, 0) == b"c" * 4096']);
    assert.equal((await server.stop()).code, 0);
    await rm(server.stateDir, { recursive: true });
    await rename(away, server.stateDir);
    const again = await server.serveToEnd([]);
    assert.equal(again.code, 3, again.stderr);
    const store = [...options.storeFlags!, '--store', options.store!];
    const inspected = await server.command('journal', 'inspect', '--json', ...store);
    const [found] = JSON.parse(inspected) as [{ id: string }];
    const file = join(server.dir, 'changes.jsonl');
    await server.command('journal', 'export', found.id, file, ...store);
    const [line] = (await readFile(file, 'utf8')).trim().split('\n').slice(-1);
    const { offset, data } = JSON.parse(line!) as { offset: number; data: string };
    assert.equal(offset, 0);
    assert.equal(Buffer.from(data, 'base64').toString(), 'd'.repeat(4096));
    await server.command('journal', 'discard', found.id, ...store);
    await server.restart();
    await nbdsh(server.uri, ['assert h.pread(4096, 0) == b"c" * 4096']);
  } finally {
    await server.remove();
  }
});
