// The example's run: a guest boots from a volume and writes, while its server is stopped and
// started again, and upgraded; it ends, and its file system is checked. Then a crash: the disk
// fails, and the machine boots again with every line that fsync had answered.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureGuest, type GuestImage } from '../../scripts/vm/vm.ts';
import { upgradeReport } from '../../src/server/http/report.ts';
import { runCommand, until } from '../../test/support/command.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { bootFromVolume, type RootedMachine } from './machine.ts';

export interface RunOptions {
  /** Durable lines that the guest writes between what is done to its server. */
  readonly linesEach: number;
  readonly say: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface RunFacts {
  readonly bootSeconds: number;
  readonly restartStallSeconds: number;
  readonly upgradeStallSeconds: number;
  readonly lines: number;
  readonly linesBehindCrash: number;
  readonly answeredBeforeCrash: number;
  readonly storedMiB: number;
}

const MIB = 1024 * 1024;
/** As large as the image, and some more. */
const VOLUME = '4G';
const IMAGE_MS_MAX = 300_000;
const COUNT_MS_MAX = 120_000;

export async function runVmRoot({ linesEach, say, signal }: RunOptions): Promise<RunFacts> {
  const image = await ensureGuest({ say, signal });
  await using stack = new AsyncDisposableStack();
  const server = await startServer({ volumes: { root: VOLUME }, detached: true });
  stack.defer(() => server.remove());
  const upgraded: { pid?: number } = {};
  stack.defer(() => killUpgraded(upgraded));
  say('the image goes onto the volume');
  await fillVolume(image, server, signal);

  const booting = performance.now();
  const machine = await bootFrom(server, image, signal);
  stack.use(machine.guest);
  await lines(machine, 1);
  const bootSeconds = secondsSince(booting);
  say(`booted from the volume in ${bootSeconds.toFixed(1)} s; the server is started again`);
  await lines(machine, machine.answered() + linesEach);
  machine.longestStallMs();
  assert.equal((await server.stop()).code, 0);
  await server.restart();
  await lines(machine, machine.answered() + linesEach);
  const restartStallSeconds = machine.longestStallMs() / 1000;
  say(`stood still for ${restartStallSeconds.toFixed(1)} s; the server is upgraded`);
  upgraded.pid = upgradeReport.parse(JSON.parse(await server.command('upgrade', '--json'))).pid;
  await lines(machine, machine.answered() + linesEach);
  const upgradeStallSeconds = machine.longestStallMs() / 1000;
  await machine.guest.tell('enough');
  assert.equal(await machine.guest.ended, 0, machine.guest.lines.slice(-3).join('; '));
  const written = machine.answered();
  assert.equal(await checkVolume(server, signal), written, 'lines on the volume');
  say(`the file system is clean, with ${written} lines; now the server is killed`);

  const second = await bootFrom(server, image, signal);
  stack.use(second.guest);
  await lines(second, written + linesEach);
  killUpgraded(upgraded);
  await server.ended;
  await server.restart();
  await second.guest.said('the disk has failed');
  const answeredBeforeCrash = second.answered();
  await second.guest.cut();
  const third = await bootFrom(server, image, signal);
  stack.use(third.guest);
  await lines(third, 1);
  await third.guest.tell('enough');
  assert.equal(await third.guest.ended, 0);
  const begins = third.guest.lines.find((line) => line.includes('begins behind'))!;
  const linesBehindCrash = Number(/begins behind (\d+)/.exec(begins)![1]);
  assert.ok(linesBehindCrash >= answeredBeforeCrash, `${linesBehindCrash} lines are left`);
  await checkVolume(server, signal);
  const stored = await runCommand('du', ['-sb', server.storeDir]);
  return {
    bootSeconds,
    restartStallSeconds,
    upgradeStallSeconds,
    lines: written,
    linesBehindCrash,
    answeredBeforeCrash,
    storedMiB: Number.parseInt(stored, 10) / MIB,
  };
}

async function fillVolume(
  { dir }: GuestImage,
  server: TestServer,
  signal: AbortSignal | undefined,
): Promise<void> {
  const to = ['-n', '-f', 'raw', '-O', 'raw', join(dir, 'root.ext4'), server.uriOf('root')];
  await runCommand('qemu-img', ['convert', ...to], { timeoutMs: IMAGE_MS_MAX, signal });
}

/** By the name that the server gives the volume: with its write verifier. */
async function bootFrom(
  server: TestServer,
  image: GuestImage,
  signal: AbortSignal | undefined,
): Promise<RootedMachine> {
  const said = await runCommand('nbdinfo', ['--json', server.uriOf('root/')]);
  const exportName: string = JSON.parse(said).exports[0]['export-name'];
  const socket = new URL(server.uriOf('root')).searchParams.get('socket')!;
  return await bootFromVolume(image, socket, exportName, signal);
}

async function lines(machine: RootedMachine, count: number): Promise<void> {
  let died: unknown;
  machine.guest.ended.then(
    (code) => (died = new Error(`the guest ended with ${code}`)),
    (error: unknown) => (died = error),
  );
  await until(
    `${count} lines are durable`,
    () => {
      if (died !== undefined) throw died;
      return machine.answered() >= count;
    },
    { timeoutMs: COUNT_MS_MAX },
  );
}

/** The process that an upgrade has started is nobody's child. */
function killUpgraded(upgraded: { pid?: number }): void {
  const { pid } = upgraded;
  delete upgraded.pid;
  if (pid !== undefined) process.kill(pid, 'SIGKILL');
}

/** Checks a copy, as the volume lies there; resolves with the lines of the ledger. */
async function checkVolume(server: TestServer, signal: AbortSignal | undefined): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), 'varve-vm-root-'));
  try {
    const copy = join(dir, 'root.ext4');
    const options = { timeoutMs: IMAGE_MS_MAX, signal };
    await runCommand('nbdcopy', [server.uriOf('root'), copy], options);
    await runCommand('e2fsck', ['-fn', copy], options);
    const ledger = await runCommand('debugfs', ['-R', 'cat /ledger', copy], options);
    const found = ledger.split('\n').filter((line) => line.startsWith('line '));
    found.forEach((line, index) => assert.equal(line, `line ${index}`));
    return found.length;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function secondsSince(startMs: number): number {
  return (performance.now() - startMs) / 1000;
}
