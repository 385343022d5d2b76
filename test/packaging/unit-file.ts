// A unit of packaging/systemd, read as systemd.syntax(7) says, as far as ours go: sections, keys,
// comments on lines of their own.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = join(import.meta.dirname, '../../packaging/systemd');

export interface UnitFile {
  /** The value of a key that occurs once. Throws when it does not. */
  value(section: string, key: string): string;
  /** All values of a key, in their order. */
  values(section: string, key: string): readonly string[];
}

export function readUnit(name: string): UnitFile {
  const values = new Map<string, string[]>();
  let section = '';
  // A backslash at its end goes on in the next line.
  const text = readFileSync(join(FOLDER, name), 'utf8').replaceAll('\\\n', ' ');
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const header = /^\[(\w+)\]$/.exec(line);
    if (header !== null) {
      section = header[1]!;
      continue;
    }
    const cut = line.indexOf('=');
    if (cut < 1) throw new Error(`${name}: not a line of a unit: ${line}`);
    const key = `${section}.${line.slice(0, cut)}`;
    values.set(key, [...(values.get(key) ?? []), line.slice(cut + 1)]);
  }
  const all = (from: string, key: string): readonly string[] => values.get(`${from}.${key}`) ?? [];
  return {
    values: all,
    value(from, key) {
      const found = all(from, key);
      if (found.length === 1) return found[0]!;
      throw new Error(`${name}: ${found.length} values of ${from}.${key}`);
    },
  };
}
