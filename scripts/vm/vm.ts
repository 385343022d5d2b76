// A Debian guest under qemu, for what needs a kernel that this machine may lack: NBD, ZFS, a root
// file system on a volume. It is emulated, unless VARVE_VM_ACCEL is kvm.
//
//   ensureGuest: builds the image once, by build.sh and build-zfs.sh, and keeps it
//   startGuest:  boots it, runs a script as root in it, streams what it says
//
// In the guest the host's loopback is 10.0.2.2, /share is a folder of this run, and /varve is this
// project, read-only, with its Node. What a guest writes to its root is gone when it ends.

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const ROOT = join(import.meta.dirname, '../..');
const SCRIPTS = ['build.sh', 'build-zfs.sh', 'guest-init'];
const KERNEL_LINE =
  'console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off tsc=reliable no_timer_check';
/** A machine may have a /dev/kvm in which nothing runs: VARVE_VM_ACCEL=kvm is for who knows. */
const EMULATED = 'tcg,thread=multi,tb-size=512';
const MEMORY_MIB = 2048;
const PROCESSORS = 2;
const TIMEOUT_MS = 600_000;
/** Of the kernel's messages, in an error. */
const CONSOLE_LINES = 20;

export interface GuestImage {
  readonly dir: string;
}

export interface GuestOptions {
  /** Called with each line that the script says. */
  readonly onLine?: (line: string) => void;
  readonly memoryMiB?: number;
  /** The guest is killed when it takes longer. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** qemu's arguments for the root disk. Default: the image, in a snapshot that is thrown away. */
  readonly rootDisk?: readonly string[];
}

export interface Guest extends AsyncDisposable {
  /** The folder that the guest sees as /share. */
  readonly share: string;
  /** What the script has said. */
  readonly lines: readonly string[];
  /** The script's exit code; rejects when the guest died without one, or took too long. */
  readonly ended: Promise<number>;
  /** Resolves with the first line that has `text` in it; rejects when the guest ends before. */
  said(text: string): Promise<string>;
  /** Makes an empty file in the share, which the script waits for. */
  tell(name: string): Promise<void>;
  /** What a power cut does. Resolves when the guest is gone. */
  cut(): Promise<void>;
}

