// A guest with its root on a volume, and what becomes of it when the server goes away.
//
//   1. a server; the guest's image is copied onto a volume
//   2. qemu boots from it, by its own NBD client; the guest writes files, and says each one that it
//      has synced
//   3. the server is stopped and started, then replaced by `varve upgrade`: the guest only waits
//   4. the guest shuts down; e2fsck finds nothing, and every file it named is there
//   5. it boots again and writes; kill -9 of the server, and a start: its disk fails, because what
//      was answered and not yet flushed may be gone. Behind that, too, every file it named is there
//
// qemu uses the export's name with the write verifier, without which it would go on in step 5 and
// never know.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureGuest, type Guest, type GuestImage, startGuest } from '../../scripts/vm/vm.ts';
import { upgradeReport } from '../../src/server/http/report.ts';
import { attachVolume } from '../../test/support/attach.ts';
import { runCommand, until } from '../../test/support/command.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { openBucket } from '../postgres/bucket.ts';
import { say } from '../support/demo.ts';
import { type DurableFile, FOLDER, parseDurable, WRITER_SCRIPT } from './guest-script.ts';
import { rootDisk, uriWithVerifier } from './root-disk.ts';

/** The guest's image and room for what it writes. */
const VOLUME_SIZE = '4G';
const GUEST_MS_MAX = 600_000;

export interface VmRootOptions {
  readonly store: string | undefined;
  readonly endpoint: string | undefined;
  /** Files that the guest has synced before and behind each event. */
  readonly files: number;
  /** How long qemu looks for a server that is gone before the guest gets an error. */
  readonly reconnectSeconds: number;
  readonly signal: AbortSignal;
  /** Told each phase as it begins, and the folders of the run, for who checks that they go. */
  readonly onPhase?: (name: string, folders: readonly string[]) => void;
}

export interface Phase {
  readonly name: string;
  readonly seconds: number;
  /** The longest that the guest waited from one synced file to the next. */
  readonly stallSeconds: number;
  readonly files: number;
  readonly puts: number;
  readonly gets: number;
}

export interface VmRootResult {
  readonly phases: readonly Phase[];
  /** Files that were called durable until the end in order, and until the disk failed. */
  readonly ordered: number;
  readonly crashed: number;
  /** Of those, the ones that were said behind the kill: one may have been under way. */
  readonly behindCrash: number;
}

export async function runVmRoot(options: VmRootOptions): Promise<VmRootResult> {
  const { signal } = options;
  await using open = new AsyncDisposableStack();
  const image = await ensureGuest({ say, signal });
  const folder = await mkdtemp(join(tmpdir(), 'varve-demo-'));
  open.defer(() => rm(folder, { recursive: true, force: true }));
  const { store: url, endpoint } = options;
  const bucket = await openBucket({ url, endpoint, folder: join(folder, 's'), env: process.env });
  open.defer(() => bucket.close());
  signal.throwIfAborted();
  const server = await startServer({
    store: bucket.url,
    storeFlags: bucket.flags,
    env: bucket.env,
    volumes: { disk: VOLUME_SIZE },
    detached: true,
  });
  open.defer(() => server.remove());
  const run = new VmRoot(server, image, [folder, server.dir], options);
  open.defer(() => run.release());
  await run.install();
  const ordered = await run.throughRestarts();
  const { crashed, behindCrash } = await run.throughCrash();
  await server.stop();
  return { phases: run.phases, ordered, crashed, behindCrash };
}

class VmRoot {
  readonly phases: Phase[] = [];
  readonly #server: TestServer;
  readonly #image: GuestImage;
  readonly #folders: readonly string[];
  readonly #options: VmRootOptions;
  #guest: Guest | undefined;
  /** Of a process that an upgrade started: the fixture does not know it. */
  #successor: number | undefined;
  /** Of the running guest: files that are durable, and when each was said. */
  #durable: { readonly file: DurableFile; readonly atMs: number }[] = [];

  constructor(
    server: TestServer,
    image: GuestImage,
    folders: readonly string[],
    options: VmRootOptions,
  ) {
    this.#folders = folders;
    this.#server = server;
    this.#image = image;
    this.#options = options;
  }

