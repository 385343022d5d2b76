// Reads varve.toml into plain data, and remembers where each key was written.
//
//   1. parse TOML (a syntax error names file:line:column)
//   2. replace `${NAME}` in string values by the environment (`$${` is a literal `${`)
//   3. hand out the data and `where(path)`, the `file:line` of a key, for the schema's complaints
//
// Substitution works on parsed values, not on the text: a variable can never inject a key.

import { parse, TomlError } from 'smol-toml';
import { StorageError } from '../base/errors.ts';

/** Our own keys go three deep. */
const DEPTH_MAX = 16;

export type ConfigPath = readonly PropertyKey[];
export type Environment = Readonly<Record<string, string | undefined>>;

export interface ConfigFile {
  readonly data: Readonly<Record<string, unknown>>;
  /** `file:line` of the key, or of the nearest key around it. */
  where(path: ConfigPath): string;
}

/** Throws `invalid` on bad TOML and on a variable that is not set. */
export function parseConfig(name: string, text: string, env: Environment): ConfigFile {
  const lines = locateKeys(text);
  const where = (path: ConfigPath): string => `${name}:${lineOf(lines, path)}`;
  const data = substitute(parseToml(name, text), env, [], where);
  return { data: data as Record<string, unknown>, where };
}

function parseToml(name: string, text: string): unknown {
  try {
    return parse(text);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    // The library's message carries a drawing of the line after the first newline.
    const why = cause.message.split('\n')[0]!.replace('Invalid TOML document: ', '');
    const at = `${name}:${cause.line}:${cause.column}`;
    throw new StorageError('invalid', `${at}: not valid TOML: ${why}`, { cause });
  }
}

function substitute(
  value: unknown,
  env: Environment,
  path: ConfigPath,
  where: (path: ConfigPath) => string,
): unknown {
  if (typeof value === 'string') {
    return value.replaceAll(/(\$?)\$\{([^}]*)\}/g, (whole, escape: string, name: string) => {
      if (escape !== '') return whole.slice(1);
      const found = env[name];
      if (found !== undefined) return found;
      const key = path.map(String).join('.');
      throw new StorageError(
        'invalid',
        `${where(path)}: ${key} uses \${${name}}, which is not set in the environment`,
      );
    });
  }
  if (Array.isArray(value)) {
    return value.map((item, index) => substitute(item, env, [...path, index], where));
  }
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  if (path.length > DEPTH_MAX) {
    throw new StorageError('invalid', `${where(path)}: keys within keys go too deep`);
  }
  const entries = Object.entries(value).map(([key, item]): [string, unknown] => {
    const inner = [...path, key];
    // The schema would pass it over without a word: to it that is no key.
    if (key === '__proto__') {
      throw new StorageError('invalid', `${where(inner)}: __proto__ is no key`);
    }
    return [key, substitute(item, env, inner, where)];
  });
  return Object.fromEntries(entries);
}

// The TOML library gives no positions, so the text is scanned for lines that begin a table or a
// key. Keys inside an inline table or an array are found at the line of the key that holds them.

function locateKeys(text: string): ReadonlyMap<string, number> {
  const lines = new Map<string, number>();
  let table: readonly string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const header = /^\s*\[\[?([^\]]+)\]/.exec(line);
    const key = /^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=/.exec(
      line,
    );
    if (header !== null) table = splitKey(header[1]!);
    else if (key === null) continue;
    const path = header === null ? [...table, ...splitKey(key![1]!)] : table;
    // Dotted keys define the tables on the way, too.
    for (let depth = 1; depth <= Math.min(path.length, DEPTH_MAX); depth++) {
      const name = pathName(path.slice(0, depth));
      if (!lines.has(name)) lines.set(name, index + 1);
    }
  }
  return lines;
}

function splitKey(key: string): string[] {
  const parts = key.match(/[\w-]+|"[^"]*"|'[^']*'/g) ?? [];
  return parts.map((part) => (/^["']/.test(part) ? part.slice(1, -1) : part));
}

function pathName(path: ConfigPath): string {
  return JSON.stringify(path.map(String));
}

function lineOf(lines: ReadonlyMap<string, number>, path: ConfigPath): number {
  for (let depth = Math.min(path.length, DEPTH_MAX); depth > 0; depth--) {
    const line = lines.get(pathName(path.slice(0, depth)));
    if (line !== undefined) return line;
  }
  return 1;
}