export interface ImageOptions {
  readonly zfs?: boolean;
  readonly say: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Where the image is kept: it takes minutes to build, and some 2 GB. */
function cacheDir(): string {
  const { VARVE_VM_DIR: own, XDG_CACHE_HOME: caches } = process.env;
  return own ?? join(caches ?? join(homedir(), '.cache'), 'varve-vm');
}

/** Builds what is not there or not of these scripts. Needs root, and Debian's mirrors. */
export async function ensureGuest({ zfs = false, say, signal }: ImageOptions): Promise<GuestImage> {
  const dir = cacheDir();
  const stampFile = join(dir, 'stamp');
  const texts = await Promise.all(
    SCRIPTS.map((name) => readFile(join(import.meta.dirname, name), 'utf8')),
  );
  const version = createHash('sha256').update(texts.join('\0')).digest('hex');
  const stamp = await readFile(stampFile, 'utf8').catch(() => '');
  if (stamp === `${version} zfs` || (!zfs && stamp === `${version} plain`)) return { dir };

  say(`building a guest in ${dir}: it takes some minutes, once`);
  await mkdir(dir, { recursive: true });
  await rm(stampFile, { force: true });
  const build = async (script: string, env: Readonly<Record<string, string>>): Promise<void> => {
    const args = [join(dir, 'lock'), join(import.meta.dirname, script), dir];
    await runBuild(args, env, say, signal);
  };
  if (zfs) {
    await build('build.sh', {});
    await build('build-zfs.sh', {});
  }
  await build('build.sh', zfs ? { ZFS: join(dir, 'zfs') } : {});
  await writeFile(stampFile, `${version} ${zfs ? 'zfs' : 'plain'}`);
  return { dir };
}

/** Boots the guest and runs `script` in it. */
export async function startGuest(
  { dir }: GuestImage,
  script: string,
  options: GuestOptions = {},
): Promise<Guest> {
  const own = await mkdtemp(join(tmpdir(), 'varve-guest-'));
  const share = join(own, 'share');
  const consoleFile = join(own, 'console.log');
  await mkdir(share);
  await writeFile(join(share, '.script'), script);
  const modules = await realpath(join(ROOT, 'node_modules'));
  const shares = { share, project: ROOT, modules };
  const args = qemuArgs(dir, shares, consoleFile, options);
  options.signal?.throwIfAborted();
  // In a group of its own: Ctrl-C in the terminal is for who started it, who ends it. If that one
  // is killed, the kernel does.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const lines: string[] = [];
  const reader = createInterface(child.stdout);
  reader.on('line', (line) => {
    lines.push(line);
    options.onLine?.(line);
  });
  const ended = endOf(child, { share, consoleFile, options });
  // Whoever waits for it learns of it; nobody has to.
  ended.catch(() => {});

  async function cut(): Promise<void> {
    child.kill('SIGKILL');
    await ended.catch(() => {});
  }

  return {
    share,
    lines,
    ended,
    said: (text) => lineWith(text, lines, reader, ended),
    tell: (name) => writeFile(join(share, name), ''),
    cut,
    async [Symbol.asyncDispose]() {
      await cut();
      await rm(own, { recursive: true, force: true });
    },
  };
}

/** Runs `script` to its end; resolves with its exit code. */
export async function runGuest(
  image: GuestImage,
  script: string,
  options: GuestOptions = {},
): Promise<number> {
  await using guest = await startGuest(image, script, options);
  return await guest.ended;
}

function qemuArgs(
  dir: string,
  shares: Readonly<Record<'share' | 'project' | 'modules', string>>,
  consoleFile: string,
  { memoryMiB = MEMORY_MIB, rootDisk }: GuestOptions,
): readonly string[] {
  const image = `if=virtio,format=raw,file=${join(dir, 'root.ext4')},snapshot=on,cache=unsafe`;
  const folders = Object.entries(shares).flatMap(([tag, path]) => {
    const access = tag === 'share' ? '' : ',readonly=on';
    const model = 'security_model=none,multidevs=remap';
    return ['-virtfs', `local,path=${path},mount_tag=${tag},${model}${access}`];
  });
  return [
    ['-accel', process.env['VARVE_VM_ACCEL'] ?? EMULATED, '-cpu', 'max'],
    ['-smp', String(PROCESSORS), '-m', String(memoryMiB)],
    ['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ['-kernel', join(dir, 'vmlinuz'), '-initrd', join(dir, 'initrd.gz'), '-append', KERNEL_LINE],
    rootDisk ?? ['-drive', image],
    ['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile='],
    ['-device', 'virtio-rng-pci'],
    folders,
    ['-serial', `file:${consoleFile}`, '-device', 'virtio-serial'],
    ['-chardev', 'stdio,id=out,signal=off', '-device', 'virtconsole,chardev=out'],
  ].flat();
}

interface Run {
  readonly share: string;
  readonly consoleFile: string;
  readonly options: GuestOptions;
}

async function endOf(child: ChildProcess, { share, consoleFile, options }: Run): Promise<number> {
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  const limit = AbortSignal.timeout(timeoutMs);
  const stop = AbortSignal.any([limit, ...(options.signal === undefined ? [] : [options.signal])]);
  const kill = (): void => void child.kill('SIGKILL');
  stop.addEventListener('abort', kill);
  let said = '';
  child.stderr?.on('data', (part: Buffer) => (said += part.toString()));
  try {
    await once(child, 'close');
  } finally {
    stop.removeEventListener('abort', kill);
  }
  options.signal?.throwIfAborted();
  const code = await readFile(join(share, '.code'), 'utf8').catch(() => '');
  if (/^\d+\n$/.test(code)) return Number(code);
  const kernel = await readFile(consoleFile, 'utf8').catch(() => '');
  const tail = kernel.trimEnd().split('\n').slice(-CONSOLE_LINES).join('\n');
  const what = limit.aborted ? `took longer than ${timeoutMs / 1000} s` : 'died';
  throw new Error(`the guest ${what}: ${said}\n${tail}`);
}

async function lineWith(
  text: string,
  lines: readonly string[],
  reader: NodeJS.EventEmitter,
  ended: Promise<number>,
): Promise<string> {
  const find = (): string | undefined => lines.find((line) => line.includes(text));
  const over = ended.then((code) => {
    throw new Error(`the guest ended with ${code} and never said "${text}"`);
  });
  for (;;) {
    const found = find();
    if (found !== undefined) {
      over.catch(() => {});
      return found;
    }
    await Promise.race([once(reader, 'line'), over]);
  }
}

async function runBuild(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  say: (line: string) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  signal?.throwIfAborted();
  const child = spawn('flock', args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    detached: true,
  });
  // With all that it has started.
  const kill = (): void => void process.kill(-child.pid!, 'SIGTERM');
  signal?.addEventListener('abort', kill);
  let errors = '';
  child.stderr.on('data', (part: Buffer) => (errors += part.toString()));
  createInterface(child.stdout).on('line', say);
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    signal?.throwIfAborted();
    if (code !== 0) throw new Error(`the guest could not be built (${code}): ${errors}`);
  } finally {
    signal?.removeEventListener('abort', kill);
  }
}

/** `node scripts/vm/vm.ts [--zfs] SCRIPT`: for trying things out. */
async function main(args: readonly string[]): Promise<number> {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const script = args.at(-1);
  if (script === undefined || script.startsWith('--')) {
    say('usage: node scripts/vm/vm.ts [--zfs] SCRIPT');
    return 2;
  }
  const interrupt = new AbortController();
  const { signal } = interrupt;
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => interrupt.abort());
  const image = await ensureGuest({ zfs: args.includes('--zfs'), say, signal });
  const onLine = (line: string): void => void process.stdout.write(`${line}\n`);
  return await runGuest(image, await readFile(script, 'utf8'), { onLine, signal });
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
