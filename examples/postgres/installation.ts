// PostgreSQL as Debian installs it.

import { execFileSync } from 'node:child_process';
import { accessSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** PostgreSQL refuses to run as root; Debian's package makes a user for it. */
export function databaseUser(): { readonly uid?: number; readonly gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string): number =>
    Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }).trim());
  return { uid: id('-u'), gid: id('-g') };
}

/** Debian keeps the programs of each major version in a folder of its own: the newest. */
export function binaryFolder(): string {
  const root = '/usr/lib/postgresql';
  const install = 'apt-get install --no-install-recommends postgresql postgresql-contrib';
  try {
    const versions = readdirSync(root).map(Number).filter(Number.isFinite);
    const folder = join(root, String(Math.max(...versions)), 'bin');
    for (const name of ['initdb', 'postgres', 'pgbench', 'pg_amcheck']) {
      accessSync(join(folder, name));
    }
    return folder;
  } catch (cause) {
    throw new Error(`PostgreSQL is missing: ${install}`, { cause });
  }
}