  async release(): Promise<void> {
    await this.#guest?.[Symbol.asyncDispose]();
    if (this.#successor !== undefined) process.kill(this.#successor, 'SIGKILL');
    this.#successor = undefined;
  }

  async install(): Promise<void> {
    const from = join(this.#image.dir, 'root.ext4');
    await this.#phase('image onto the volume', async () => {
      // Nothing was written to the volume yet: holes of the image stay holes.
      const args = ['--destination-is-zero', '--flush', from, this.#server.uri];
      await runCommand('nbdcopy', args, { signal: this.#options.signal, timeoutMs: GUEST_MS_MAX });
    });
  }

  async throughRestarts(): Promise<number> {
    await this.#boot();
    await this.#phase('stop and start', async () => {
      const { code, stderr } = await this.#server.stop();
      assert.equal(code, 0, stderr);
      await this.#server.restart();
      await this.#more();
    });
    await this.#phase('varve upgrade', async () => {
      const said: unknown = JSON.parse(await this.#server.command('upgrade', '--json'));
      this.#successor = upgradeReport.parse(said).pid;
      await this.#more();
    });
    await this.#guest!.tell('stop');
    assert.equal(await this.#guest!.ended, 0, 'the guest met no error');
    await this.#forget();
    const pid = this.#successor!;
    process.kill(pid, 'SIGTERM');
    const { code, stderr } = await this.#server.ended;
    this.#successor = undefined;
    assert.equal(code, 0, stderr);
    await this.#server.restart();
    await this.#phase('e2fsck, every file', () => this.#check(['-f', '-n'], this.#files()));
    return this.#durable.length;
  }

  async throughCrash(): Promise<Pick<VmRootResult, 'crashed' | 'behindCrash'>> {
    await this.#boot();
    const before = this.#durable.length;
    say('kill -9 of the server, and a start');
    await this.#server.kill9();
    await this.#server.restart();
    await this.#phase('kill -9 and start', async () => {
      await this.#guest!.said('failed ');
      // Its root is gone: it cannot shut down.
      await this.#guest!.cut();
    });
    await this.#forget();
    // With the one whose line was under way when the server died: its sync had been answered.
    const files = this.#files();
    const behindCrash = files.length - before;
    // Not in order: the file system's journal is replayed first, as behind a power cut.
    await this.#phase('e2fsck -p, every file', () => this.#check(['-p'], files));
    return { crashed: files.length, behindCrash };
  }

  #files(): readonly DurableFile[] {
    return this.#durable.map(({ file }) => file);
  }

  async #boot(): Promise<void> {
    this.#durable = [];
    const { signal, reconnectSeconds } = this.#options;
    const disk = rootDisk(await uriWithVerifier(this.#server.uri), reconnectSeconds);
    await this.#phase('boot', async () => {
      this.#guest = await startGuest(this.#image, WRITER_SCRIPT, {
        rootDisk: disk,
        timeoutMs: GUEST_MS_MAX,
        signal,
        onLine: (line) => {
          const file = parseDurable(line);
          if (file !== undefined) this.#durable.push({ file, atMs: performance.now() });
        },
      });
      await this.#guest.said('root /dev/vda ext4');
    });
    await this.#phase('writing', () => this.#more());
  }

  /** Waits until the guest has synced some more files than now. */
  async #more(): Promise<void> {
    const enough = this.#durable.length + this.#options.files;
    const done = (): boolean => this.#durable.length >= enough;
    const ended = this.#guest!.ended.then((code) => assert.fail(`the guest ended with ${code}`));
    // Whoever waits for the guest later learns of its end there.
    ended.catch(() => {});
    const waiting = until('the guest writes', done, { timeoutMs: GUEST_MS_MAX, everyMs: 50 });
    await Promise.race([waiting, ended]);
  }

  async #forget(): Promise<void> {
    await this.#guest?.[Symbol.asyncDispose]();
    this.#guest = undefined;
  }

  async #check(flags: readonly string[], files: readonly DurableFile[]): Promise<void> {
    await using open = new AsyncDisposableStack();
    const { uri, dir } = this.#server;
    const device = await attachVolume({ uri, dir });
    open.defer(() => device.detach());
    // It exits with 1 when it had to repair: then more than the journal was replayed.
    await runCommand('e2fsck', [...flags, device.path]);
    await runCommand('e2fsck', ['-f', '-n', device.path]);
    const point = join(dir, 'mnt');
    await mkdir(point, { recursive: true });
    await runCommand('mount', ['-o', 'ro', device.path, point]);
    open.defer(async () => void (await runCommand('umount', [point])));
    assert.ok(files.length > 0, 'the guest has synced files');
    for (const { name, sha256 } of files) {
      const bytes = await readFile(join(point, FOLDER, name));
      assert.equal(createHash('sha256').update(bytes).digest('hex'), sha256, `file ${name}`);
    }
  }

  async #phase(name: string, work: () => Promise<void>): Promise<void> {
    say(name);
    this.#options.onPhase?.(name, this.#folders);
    this.#options.signal.throwIfAborted();
    const before = await this.#requests();
    const [files, startMs] = [this.#durable.length, performance.now()];
    await work();
    this.#options.signal.throwIfAborted();
    const endMs = performance.now();
    const times = this.#durable.slice(Math.max(0, files - 1)).map(({ atMs }) => atMs);
    const gaps = times.map((atMs, i) => atMs - (times[i - 1] ?? atMs));
    const after = await this.#requests();
    // A server that was started in between counts from nothing.
    const fresh = after.epoch !== before.epoch;
    this.phases.push({
      name,
      seconds: (endMs - startMs) / 1000,
      stallSeconds: Math.max(0, ...gaps) / 1000,
      files: this.#durable.length - files,
      puts: after.put - (fresh ? 0 : before.put),
      gets: after.get - (fresh ? 0 : before.get),
    });
  }

  async #requests(): Promise<{ epoch: number; put: number; get: number }> {
    const { epoch, store } = await this.#server.status();
    return { epoch, put: store.put, get: store.get };
  }
}
