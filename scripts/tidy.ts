// The rules of the house that no other tool knows: lengths, leftovers, banned words, READMEs, dead
// files.
//
// Looks at what git would commit, so that build products and caches are none of its business.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';

export const FILE_LINES_MAX = 600;
/** Past this a file is likely two. */
export const FILE_LINES_AIM = 300;
export const COLUMNS_MAX = 100;
export const README_LINES_MAX = 40;

/** Words that belong in a tracker or in somebody's notes. Split here, so that this file passes. */
const LEFTOVERS = new RegExp(`\\b(${['FIX' + 'ME', 'X' + 'XX', 'HA' + 'CK'].join('|')})\\b`);
const OF_ITS_MAKING = 'talk of its making';
const BANNED: readonly (readonly [pattern: RegExp, why: string])[] = [
  [/(?:^|[\s('"`])\/work\//, 'a path of one machine'],
  [/(?:^|[\s(])#\d+\b/, 'an issue number: say what it was about'],
  // Protocols have sessions and shells have prompts; earlier or later ones of ours have no place.
  [/\b(?:previous|earlier|last|our|next) (?:session|conversation|prompt)s?\b/i, OF_ITS_MAKING],
  [/\b(?:co-authored-by|generated (?:by|with))\b/i, OF_ITS_MAKING],
];

/** Files that are started, not imported. Tests, benchmarks and fuzzers are too, by their names. */
const ENTRY_POINTS = [
  /^src\/cli\/(main|quickstart)\.ts$/,
  /^(sim|bench)\/main\.ts$/,
  /^bench\/(space\/)?[a-z-]+\.ts$/,
  /^fuzz\/main\.ts$/,
  /^scripts\/[^/]+\.ts$/,
  /^examples\//,
  /\/fixtures\/.*generate\.ts$/,
  /\.(test|vmtest|bench|fuzz)\.ts$/,
  /-(worker|fixture)\.ts$/,
];
const IMPORT = /(?:from|import)\s*\(?\s*'(\.{1,2}\/[^']+)'|new URL\(\s*'(\.{1,2}\/[^']+)'/g;
const TEXT = /\.(ts|js|md|json|toml|sh|ya?ml|css|html)$|(^|\/)(varve|run)$/;

export interface TidyFile {
  /** Relative to the root, with slashes. */
  readonly path: string;
  readonly text: string;
}

export interface TidyReport {
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
}

/** Pure: everything it knows is in `files`. */
export function tidy(files: readonly TidyFile[]): TidyReport {
  const errors: string[] = [];
  const warnings: string[] = [];
  for (const file of files) {
    if (file.path.endsWith('.ts')) checkLengths(file, errors, warnings);
    checkWords(file, errors);
  }
  checkReadmes(files, errors);
  checkDeadFiles(files, errors);
  return { errors, warnings };
}

function checkLengths({ path, text }: TidyFile, errors: string[], warnings: string[]): void {
  const lines = text.replace(/\n$/, '').split('\n');
  if (lines.length > FILE_LINES_MAX) {
    errors.push(`${path}: ${lines.length} lines, more than ${FILE_LINES_MAX}`);
  } else if (lines.length > FILE_LINES_AIM) {
    warnings.push(`${path}: ${lines.length} lines, more than ${FILE_LINES_AIM}: is it two files?`);
  }
  if (/(^|\/)fixtures\//.test(path)) return;
  for (const [index, line] of lines.entries()) {
    const columns = Array.from(line).length;
    if (columns <= COLUMNS_MAX || /https?:\/\//.test(line)) continue;
    errors.push(`${path}:${index + 1}: ${columns} columns, more than ${COLUMNS_MAX}`);
  }
}

function checkWords({ path, text }: TidyFile, errors: string[]): void {
  // The lists of words themselves, and what tests feed to the rules.
  if (path === 'scripts/tidy.ts' || path === 'scripts/tidy.test.ts') return;
  for (const [index, line] of text.split('\n').entries()) {
    const leftover = LEFTOVERS.exec(line);
    // A text about the rules may name what they ban.
    if (leftover !== null && !path.endsWith('.md'))
      errors.push(`${path}:${index + 1}: leftover ${leftover[1]}`);
    for (const [pattern, why] of BANNED) {
      const found = pattern.exec(line);
      if (found !== null) errors.push(`${path}:${index + 1}: "${found[0].trim()}" is ${why}`);
    }
  }
}

/**
 * Every folder of src/ that holds code has a short README; a folder of subfolders only need not.
 */
function checkReadmes(files: readonly TidyFile[], errors: string[]): void {
  const paths = new Set(files.map(({ path }) => path));
  const folders = new Set(
    files
      .filter(({ path }) => path.startsWith('src/') && path.endsWith('.ts'))
      .map(({ path }) => posix.dirname(path)),
  );
  folders.delete('src');
  for (const folder of folders) {
    if (!paths.has(`${folder}/README.md`)) errors.push(`${folder}/: has no README.md`);
  }
  for (const { path, text } of files) {
    if (!path.startsWith('src/') || !path.endsWith('/README.md')) continue;
    const lines = text.replace(/\n$/, '').split('\n').length;
    if (lines > README_LINES_MAX) errors.push(`${path}: ${lines} lines, more than 40`);
  }
}

/** What nothing but its own test imports is dead. */
function checkDeadFiles(files: readonly TidyFile[], errors: string[]): void {
  const imported = new Set<string>();
  for (const { path, text } of files) {
    if (!path.endsWith('.ts')) continue;
    const own = path.replace(/\.(test|bench|fuzz)\.ts$/, '.ts');
    for (const match of text.matchAll(IMPORT)) {
      const target = posix.join(posix.dirname(path), (match[1] ?? match[2])!);
      if (target !== own) imported.add(target);
    }
  }
  for (const { path } of files) {
    if (!path.endsWith('.ts') || imported.has(path)) continue;
    if (!ENTRY_POINTS.some((pattern) => pattern.test(path))) {
      errors.push(`${path}: nothing imports it`);
    }
  }
}

/** Tracked files, and new ones that are not ignored. */
export function readTree(root: string): readonly TidyFile[] {
  const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const names = execFileSync('git', args, { cwd: root, encoding: 'utf8' }).split('\0');
  return names
    .filter((path) => TEXT.test(path) && path !== 'package-lock.json')
    .flatMap((path) => {
      try {
        return [{ path, text: readFileSync(join(root, path), 'utf8') }];
      } catch (error) {
        // Tracked, but deleted in the working tree.
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
        throw error;
      }
    });
}

if (import.meta.main) {
  const { errors, warnings } = tidy(readTree(dirname(import.meta.dirname)));
  for (const line of warnings) process.stderr.write(`tidy: warning: ${line}\n`);
  for (const line of errors) process.stderr.write(`tidy: ${line}\n`);
  process.exitCode = errors.length > 0 ? 1 : 0;
}
